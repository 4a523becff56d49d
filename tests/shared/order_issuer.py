"""A process with a kernel on a shared log: it orders changes of one job, asks for it, and notes what it was answered.

Usage: python order_issuer.py STORE NAME NOTES COUNT

STORE is a place of log_places. Each operation is two JSON lines in the file NOTES,
one before the call and one after the answer; every act in the log names its operation as the actor. After COUNT
operations the process says so and keeps its kernel until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon import Duration, Job, Kernel
from gnomon.errors import JobExistsError, NoLeaderError, OrderLostError, UnknownJobError
from job_model import DONE
from log_places import store_of

JOB = "contended"
CALLS = ("add", "add", "change", "change", "pause", "resume", "remove", "read", "read", "read")


class Issuer:
    """Issues one operation after the other."""

    def __init__(self, kernel: Kernel, name: str, notes: Path) -> None:
        self._kernel, self._name = kernel, name
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._chance = random.Random(name)

    async def issue(self, number: int) -> None:
        """Issue one operation and note its answer, or that it is open whether it was done."""
        operation, call = f"{self._name}.{number}", self._chance.choice(CALLS)
        self._note(operation, call=call, invoked=time.monotonic_ns())
        try:
            answer = await self._call(call, operation)
        except (JobExistsError, UnknownJobError) as exc:
            answer = type(exc).__name__ if call != "read" else None
        except (NoLeaderError, OrderLostError) as exc:
            self._note(operation, open=repr(exc))
            return
        role = getattr(self._kernel.health(), "role", None)
        self._note(operation, answered=time.monotonic_ns(), answer=answer, role=role)

    async def _call(self, call: str, operation: str) -> Any:
        kernel = self._kernel
        match call:
            case "add":
                job = Job(id=JOB, func="time:time", every=Duration(hours=1), description=operation)
                await kernel.add_job(job, actor=operation)
            case "change":
                await kernel.change_job(JOB, description=operation, actor=operation)
            case "remove":
                await kernel.remove_job(JOB, actor=operation)
            case "pause":
                return await kernel.pause(JOB, actor=operation)
            case "resume":
                return await kernel.resume(JOB, actor=operation)
            case "read":
                view = await kernel.job(JOB)
                return [view.job.description, view.state.paused]
        return DONE

    def _note(self, operation: str, **facts: Any) -> None:
        os.write(self._notes, json.dumps({"id": operation, "pid": os.getpid(), **facts}).encode() + b"\n")


async def main() -> None:
    """Issue the operations."""
    place, name, notes, count = sys.argv[1:]
    settings: dict[str, Any] = {} if place.startswith("/") else {"lease": timedelta(seconds=2)}
    store = store_of(place, Path(name).with_suffix(".spool.db"), **settings)
    async with Kernel(role="auto", store=store, drain=timedelta(0)) as kernel:
        issuer = Issuer(kernel, Path(name).name, Path(notes))
        for number in range(int(count)):
            await issuer.issue(number)
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
