"""A kernel killed with -9: the next one shows its runs as lost; until then no record says that they run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gnomon import Job, Kernel
from gnomon.conversion import Secret
from gnomon.plugins.plugin_set import PluginSet
from gnomon_redis import RedisPlugin
from gnomon_redis.client import AsyncProgressClient, ProgressGoneError
from gnomon_redis.progress_record import decode
from gnomon_sqlite import SqliteStore

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]

LIFE = """
import asyncio, sys
from gnomon import Context, Job, Kernel
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.plugins.plugin_set import PluginSet
from gnomon_redis import RedisPlugin
from gnomon_sqlite import SqliteStore

async def endless(context: Context) -> None:
    context.step("first")
    for number in range(10**6):
        context.progress(number / 1000, f"at {number}")
        await asyncio.sleep(0.01)

async def quick() -> None: ...

async def main():
    plugins = PluginSet()
    plugins.add(RedisPlugin(RedisPlugin.Config(url=Secret(sys.argv[2]), live_ttl=Duration(seconds=3))))
    jobs = [Job(id="endless", func=endless, overlap="allow"), Job(id="quick", func=quick)]
    async with Kernel(store=SqliteStore(sys.argv[1]), jobs=jobs, plugins=plugins) as kernel:
        for _ in range(5):
            print("endless", (await kernel.trigger("endless")).execution.id, flush=True)
        await asyncio.sleep(0.5)
        while True:
            print("quick", (await kernel.wait((await kernel.trigger("quick")).execution.id)).id, flush=True)

asyncio.run(main())
"""


@contextmanager
def kernel_of_its_own(database: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", LIFE, str(database), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as life:
        try:
            yield life
        finally:
            life.kill()


def live_and_die(database: Path, url: str) -> tuple[list[str], ...]:
    """Run a kernel in a process and kill it in the middle; return the active runs, and those that ended."""
    with kernel_of_its_own(database, url) as life:
        assert life.stdout is not None
        lines = [life.stdout.readline().split() for _ in range(30)]
        life.kill()
        lines += [line.split() for line in life.stdout.read().split("\n")[:-1]]
    return tuple(
        [words[1] for words in lines if words[0] == job] for job in ("endless", "quick")
    )  # the log is there too


async def test_runs_of_a_killed_kernel_are_lost_in_redis_too_and_no_end_is_missing(
    server: Any, redis: Any, eventually: Eventually, tmp_path: Path
) -> None:
    lost, ended = await asyncio.to_thread(live_and_die, tmp_path / "gnomon.db", server.url)
    assert len(lost) == 5

    plugins = PluginSet()
    plugins.add(RedisPlugin(RedisPlugin.Config(url=Secret(server.url))))

    async def body() -> None: ...

    jobs = [Job(id="endless", func=body), Job(id="quick", func=body)]
    async with Kernel(store=SqliteStore(tmp_path / "gnomon.db"), jobs=jobs, plugins=plugins) as kernel:

        async def records() -> list[Any]:
            return [decode(text) for text in await redis.mget([f"progress:{one}" for one in lost + ended]) if text]

        async def are_over() -> bool:
            found = await records()
            return len(found) == len(lost + ended) and all(record.is_over for record in found)

        await eventually(are_over)
        for record in await records():
            execution = await kernel.execution(record.execution_id)
            assert (record.status, record.reason, record.version) == (
                execution.status,
                execution.reason,
                execution.version,
            )
            assert record.steps == execution.progress.steps
            assert record.percent == execution.progress.percent
            assert record.reason == ("lost" if record.execution_id in lost else None)
        assert await redis.exists("progress:live:endless") == 0


async def test_a_follower_learns_that_the_kernel_is_not_heard_of(
    server: Any, redis: Any, eventually: Eventually, tmp_path: Path
) -> None:
    with kernel_of_its_own(tmp_path / "gnomon.db", server.url) as life:
        assert life.stdout is not None
        while not (line := await asyncio.to_thread(life.stdout.readline)).startswith("endless "):
            assert line, "the kernel ended by itself"
        run = line.split()[1]
        await eventually(lambda: redis.exists(f"progress:{run}"))
        async with AsyncProgressClient(server.url, timeout=3) as client, asyncio.timeout(60):
            following = client.follow(run, patience=0.5)
            while (await anext(following)).status != "running":
                pass
            life.kill()
            with pytest.raises(ProgressGoneError, match="writes no progress"):
                _ = [record async for record in following]
    assert not await redis.exists(f"progress:{run}")
