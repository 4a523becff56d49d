"""Bodies that run in Celery workers, which import this module by its name."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import structlog

from gnomon import Context, current


def witness(path: str, word: str = "ran") -> None:
    """Append a line in one write, so that lines of several processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word} {os.getpid()}\n".encode())
    os.close(descriptor)


def add(a: int, b: int = 0) -> int:
    return a + b


async def add_later(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


def describe(ctx: Context) -> dict[str, Any]:
    return {"id": ctx.execution_id, "job": ctx.job_id, "same": current() is ctx, "attempt": ctx.attempt}


def weekday(day: date) -> str:
    return f"{type(day).__name__} {day:%A}"


def talk(ctx: Context) -> None:
    ctx.steps("load", "save")
    ctx.step("load")
    logging.getLogger("loader").info("loading %d rows", 3)
    structlog.get_logger().warning("slow", seconds=2)
    print("printed", 1, 2)
    print("an error", file=sys.stderr)
    ctx.step("save")
    ctx.progress(message="almost", percent=99)
    sys.stdout.write("no end of line")


def show_secret(password: str) -> str:
    print("the password is", password)
    logging.getLogger("auth").info("using %s", password)
    return f"logged in with {password}"


def fail() -> None:
    raise ValueError("no rows")


def leave() -> None:
    sys.exit(3)


def huge() -> str:
    return "x" * 1_000_000


def put_off(ctx: Context) -> None:
    ctx.snooze(60, "not yet")


def fork() -> str:
    """Fork as multiprocessing does, and let the child return from the body."""
    child = os.fork()
    if child == 0:
        return "child"
    return f"parent of a child that exited with {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}"


def report_and_witness(folder: str, ctx: Context) -> str:
    """Leave a line when it begins and when it ends; report progress and log in between."""
    witness(f"{folder}/began", ctx.execution_id)
    ctx.steps("one", "two", "three")
    for number, step in enumerate(("one", "two", "three"), 1):
        ctx.step(step)
        logging.getLogger("chaos").info("line %d of 3", number)
        time.sleep(0.02)
    witness(f"{folder}/ended", ctx.execution_id)
    return ctx.execution_id


def hold(path: str, ctx: Context) -> None:
    """Run until a file appears, with context calls."""
    witness(f"{path}.began")
    while not Path(path).exists():
        ctx.checkpoint()
        time.sleep(0.01)


def hold_and_clean_up(path: str, ctx: Context) -> None:
    try:
        hold(path, ctx)
    finally:
        witness(path, "cleaned")


async def hold_async(path: str) -> None:
    witness(f"{path}.began")
    try:
        while not Path(path).exists():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        witness(path, "cancelled")
        raise


def hold_deaf(path: str) -> str:
    """Run until a file appears, without context calls."""
    witness(f"{path}.began")
    try:
        while not Path(path).exists():
            time.sleep(0.01)
    finally:
        witness(path, "cleaned")
    return "held"


def hold_on(path: str, ctx: Context) -> None:
    """Run until a file appears, and ignore requests to stop."""
    witness(f"{path}.began")
    try:
        while not Path(path).exists():
            if ctx.cancel_requested and not Path(f"{path}.asked").exists():
                witness(f"{path}.asked")
            time.sleep(0.01)
    finally:
        witness(path, "cleaned")


def hold_and_swallow(path: str) -> None:
    """Run until a file appears, whatever is raised."""
    witness(f"{path}.began")
    while not Path(path).exists():
        try:
            time.sleep(0.01)
        except BaseException:  # noqa: BLE001 - it must not stop
            witness(path, "swallowed")


def talk_then_hold(path: str, lines: int, ctx: Context) -> str:
    for number in range(lines):
        logging.getLogger("loader").info("line %d", number)
        ctx.progress(processed_items=number + 1, total_items=lines)
    hold_deaf(path)
    print("the end")
    return "held"


def order(ctx: Context) -> Any:
    return ctx.trigger("other", a=1).execution.id


async def order_later(ctx: Context) -> Any:
    answer = ctx.trigger("other", a=1)
    return (await answer).execution.id


def add_job(ctx: Context) -> Any:
    return ctx.add_job(add, id="added", kwargs={"a": 1}, every="1h").result.id


def process_id() -> int:
    return os.getpid()


def report_until(path: str, how: str, ctx: Context) -> str:
    """Report and log until a file appears, then return or raise what only this body knows."""
    witness(f"{path}.began", ctx.execution_id)
    number = 0
    while not Path(path).exists():
        number += 1
        logging.getLogger("report").info("line %d", number)
        ctx.progress(processed_items=number)
        time.sleep(0.2)
    result = f"{number} lines of {ctx.execution_id}"
    if how == "raise":
        raise ValueError(result)
    return result
