"""Kernel and server are killed while hundreds of runs are live, applications order runs, and partitions are dropped."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fault_runs import IS_LONG, seed
from forked_kernels import ForkedKernels
from gnomon import Kernel
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.plugins.plugin_set import PluginSet
from gnomon.stores.reading import read_log
from gnomon.stores.view_folds import fold_runs
from gnomon_postgres import PostgresStore
from log_checker import ENDS
from ordering_applications import OrderingApplications
from postgres_applications import APPLICATIONS
from postgres_servers import PostgresServer
from pruning_kernel import NotedEvent, Notes, jobs_of, store_of
from servers import eventually

ROUNDS = 60
FEW, MANY = 20, 600
"""Bodies that begin in a round before something is killed."""
LIMIT_S = 300.0
"""For hundreds of runs to begin, and for thousands of orders that are left at the end, also on a busy machine."""
OUTSIDE = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ 'commits|ended' AND NOT relispartition"


class Noted:
    """What the kernels have noted; `update` reads what is new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: defaultdict[Path, int] = defaultdict(int)
        self.events: dict[int, NotedEvent] = {}
        self.accepted: set[str] = set()
        self.began: Counter[str] = Counter()
        self.before = ""
        self.deletions, self.is_deleting = 0, False

    def update(self) -> None:
        """Read what was noted since the last call; assert that no position has two events."""
        for kind, *values in self._lines():
            match kind:
                case "event":
                    event = NotedEvent(*values)
                    assert self.events.setdefault(event.position, event) == event
                case "accepted":
                    self.accepted.add(values[0])
                case "began":
                    self.began[values[0]] += 1
                case "deletes before":
                    self.before, self.is_deleting = max(self.before, values[0]), True
                case "deleted":
                    self.deletions, self.is_deleting = self.deletions + (values[0] > 0), False

    def _lines(self) -> Iterator[list[Any]]:
        for path in self._folder.glob("*"):
            with path.open("rb") as file:
                file.seek(self._read[path])
                for line in file:
                    if line.endswith(b"\n"):
                        self._read[path] += len(line)
                        yield json.loads(line)

    def runs(self, kind: str, job_id: str = "") -> list[str]:
        """Return the run of each event of a type, of one job or of all."""
        return [one.stream for one in self.events.values() if one.type == kind and job_id in {"", one.job_id}]

    def over(self) -> set[str]:
        """Return the runs that ended before the last moment up to which something was deleted."""
        return {one.stream for one in self.events.values() if one.type in ENDS and one.at < self.before}


@pytest.fixture
async def kernels(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[ForkedKernels]:
    kernels = ForkedKernels("pruning_kernel", postgres.dsn(), str(tmp_path), errors=tmp_path / "kernels")
    yield kernels
    kernels.close()


@pytest.mark.skipif(not IS_LONG, reason="only `tox -e faults` has the time")
@pytest.mark.timeout(10_000)
async def test_kills_amid_runs_orders_and_dropped_partitions_lose_and_double_nothing(
    postgres: PostgresServer, kernels: ForkedKernels, tmp_path: Path
) -> None:
    chance = random.Random(seed())
    applications = OrderingApplications(postgres.dsn(), chance, share_of_keys=0)
    noted, interrupted = Noted(tmp_path / "notes"), 0
    await kernels.start()
    for round_ in range(ROUNDS):
        await kernels.lead()
        drivers = chance.sample(sorted(APPLICATIONS), 3)
        working = [asyncio.create_task(applications.work(driver, chance.randrange(20, 120))) for driver in drivers]
        await reach_a_moment(chance, noted, postgres.dsn(), is_amid_a_drop=round_ % 4 != 3)
        victims = chance.choice(["kernel", "server", "both"])
        if victims != "server":
            await kernels.kill()
            noted.update()
            interrupted += noted.is_deleting
        if victims != "kernel":
            await asyncio.to_thread(postgres.kill)
            await asyncio.sleep(chance.uniform(0, 1))
            await asyncio.to_thread(postgres.start)
        if victims != "server":
            await kernels.start()
        await asyncio.gather(*working)
    await kernels.lead()
    await kernels.kill()

    noted.update()
    async with ended(applications, tmp_path, datetime.fromisoformat(noted.before)) as store:
        noted.update()
        log = [event async for block in read_log(store, 0, await store.head()) for event in block]
        check_events(log, noted, await store.head())
        await check_views(store, log)
    assert interrupted > 0
    assert min(len(applications.committed), len(applications.aborted)) > FEW
    ordered = applications.check_orders()
    assert Counter(noted.runs("scheduled", "send")) == dict.fromkeys(ordered.runs, 1)
    assert set(noted.runs("job_added")) ^ {"job:send", "job:work", "job:tick"} == {f"job:{one}" for one in ordered.jobs}
    assert outside(postgres.dsn()) == []
    print(
        f"{len(noted.events):,} events, {len(log):,} of them kept, {noted.deletions} whole deletions, "
        f"{interrupted} interrupted by a kill of the kernel, {len(noted.accepted):,} runs, "
        f"{len(applications.committed):,} orders committed, {len(applications.aborted):,} rolled back"
    )


async def reach_a_moment(chance: random.Random, noted: Noted, dsn: str, *, is_amid_a_drop: bool) -> None:
    """Wait until runs have begun, and perhaps until partitions are detached, or dropped already."""
    noted.update()
    deletions, wanted = noted.deletions, len(noted.began) + chance.randrange(FEW, MANY)

    def is_reached() -> bool:
        noted.update()
        if len(noted.began) < wanted:
            return False
        return not is_amid_a_drop or noted.deletions > deletions or bool(outside(dsn))

    await eventually(is_reached, LIMIT_S)
    await asyncio.sleep(chance.uniform(0, 0.2))


def outside(dsn: str) -> list[str]:
    """Return the names of the tables that were detached from the log and not dropped yet."""
    with psycopg.connect(dsn) as connection:
        return [name for (name,) in connection.execute(OUTSIDE).fetchall()]


async def has_answered(store: PostgresStore) -> bool:
    """Return whether all orders of applications have an answer."""
    return await store.waiting_orders() == 0


@asynccontextmanager
async def ended(applications: OrderingApplications, folder: Path, before: datetime) -> AsyncIterator[PostgresStore]:
    """Yield the store once everything has ended that the killed kernels left, and the last deletion is complete."""
    notes, store = Notes(folder / "notes"), store_of(applications.dsn, folder)
    plugins = PluginSet()
    plugins.add(notes)
    async with Kernel(store=store, jobs=jobs_of(notes), plugins=plugins) as kernel:
        await kernel.pause("tick")
        await eventually(lambda: has_answered(store), LIMIT_S)
        await eventually(lambda: kernel.is_idle and not kernel.health().running and not kernel.health().waiting)
        await store.prune(before)
        yield store


def check_events(log: Collection[Event], noted: Noted, head: int) -> None:
    """Check that the log has what was noted, except for runs that ended long ago, and each run as a whole."""
    assert sorted(noted.events) == list(range(1, head + 1))
    assert [one for one in map(NotedEvent.of, log) if noted.events[one.position] != one] == []
    gone = noted.events.keys() - {event.position for event in log}
    left_out = {noted.events[position].stream for position in gone}
    assert len(left_out) > MANY
    assert {one for one in left_out - noted.over() if not one.startswith("kernel:")} == set()
    versions: defaultdict[str, list[int]] = defaultdict(list)
    for event in log:
        versions[event.stream].append(event.version)
    parts = [one for one, found in versions.items() if found != list(range(1, len(found) + 1))]
    assert [one for one in parts if not one.startswith("kernel:")] == []
    assert noted.accepted <= set(noted.runs("scheduled"))
    assert noted.began.keys() <= set(noted.runs("started"))
    assert [run for run, times in noted.began.items() if times > 1] == []


async def check_views(store: PostgresStore, log: Collection[Event]) -> None:
    """Check that the views and the numbers of them are those that the log gives, now and built again."""
    folds: dict[str, Execution] = {}
    fold_runs(folds, log)
    numbers = Counter((view.job_id, view.status) for view in folds.values())
    jobs = await store.jobs()
    for events_folded in (0, len(log)):
        assert not events_folded or await store.rebuild() == events_folded
        assert await views_of(store) == folds
        assert await store.jobs() == jobs
        counts = await store.statistics()
        assert {(one.job_id, status): n for one in counts for status, n in one.by_status.items()} == numbers
        for (job_id, status), number in numbers.items():
            query = ExecutionQuery(job_id=job_id, status=(status,), hidden=True, limit=1)
            assert (await store.executions(query)).total == number
        assert await store.without_events() == []


async def views_of(store: PostgresStore) -> dict[str, Execution]:
    """Return all executions, by id."""
    views: dict[str, Execution] = {}
    cursor = None
    while True:
        page = await store.executions(ExecutionQuery(hidden=True, limit=500, cursor=cursor))
        views |= {view.id: view for view in page.items}
        if (cursor := page.next) is None:
            assert page.total == len(views)
            return views
