"""A kernel that is away while bodies go on in workers: each run ends with what its body did meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celery_kernels import celery_job, celery_kernel
from celery_workers import CeleryWorker
from fault_runs import IS_LONG
from gnomon import Execution, Job
from gnomon.domain import events
from gnomon.durations import Duration
from gnomon.testing import RecordingStore
from gnomon_celery.channel import process_of
from servers import RedisServer, eventually, find_redis

AWAY_S = 60.0 if IS_LONG else 0.0
"""How long the kernel is away at least; in any case until what is to happen meanwhile has happened."""
FORKS, THREADS, MORE = 4, 14, 4
"""Bodies in the processes of a prefork worker and in the threads of another, and those that wait for a process."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(find_redis(), tmp_path)
    server.start("--appendonly", "yes")
    yield server
    server.clean_up()


@pytest.fixture
def workers(broker: RedisServer, tmp_path: Path) -> Iterator[None]:
    sizes = {"prefork": FORKS, "threads": THREADS}
    workers = {pool: CeleryWorker(tmp_path / pool, broker.url, more='heartbeat = "2s"') for pool in sizes}
    try:
        for pool, worker in workers.items():
            worker.start(f"--pool={pool}", f"--concurrency={sizes[pool]}", f"--queues={pool}")
        yield
    finally:
        for worker in workers.values():
            worker.clean_up()


class Body:
    """One run, and the files in which its body shows how far it is."""

    def __init__(self, folder: Path, number: int, pool: str, how: str) -> None:
        self.pool, self.how = pool, how
        self.path = folder / f"{pool}{number}"
        self.run = ""

    @property
    def began(self) -> list[str]:
        path = Path(f"{self.path}.began")
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def end(self, client: redis.Redis) -> None:
        """End it as it is to end."""
        if self.how != "die":
            self.path.touch()
            return
        (key,) = client.keys(f"*:claim:{self.run}")
        claim: Any = client.get(key)
        process = process_of(claim.decode())
        assert process is not None
        os.kill(process, signal.SIGKILL)


def job_of(pool: str) -> Job:
    return celery_job(
        id=pool,
        func="worker_bodies:report_until",
        kwargs={},
        options={"queue": pool},
        overlap="allow",
        max_instances=FORKS + THREADS + MORE,
    )


async def test_runs_that_go_on_while_the_kernel_is_away_end_with_what_their_bodies_did(
    broker: RedisServer, workers: None, tmp_path: Path
) -> None:
    hows = ["return", "raise", "die", "return"]
    forked = [Body(tmp_path, n, "prefork", hows[n % 4]) for n in range(FORKS)]
    threaded = [Body(tmp_path, n, "threads", "raise" if n % 4 == 1 else "return") for n in range(THREADS)]
    queued = [Body(tmp_path, FORKS + n, "prefork", "return") for n in range(MORE)]
    bodies = [*forked, *threaded, *queued]
    meanwhile = [*forked, *threaded[: THREADS // 2], *queued[: MORE // 2]]
    """Those that end while the kernel is away; the others go on until it is back."""
    store, jobs = RecordingStore(), [job_of("prefork"), job_of("threads")]
    config = {"heartbeat": Duration(seconds=2)}
    client = redis.Redis.from_url(broker.url)
    async with celery_kernel(broker.url, *jobs, store=store, config=config) as kernel:
        for body in bodies:
            kwargs = {"path": str(body.path), "how": body.how}
            body.run = (await kernel.trigger(body.pool, kwargs=kwargs)).execution.id
        going = {body.run for body in (*forked, *threaded)}
        await eventually(lambda: going <= {event.stream for event in store.recorded.of(events.Started)})
        assert len(going) == FORKS + THREADS
    for body in (*forked, *threaded[: THREADS // 2]):
        body.end(client)
    await eventually(lambda: all(body.began for body in bodies))  # those that waited have the processes now
    for body in queued[: MORE // 2]:
        body.end(client)
    await asyncio.sleep(AWAY_S)
    async with celery_kernel(broker.url, *jobs, store=store, config=config) as kernel:
        found = [await kernel.end_of(body.run) for body in meanwhile]
        for body in bodies:
            if body not in meanwhile:
                body.end(client)
        found += [await kernel.end_of(body.run) for body in bodies if body not in meanwhile]
        lines = {one.id: [line.text for line in await kernel.log(one.id)] for one in found}
    client.close()
    ends = {one.id: one for one in found}
    for body in bodies:
        assert body.began == [body.run]
        _check(ends[body.run], body.how, lines[body.run])


def _check(ended: Execution, how: str, lines: list[str]) -> None:
    assert lines[: len(lines)] == [f"line {number}" for number in range(1, len(lines) + 1)], ended
    if how == "die":
        assert (ended.status, ended.reason) == ("failed", "killed"), ended
        return
    result = f"{len(lines)} lines of {ended.id}"
    if how == "raise":
        assert (ended.status, ended.reason, ended.error_message) == ("failed", "exception", result), ended
    else:
        assert (ended.status, ended.return_value) == ("success", result), ended
    assert ended.progress.processed_items == (len(lines) or None)
