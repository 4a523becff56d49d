"""Kernels that are killed with SIGKILL while they notify: each alert is received at least once by each channel."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from receiver import Receiver, receiving

LIFE = """
import asyncio, sys
from gnomon import Job, Kernel
from gnomon.conversion import convert
from gnomon.plugins.plugin_set import PluginSet
from gnomon_alerts import AlertsPlugin
from gnomon_sqlite import SqliteStore

database, url, job_id = sys.argv[1:]

def broken():
    raise ValueError("no such table")

async def main():
    channels = [
        {"name": name, "webhook": f"{url}/{name}", "group_wait": 0, "interval": 0, "longest_pause": "50ms"}
        for name in ("first", "second")
    ]
    plugins = PluginSet()
    plugins.add(AlertsPlugin(convert({"channels": channels}, AlertsPlugin.Config, "plugins.alerts")), "alerts")
    jobs = [Job(id=name, func=broken) for name in ("a", "b")]
    async with Kernel(store=SqliteStore(database), jobs=jobs, plugins=plugins) as kernel:
        if job_id != "none":
            await kernel.trigger(job_id)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def life(database: Path, receiver: Receiver, job_id: str) -> AsyncIterator[None]:
    """Run a kernel in which a job fails, and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LIFE, str(database), receiver.url, job_id)
    try:
        yield
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


def jobs_of(receiver: Receiver, path: str) -> list[str]:
    return [item["job_id"] for body in receiver.accepted_by(path) for item in body["alerts"]]


async def test_a_killed_kernel_loses_no_notification_and_repeats_none_that_it_has_saved(tmp_path: Path) -> None:
    database, paths = tmp_path / "log.db", ("/first", "/second")
    async with receiving() as receiver:
        receiver.answers = {"/second": ["hang"]}  # the kernel is killed before this one has its answer
        async with life(database, receiver, "a"):
            await receiver.until(lambda: receiver.accepted_by("/first") and receiver.to("/second"))
        async with life(database, receiver, "b"):
            await receiver.until(lambda: all({"a", "b"} <= set(jobs_of(receiver, path)) for path in paths))

    first, second = (receiver.to(path) for path in paths)
    assert jobs_of(receiver, "/second") == ["a", "b"]
    assert second[0]["key"] == second[1]["key"]
    assert len(first) <= 3  # the first one may have been killed before it was saved
