"""The commands of stores on servers, called in a process as an operator calls them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from gnomon.domain import events
from gnomon.ports import Store
from gnomon.testing.histories import NOON, append, extend, failed, job_added, running

Run = Callable[..., Awaitable[tuple[int, str]]]


def caller(section: str, folder: Path) -> Run:
    """Return a function that calls `gnomon SECTION ...` there, and returns its exit code and all that it said."""

    async def run(*arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gnomon.cli", section, *arguments),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()

    return run


async def fill(store: Store) -> list[str]:
    """Append a run that succeeded, one that failed and one that has not ended; return their ids."""
    fine = extend(running("sync", NOON), events.Succeeded, execution_time=2.5)
    batch = await append(store, job_added(), fine, failed("sync", NOON + timedelta(hours=1)), running("report"))
    return list(dict.fromkeys(event.stream for event in batch if event.stream != "job:sync"))
