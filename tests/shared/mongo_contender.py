"""A process that leads a log in MongoDB whenever it can; tests cut, delay, stop and kill it.

Usage: python mongo_contender.py URI DATABASE NAME SPOOL NOTES LEASE_S SKEW_S

It appends what it does to the file NOTES: each body that begins, and each event that was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gnomon import Context, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.domain.events import Event
from gnomon.durations import Duration
from gnomon.errors import GnomonError, StoreInUseError
from gnomon.hookspecs import hookimpl
from gnomon_mongo import MongoStore, lease, lease_holder
from gnomon_mongo.drivers import Driver

HEALTH_INTERVAL_S = 0.1


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
        os.write(self._file, json.dumps([kind, self.name, *values]).encode() + b"\n")

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.write("acknowledged", event.position, event.stream, event.type)


def jobs(notes: Notes) -> list[Job]:
    async def quick(context: Context) -> None:
        notes.write("began", context.execution_id)

    async def slow(context: Context) -> str:
        notes.write("began", context.execution_id)
        await asyncio.sleep(0.3)
        return "done"

    often = {"quick": (quick, 0.2), "slow": (slow, 0.5)}
    return [Job(id=name, func=func, every=Duration(seconds=s), overlap="queue") for name, (func, s) in often.items()]


async def lead(uri: str, database: str, notes: Notes, spool: str, lease_s: float, clock: SkewedClock) -> None:
    """Lead once, until the log is lost."""
    limits = {"timeout": timedelta(seconds=lease_s / 2), "patience": timedelta(0), "lease": timedelta(seconds=lease_s)}
    store = MongoStore(uri, database, driver=Driver("pymongo"), spool=spool, **limits)  # type: ignore[arg-type]
    kernel = Kernel(store=store, jobs=jobs(notes), plugins=[notes], clock=clock, node=notes.name, drain=timedelta(0))
    async with kernel:
        notes.write("leads")
        while True:
            if kernel.health().state == "deposed":
                return
            await asyncio.sleep(HEALTH_INTERVAL_S)


async def main(uri: str, database: str, name: str, spool: str, path: str, lease_s: str, skew_s: str) -> None:
    describe = lease_holder.describe_process
    for module in (lease, lease_holder):
        setattr(module, "describe_process", lambda: describe() | {"place": None})  # noqa: B010 - as on another machine
    clock = SkewedClock(float(skew_s))
    for number in range(10_000):
        notes = Notes(Path(path), f"{name}.{os.getpid()}.{number}")
        try:
            await lead(uri, database, notes, spool, float(lease_s), clock)
        except StoreInUseError:
            await asyncio.sleep(0.2)
        except GnomonError as exc:
            notes.write("failed", str(exc))
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
