"""The bodies of RunnerContract. Workers import them from here, by name; the body `add` is also there as `add_async`.

Bodies and tests meet in a directory, `here`: a body marks with empty files how far it has come.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from gnomon.runners.context import Context, current

LIMIT_S = 120.0
"""Seconds after which a body no longer waits for its test."""
PAUSE_S = 0.01

log = logging.getLogger("gnomon.testing.bodies")


def both(func: Callable[..., Any]) -> Callable[..., Any]:
    """Add the coroutine function with the same code, as `NAME_async`."""

    @functools.wraps(func)
    async def run(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    run.__name__ = run.__qualname__ = f"{func.__name__}_async"
    setattr(sys.modules[__name__], run.__name__, run)
    return func


class Custom(BaseException):
    """An exception that `except Exception` does not catch."""


class Hostile(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("there is no text")


# --- results and errors ---


@both
def add(ctx: Context, a: int, b: int = 2, *, c: int = 0) -> dict[str, Any]:
    """Return the sum, and what the context says about the run."""
    return {
        "sum": a + b + c,
        "run": ctx.execution_id,
        "current": current().execution_id,
        "job": ctx.job_id,
        "time": ctx.scheduled_time.isoformat(),
        "attempt": ctx.attempt,
        "is_manual": ctx.is_manual,
    }


@both
def take_date(day: date) -> str:
    """Return the name of the type in which an argument arrived."""
    return type(day).__name__


@both
def give(what: str) -> Any:
    """Return a value of this kind."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    values = {
        "nothing": None,
        "json": {"text": "naïve 日本 🦑\n\x00", "list": [1, 2.5, None, True]},
        "object": Custom("not JSON"),
        "large": "x" * 2_000_000,
        "surrogate": "half \udcff",
        "deep": deep,
        "lazy": (number for number in range(3)),  # whose code has not run
    }
    return values[what]


@both
def fail(how: str) -> None:
    """Raise an exception of this kind."""
    errors: dict[str, BaseException] = {
        "ValueError": ValueError("no good"),
        "large": ValueError("x" * 2_000_000),
        "surrogate": ValueError("half \udcff"),
        "Hostile": Hostile(),
        "Custom": Custom("not an Exception"),
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(),
        "ExceptionGroup": ExceptionGroup("two", [ValueError("one"), KeyError("other")]),
        "BaseExceptionGroup": BaseExceptionGroup("two", [SystemExit(3), ValueError("other")]),
    }
    raise errors[how]


@both
def snooze(ctx: Context) -> None:
    """Snooze for ten minutes."""
    ctx.snooze("10m", "no file yet")


# --- what a body reports ---


@both
def report(ctx: Context) -> str:
    """Report steps and progress, the last of it at once before the end."""
    ctx.steps("fetch", ("store", 3))
    ctx.step("fetch")
    for _ in ctx.track(range(1_000)):
        pass
    ctx.step("store")
    ctx.progress(message="almost", processed_items=41, total_items=42)
    ctx.progress(75.5, "the last word", processed_items=42)
    return "reported"


@both
def write_log(lines: int) -> None:
    """Log numbered lines, and one of another kind."""
    for number in range(1, lines + 1):
        log.warning("line %d 日本", number)
    logging.getLogger("other").error("half \udcff \x00")


@both
def show(secret: str, how: str) -> Any:
    """Show a secret in a result, an error, the progress and a log line."""
    current().progress(message=f"using {secret}")
    log.warning("logged %s", secret)
    if how == "raise":
        raise ValueError(f"wrong token {secret}")
    return {"length": len(secret), "text": f"<{secret}>"}


@both
def hide(ctx: Context, text: str) -> str:
    """Hide a text that is not among the secrets of the arguments."""
    ctx.hide(text)
    log.warning("logged %s", text)
    return f"<{text}>"


# --- orders ---


def trigger(ctx: Context, job: str) -> str:
    """Trigger a job, and return the id of its run."""
    execution_id: str = ctx.trigger(job, number=7).execution.id
    return execution_id


async def trigger_async(ctx: Context, job: str) -> str:
    """Trigger a job, and return the id of its run."""
    return (await ctx.trigger(job, number=7)).execution.id


# --- bodies that take their time ---


def witness(here: str, name: str) -> None:
    """Add a line to a file that all processes may append to."""
    descriptor = os.open(Path(here) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{current().execution_id}\n".encode())
    finally:
        os.close(descriptor)


def _until(here: str, name: str) -> Iterator[None]:
    """Yield until a file is there."""
    deadline = time.monotonic() + LIMIT_S
    while not (Path(here) / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the test has not created {name} within {LIMIT_S:g} s")
        yield


def wait(ctx: Context, here: str, name: str = "body") -> str:
    """Note that the body has begun, wait for the file `go`, report and end."""
    witness(here, f"{name}.begun")
    ctx.step("waiting")
    log.warning("waiting")
    for _ in _until(here, f"{name}.go"):
        time.sleep(PAUSE_S)
        ctx.checkpoint()
    return _end(ctx, here, name)


async def wait_async(ctx: Context, here: str, name: str = "body") -> str:
    """Note that the body has begun, wait for the file `go`, report and end."""
    witness(here, f"{name}.begun")
    ctx.step("waiting")
    log.warning("waiting")
    for _ in _until(here, f"{name}.go"):
        await asyncio.sleep(PAUSE_S)
        ctx.checkpoint()
    return _end(ctx, here, name)


def _end(ctx: Context, here: str, name: str) -> str:
    ctx.step("ending")
    log.warning("ending")
    witness(here, f"{name}.ended")
    return f"{name} has ended"


def trigger_later(ctx: Context, here: str, job: str) -> str:
    """Trigger a job when the file `go` is there, and return the id of its run."""
    wait(ctx, here)
    return trigger(ctx, job)


async def trigger_later_async(ctx: Context, here: str, job: str) -> str:
    """Trigger a job when the file `go` is there, and return the id of its run."""
    await wait_async(ctx, here)
    return await trigger_async(ctx, job)


def trigger_first(ctx: Context, here: str, job: str) -> str:
    """Trigger a job, wait for the file `go`, and return the id of the run."""
    execution_id = trigger(ctx, job)
    wait(ctx, here)
    return execution_id


async def trigger_first_async(ctx: Context, here: str, job: str) -> str:
    """Trigger a job, wait for the file `go`, and return the id of the run."""
    execution_id = await trigger_async(ctx, job)
    await wait_async(ctx, here)
    return execution_id


def clean_up(ctx: Context, here: str) -> None:
    """Wait until the run is cancelled, and clean up then."""
    witness(here, "body.begun")
    try:
        for _ in _until(here, "never"):
            time.sleep(PAUSE_S)
            ctx.checkpoint()
    finally:
        witness(here, "body.cleaned")


async def clean_up_async(ctx: Context, here: str) -> None:
    """Wait until the run is cancelled, and clean up then."""
    witness(here, "body.begun")
    try:
        for _ in _until(here, "never"):
            await asyncio.sleep(PAUSE_S)
            ctx.checkpoint()
    finally:
        witness(here, "body.cleaned")


def finish_anyway(ctx: Context, here: str) -> str:
    """Wait until the run is cancelled, and return a value nevertheless."""
    with suppress(BaseException):
        clean_up(ctx, here)
    return "finished anyway"


async def finish_anyway_async(ctx: Context, here: str) -> str:
    """Wait until the run is cancelled, and return a value nevertheless."""
    with suppress(BaseException):
        await clean_up_async(ctx, here)
    return "finished anyway"


def ignore(here: str) -> None:
    """Wait without a call of the context."""
    witness(here, "body.begun")
    for _ in _until(here, "never"):
        time.sleep(PAUSE_S)


async def ignore_async(here: str) -> None:
    """Wait without a call of the context."""
    witness(here, "body.begun")
    for _ in _until(here, "never"):
        await asyncio.sleep(PAUSE_S)
