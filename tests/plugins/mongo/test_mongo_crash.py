"""What is left when servers and kernels are killed with SIGKILL while they write: real processes, both drivers."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fault_runs import rounds
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store
from gnomon.testing import check_log
from gnomon_mongo import MongoStore

ROUNDS = rounds(3, 15)
IN_GOOD_TIMES, IN_THE_OUTAGE = 25, 40
"""Acknowledged appends before the next thing is killed."""

WRITER = """
import asyncio, sys
from datetime import timedelta
from gnomon.domain import execution
from gnomon.domain.events import ExecutionEvent, Progress, Succeeded
from gnomon.testing.histories import NOON, failed, job_added, job_states, numbered, running, extend
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Driver

async def main():
    uri, driver, spool = sys.argv[1:]
    limits = {"timeout": timedelta(seconds=2), "patience": timedelta(seconds=60), "lease": timedelta(seconds=5)}
    async with MongoStore(uri, "crash", driver=Driver(driver), spool=spool, cut_off="run", **limits) as store:
        start = head = await store.head()
        jobs = {}
        for n in range(100_000):
            name, at = f"job_{start}_{n % 7}", NOON + timedelta(seconds=head)
            history = running(name, at, is_manual=n % 5 == 0, actor="ann")
            history = extend(extend(history, Progress, percent=float(n % 100)), Succeeded, execution_time=1.0)
            other = failed(f"bad_{n % 3}", at)
            new_job = job_added(name, at) if n < 7 else []
            known = [*history[:2]], [*history[:3]], [*history, *other]
            for told, new in zip(known, (new_job + history[:2], history[2:3], history[3:] + other), strict=True):
                batch = numbered(new, after=head)
                streams = {event.stream: [one for one in told if one.stream == event.stream] for event in new}
                runs = [stream for stream in streams.values() if stream and isinstance(stream[0], ExecutionEvent)]
                views = [execution.fold(stream) for stream in runs]
                states = job_states(batch, jobs.values())
                jobs |= {state.job_id: state for state in states}
                await store.append(batch, views, states)
                head = batch[-1].position
                print("kept", head, flush=True)
                await asyncio.sleep(0.004)

asyncio.run(main())
"""


class Writer:
    """A kernel's store in its own process, that tells which positions were acknowledged."""

    def __init__(self, uri: str, driver: str, spool: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, uri, driver, str(spool)], stdout=subprocess.PIPE, text=True
        )
        self._told: queue.Queue[int | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.acknowledged = 0

    def expect(self, appends: int) -> None:
        """Wait for that many more acknowledgements."""
        for _ in range(appends):
            position = self._told.get(timeout=100)
            assert position is not None, "the writer ended by itself"
            self.acknowledged = position

    def kill(self) -> int:
        """Kill it; return the highest position that it had told of."""
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL
        self._reader.join()
        while (position := self._told.get()) is not None:
            self.acknowledged = position
        return self.acknowledged

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.startswith("kept ") and line.endswith("\n"):  # else it is what the store logs
                    self._told.put(int(line.split()[1]))
        self._told.put(None)


@pytest.fixture
def start_writer(daemon: Any, tmp_path: Path) -> Iterator[Callable[[str], Writer]]:
    writers: list[Writer] = []

    def start(driver: str) -> Writer:
        writers.append(Writer(daemon.uri, driver, tmp_path / "spool.db"))
        return writers[-1]

    yield start
    for writer in writers:
        writer._process.kill()
        writer._process.wait()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("driver_name", ["motor", "pymongo"])
async def test_killing_server_and_kernel_again_and_again_loses_and_doubles_nothing(
    daemon: Any, start_writer: Callable[[str], Writer], tmp_path: Path, driver_name: str
) -> None:
    acknowledged = 0
    daemon.start()
    writer = start_writer(driver_name)
    for round_ in range(ROUNDS):
        writer.expect(IN_GOOD_TIMES + 3 * round_)
        daemon.kill()
        writer.expect(IN_THE_OUTAGE)
        if round_ % 2:
            acknowledged = max(acknowledged, writer.kill())
            daemon.start()
            writer = start_writer(driver_name)
        else:
            daemon.start()
    writer.expect(IN_GOOD_TIMES)
    acknowledged = max(acknowledged, writer.kill())

    async with MongoStore(daemon.uri, "crash", spool=tmp_path / "spool.db") as store:
        events = await store.read(limit=1_000_000)
        check_log(events, await every_execution(store), await store.jobs())
        assert len(events) == await store.head() >= acknowledged > ROUNDS * IN_THE_OUTAGE
        assert await store.differences() == []
        assert store.health().state == "healthy"


async def every_execution(store: Store) -> list[Execution]:
    found, query = [], ExecutionQuery(limit=200)
    while True:
        page = await store.executions(query)
        found += page.items
        if page.next is None:
            assert len(found) == page.total
            return found
        query = msgspec.structs.replace(query, cursor=page.next)
