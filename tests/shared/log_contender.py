"""A process whose kernel leads a log on a server where nobody does, else follows; tests cut, delay, stop and kill it.

Usage: python log_contender.py PLACE NAME SPOOL NOTES LEASE_S SKEW_S, where PLACE is one of log_places

It appends what it does to the file NOTES, as lines `[kind, name, seconds, ...]`: each body that begins, each event that
was acknowledged while it led, each event that a viewer in it saw in any role, each order that it gave, and the answer.
`name` is that of its kernel, `seconds` are of the monotonic clock of the machine, which no process skews.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gnomon import Context, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.domain.events import Event
from gnomon.durations import Duration
from gnomon.errors import GnomonError
from gnomon.hookspecs import hookimpl
from gnomon_shared_log.lease import lease_holder
from log_places import store_of

ORDER_INTERVAL_S = 0.8


class SkewedClock(SystemClock):
    """A wall clock that is wrong by `skew_s`."""

    def __init__(self, skew_s: float) -> None:
        def shifted() -> float:
            return time.time() + skew_s

        def shifted_now() -> datetime:
            return datetime.fromtimestamp(shifted(), UTC)

        self.time, self.now = shifted, shifted_now

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        seconds = 1.0 if until is None else min(max(until - self.time(), 0.0), 1.0)
        timer = asyncio.get_running_loop().call_later(seconds, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()


class Notes:
    """A file of JSON lines; a line is written at once or not at all."""

    def __init__(self, path: Path, name: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.name = name

    def write(self, kind: str, *values: object) -> None:
        os.write(self._file, json.dumps([kind, self.name, time.monotonic(), *values]).encode() + b"\n")

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.write("acknowledged", event.position, event.stream, event.type)


class Viewer:
    """Sees every event once, in every role of its kernel."""

    role = "everywhere"

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    @hookimpl
    def on_event(self, event: Event) -> None:
        self._notes.write("saw", event.position, event.stream, event.type)


def jobs(notes: Notes) -> list[Job]:
    async def quick(context: Context) -> None:
        notes.write("began", context.execution_id)

    async def slow(context: Context) -> str:
        notes.write("began", context.execution_id)
        await asyncio.sleep(0.3)
        return "done"

    def in_thread(context: Context) -> None:
        notes.write("began", context.execution_id)
        threading.Event().wait(0.1)

    async def ordered(context: Context) -> None:
        notes.write("began", context.execution_id)

    often = {"quick": (quick, 0.4), "slow": (slow, 0.9), "in_thread": (in_thread, 1.1)}
    keys: dict[str, Any] = {"overlap": "queue", "retry": {"attempts": 2, "delay": "0s"}}
    timed = [Job(id=name, func=func, every=Duration(seconds=s), **keys) for name, (func, s) in often.items()]
    return [*timed, Job(id="ordered", func=ordered, overlap="queue")]


async def take_part(place: str, notes: Notes, spool: str, lease_s: float, clock: SkewedClock) -> None:
    """Lead or follow, and order runs, until the process ends."""
    limits: dict[str, Any] = {
        "timeout": timedelta(seconds=lease_s / 2),
        "patience": timedelta(0),
        "lease": timedelta(seconds=lease_s),
    }
    store = store_of(place, Path(spool), **limits)
    plugins = {"notes": notes, "viewer": Viewer(notes)}
    kernel = Kernel(store=store, jobs=jobs(notes), plugins=plugins, clock=clock, node=notes.name, drain=timedelta(0))
    async with kernel:
        for number in itertools.count():
            key = f"{notes.name}.{number}"
            notes.write("ordering", key)
            try:
                notes.write("ordered", key, (await kernel.trigger("ordered", idempotency_key=key)).execution.id)
            except GnomonError as exc:
                notes.write("refused", type(exc).__name__, str(exc))
            await asyncio.sleep(ORDER_INTERVAL_S)


def print_tasks() -> None:
    """Print where each task is: for a test that has waited in vain."""
    for task in asyncio.all_tasks():
        task.print_stack()


async def main(place: str, name: str, spool: str, path: str, lease_s: str, skew_s: str) -> None:
    setattr(lease_holder, "_place", lambda _: None)  # noqa: B010 - as on another machine
    logging.basicConfig(format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print_tasks)
    clock = SkewedClock(float(skew_s))
    for number in range(10_000):
        notes = Notes(Path(path), f"{name}.{os.getpid()}.{number}")
        try:
            await take_part(place, notes, spool, float(lease_s), clock)
        except GnomonError as exc:
            notes.write("failed", str(exc))
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
