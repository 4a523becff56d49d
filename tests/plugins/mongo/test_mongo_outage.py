"""MongoDB goes away and comes back with `cut_off = "run"`: jobs go on, nothing is lost, lists never lack anything."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Job, Kernel
from gnomon.domain import events, execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import Checkpoint, ExecutionQuery, LogLine
from gnomon.errors import ConflictError, DeposedError, StoreError, StoreUnavailableError
from gnomon.testing import check_log
from gnomon.testing.histories import NOON, SECOND, extend, job_added, job_states, numbered, scheduled, succeeded
from gnomon_mongo import MongoStore, SpoolLimits, event_append
from gnomon_mongo.drivers import Driver, DriverName
from gnomon_shared_log import spool, spooling_writer, view_filer

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Shorten the time limits of calls and of the lease, and wait long for a server that starts."""
    limits = {"timeout": timedelta(seconds=2), "lease": timedelta(seconds=5), "patience": timedelta(minutes=1)}
    return settings | limits | {"cut_off": "run"}


@pytest.fixture(autouse=True)
def a_store_looks_often_and_closes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a server that is back within moments, and wait half a second, not five, for one that is gone at the end."""
    for module in (spooling_writer, view_filer):
        monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(spooling_writer, "FINISH_LIMIT_S", 0.5)
    monkeypatch.setattr("gnomon_shared_log.shared_log.RELEASE_LIMIT_S", 0.5)


@pytest.fixture
async def store(daemon: Any, driver: Driver, settings: dict[str, Any]) -> AsyncIterator[MongoStore]:
    """Provide an open store on its own server, that may be killed."""
    daemon.start()
    store = MongoStore(daemon.uri, driver=driver, **settings)
    await store.open()
    yield store
    await store.close()


# What is about the spool and not about how a driver finds out is tested on one of them.
one_driver = pytest.mark.parametrize("driver", ["pymongo"], indirect=True)


def run(number: int, after: int) -> list[Event]:
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def keep(store: MongoStore, *batches: list[Event]) -> None:
    """Append without asking the store for anything before, as the journal does."""
    for batch in batches:
        streams = {event.stream: [one for one in batch if one.stream == event.stream] for event in batch}
        await store.append(batch, [execution.fold(history) for history in streams.values()], [])


async def test_what_is_appended_while_the_server_is_gone_is_kept_and_drained_in_order(
    store: MongoStore, daemon: Any, eventually: Eventually
) -> None:
    await keep(store, run(1, 0))
    daemon.kill()

    await keep(store, run(2, 3), run(3, 6))
    await store.save_checkpoint("stats", Checkpoint(9, b"view"))
    await store.append_log("a" * 24, [LogLine(1, NOON, "info", "in the outage")])

    health = store.health()
    assert (health.state, health.backlog, health.accepts_runs) == ("degraded", 6, True)
    assert health.problem is not None
    assert "6 events wait in the spool" in health.problem
    assert await store.head() == 9
    daemon.start()
    await eventually(lambda: store.health().state == "healthy")
    assert [event.position for event in await store.read()] == list(range(1, 10))
    assert await store.differences() == []
    assert (await store.executions(ExecutionQuery())).total == 3
    assert await store.checkpoint("stats") == Checkpoint(9, b"view")
    assert [line.text for line in await store.log("a" * 24)] == ["in the outage"]


@one_driver
async def test_in_an_outage_reads_tell_what_is_known_or_that_they_cannot(store: MongoStore, daemon: Any) -> None:
    known, spooled = run(1, 0), run(2, 3)
    await keep(store, known)
    daemon.kill()
    await keep(store, spooled)
    await store.save_checkpoint("stats", Checkpoint(6, b"view"))

    assert await store.execution(spooled[0].stream) == execution.fold(spooled)
    assert await store.read(after=3) == spooled
    assert await store.read(after=4, limit=1) == spooled[1:2]
    assert await store.checkpoint("stats") == Checkpoint(6, b"view")
    unanswered: list[Awaitable[Any]] = [
        store.executions(ExecutionQuery()),
        store.jobs(),
        store.read(),
        store.stream(known[0].stream),
        store.job_events("sync", NOON, NOON + SECOND),
        store.log(known[0].stream),
        store.prune(NOON),
        store.statistics(),
    ]
    for answer in await asyncio.gather(*unanswered, return_exceptions=True):
        assert isinstance(answer, StoreUnavailableError), answer
        assert re.search("3 events wait in the spool|the views of 3 events are not written yet", str(answer))


async def test_a_server_that_hangs_delays_one_append_by_its_time_limit(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start()
    async with MongoStore(daemon.uri, driver=driver, **settings) as store:
        daemon.send(signal.SIGSTOP)

        async with asyncio.timeout(45):  # and not thirty times two seconds
            await keep(store, *(run(n, 3 * n) for n in range(30)))

        assert store.health().backlog == 3 * 30
        daemon.send(signal.SIGCONT)
        await eventually(lambda: store.health().state == "healthy")
        assert [event.position for event in await store.read()] == list(range(1, 3 * 30 + 1))
        assert await store.differences() == []


async def test_the_spool_is_drained_before_a_new_kernel_is_told_the_head(
    store: MongoStore, daemon: Any, driver: Driver, settings: dict[str, Any]
) -> None:
    history = extend(job_added(), events.JobPaused, actor="ann")
    await keep(store, run(1, 0))
    daemon.kill()
    await keep(store, run(2, 3))
    batch = numbered(history, after=6)
    await store.append(batch, [], job_states(batch))
    await store.close()
    daemon.start()

    async with MongoStore(daemon.uri, driver=driver, **settings) as again:
        assert await again.head() == 8
        assert again.health().state == "healthy"
        assert (await again.executions(ExecutionQuery())).total == 2
        assert [state.paused for state in await again.jobs()] == [True]
        assert await again.differences() == []


async def test_without_its_server_a_kernel_does_not_start_and_what_waits_stays(
    store: MongoStore, daemon: Any, driver: Driver, settings: dict[str, Any]
) -> None:
    daemon.kill()
    await keep(store, run(1, 0))
    await store.close()

    settings["patience"] = timedelta(0)
    with pytest.raises(StoreUnavailableError, match=r"cannot start without its log.* are kept"):
        await MongoStore(daemon.uri, driver=driver, **settings).open()
    with pytest.raises(StoreUnavailableError, match="cannot be used now") as refused:
        await MongoStore(daemon.uri, driver=driver, **settings).open(read_only=True)
    assert "kernel" not in str(refused.value)  # a command that only looks starts none

    waiting = sqlite3.connect(settings["spool"])
    assert waiting.execute("SELECT sum(events) FROM entries").fetchall() == [(3,)]
    waiting.close()


async def test_opening_waits_for_a_server_that_comes_up_later(
    daemon: Any, driver: Driver, settings: dict[str, Any]
) -> None:
    store = MongoStore(daemon.uri, driver=driver, **settings)

    opening = asyncio.ensure_future(store.open())
    await asyncio.sleep(0.2)
    await asyncio.to_thread(daemon.start)
    await opening

    assert await store.head() == 0
    await store.close()


@one_driver
async def test_a_full_spool_takes_the_ends_of_runs_and_asks_for_no_new_ones(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start()
    async with MongoStore(daemon.uri, driver=driver, **settings | {"limits": SpoolLimits(size=20_000)}) as store:
        daemon.kill()
        written = 0
        while store.health().accepts_runs:
            await keep(store, run(written, 3 * written))
            written += 1
        assert "spool_limit" in str(store.health().problem)

        await keep(store, run(written, 3 * written))  # from the reserve
        with pytest.raises(StoreUnavailableError, match="more than its limit"):
            await keep(store, *(run(n, 3 * n) for n in range(written + 1, written + 100)))

        head = await store.head()
        daemon.start()
        await eventually(lambda: store.health().state == "healthy")
        assert store.health().accepts_runs
        assert len(await store.read()) == head
        await keep(store, run(1000, head))


@one_driver
async def test_a_spool_that_fills_the_disk_is_drained_although_nothing_can_be_deleted(
    store: MongoStore, daemon: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "DRAIN_EVENTS", 50)
    await keep(store, run(1, 0))
    daemon.kill()
    await keep(store, *(run(number, 3 * number - 3) for number in range(2, 60)))
    store._spool._connection.execute("PRAGMA query_only = ON")  # as on a full disk: not even a DELETE has room
    with pytest.raises(StoreUnavailableError, match="check its folder, its permissions and its disk"):
        await keep(store, run(60, 177))

    daemon.start()
    await eventually(lambda: is_healthy(store))

    await keep(store, run(60, 177))
    assert [event.position for event in await store.read(0, limit=1000)] == list(range(1, 181))
    daemon.kill()
    await keep(store, run(61, 180))  # the file that filled the disk is gone
    assert store.health().backlog == 3


@one_driver
async def test_what_waits_for_too_long_stops_new_runs(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start()
    async with MongoStore(
        daemon.uri, driver=driver, **settings | {"limits": SpoolLimits(age=timedelta(milliseconds=50))}
    ) as store:
        daemon.kill()
        await keep(store, run(1, 0))

        await eventually(lambda: not store.health().accepts_runs)

        assert "spool_age" in str(store.health().problem)


async def test_a_write_without_an_answer_is_written_once(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start("--enable-test-commands")
    async with MongoStore(daemon.uri, driver=driver, **settings) as store:
        admin: Any = store._server._client
        fails = {"failCommands": ["insert"], "writeConcernError": {"code": 64, "errmsg": "not confirmed"}}
        await admin.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": fails})

        await keep(store, run(1, 0))

        await eventually(lambda: store.health().state == "healthy")
        assert len(await store.read()) == 3
        await keep(store, run(2, 3))
        assert await store.differences() == []


@one_driver
async def test_a_log_that_went_on_without_this_kernel_is_left_as_it_is(
    store: MongoStore, daemon: Any, driver: Driver, settings: dict[str, Any], tmp_path: Path, eventually: Eventually
) -> None:
    await keep(store, run(1, 0))
    daemon.kill()
    await keep(store, run(2, 3))
    await store.close()
    daemon.start()
    async with MongoStore(daemon.uri, driver=driver, **settings | {"spool": tmp_path / "other.db"}) as other:
        await keep(other, run(9, 3))

    async with MongoStore(daemon.uri, driver=driver, **settings) as late:
        assert await late.head() == 6
        assert (await late.read(after=3))[0].stream == run(9, 3)[0].stream
        assert await late.differences() == []

    (aside,) = tmp_path.glob("spool.db.refused-*")
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT sum(events) FROM entries").fetchall() == [(3,)]
    kept.close()


async def test_a_write_that_goes_on_at_the_server_while_it_is_repeated_is_no_conflict(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = event_append._appended

    async def behind_another(collection: Any, events: Any, after: Any, term: Any) -> bool:
        await collection.insert_one(events[0])
        return await insert(collection, events, after, term)

    monkeypatch.setattr(event_append, "_appended", behind_another)
    await keep(store, run(1, 0))

    assert store.health().state == "healthy"
    assert [event.position for event in await store.read()] == [1, 2, 3]
    assert await store.differences() == []


async def test_a_write_that_nobody_can_see_yet_is_no_conflict(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, tries = event_append._appended, []

    async def in_the_way_of_another(collection: Any, events: Any, after: Any, term: Any) -> bool:
        tries.append(events)
        return len(tries) > 10 and await insert(collection, events, after, term)

    monkeypatch.setattr(event_append, "_appended", in_the_way_of_another)
    await keep(store, run(1, 0))

    assert store.health().state == "healthy"
    assert [event.position for event in await store.read()] == [1, 2, 3]


async def test_a_kernel_that_was_replaced_in_an_outage_is_told_so(
    daemon: Any, driver: Driver, settings: dict[str, Any], database_of: Callable[[], Any], eventually: Eventually
) -> None:
    daemon.start()
    async with MongoStore(daemon.uri, driver=driver, **settings | {"lease": timedelta(seconds=2)}) as store:
        await keep(store, run(1, 0))
        daemon.kill()
        await keep(store, run(2, 3))
        daemon.start()
        theirs = {"token": "another kernel", "pid": 1}
        await database_of().scheduler_kernel.update_one({"_id": "writer"}, {"$set": theirs})

        await eventually(lambda: not store.health().accepts_runs)

        with pytest.raises((DeposedError, ConflictError), match="took the lease"):
            await keep(store, run(3, 6))
        assert "took the lease" in str(store.health().problem)


@pytest.fixture
async def database_of(daemon: Any, driver: Driver) -> AsyncIterator[Callable[[], Any]]:
    """Return a function that returns the database of the test's own server, when that is up."""
    clients: list[Any] = []

    def connect() -> Any:
        clients.append(Driver("pymongo").connect(daemon.uri))
        return clients[-1]["gnomon"]

    yield connect
    for client in clients:
        await client.close()


@one_driver
async def test_a_spool_of_another_log_is_refused(
    store: MongoStore, daemon: Any, driver: Driver, settings: dict[str, Any]
) -> None:
    daemon.kill()
    await keep(store, run(1, 0))
    await store.close()
    daemon.start()

    with pytest.raises(StoreError, match="holds 3 events of another log"):
        await MongoStore(daemon.uri, "elsewhere", driver=driver, **settings).open()


@one_driver
@pytest.mark.parametrize("content", [b"this is my diary\n" * 500, None], ids=["text", "database"])
async def test_what_is_no_spool_is_left_alone(
    make_store: Callable[..., MongoStore], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "diary"
    if content is None:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE customers (name TEXT)")
        other.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another path"):
        await make_store(spool=path).open()

    assert path.read_bytes() == before


@one_driver
async def test_a_spool_that_cannot_be_written_holds_nothing_up_for_ever(
    store: MongoStore, daemon: Any, eventually: Eventually
) -> None:
    await keep(store, run(1, 0))
    daemon.kill()
    store._spool._connection.execute("PRAGMA query_only = ON")

    with pytest.raises(StoreUnavailableError, match=r"the spool .* cannot be used now"):
        await keep(store, run(2, 3))

    daemon.start()

    async def is_kept() -> bool:
        try:
            await keep(store, run(2, 3))
        except StoreUnavailableError:  # the server has only just begun to listen
            return False
        return True

    with capture_logs() as logs:
        await eventually(is_kept)
    assert [event.position for event in await store.read()] == [1, 2, 3, 4, 5, 6]
    assert "MongoDB is back, the spool is drained" in [line["event"] for line in logs]  # the next outage is logged


@one_driver
async def test_a_spool_that_cannot_be_read_for_a_moment_is_drained_all_the_same(
    store: MongoStore, daemon: Any, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    daemon.kill()
    await keep(store, run(1, 0))
    failed: list[int] = []

    def broken() -> None:
        monkeypatch.undo()
        failed.append(1)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store._spool, "_first", broken)
    daemon.start()

    await eventually(lambda: store.health().state == "healthy")

    assert failed
    assert len(await store.read()) == 3


# With a kernel


async def test_jobs_go_on_in_an_outage_and_their_history_is_whole_afterwards(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start()
    store = MongoStore(daemon.uri, driver=driver, **settings)
    may_end = asyncio.Event()

    async def body() -> str:
        await may_end.wait()
        return "done"

    async with Kernel(store=store, jobs=[Job(id="slow", func=body, max_instances=2, overlap="allow")]) as kernel:
        before = (await kernel.trigger("slow")).execution.id
        daemon.kill()
        within = (await kernel.trigger("slow", actor="ann")).execution.id
        may_end.set()

        ended = [await kernel.wait(one) for one in (before, within)]

        assert [view.status for view in ended] == ["success", "success"]
        health = kernel.health()
        assert (health.state, health.accepts_runs) == ("degraded", True)
        assert health.backlog >= 4
        daemon.start()
        await eventually(lambda: store.health().state == "healthy")
        for identity in (before, within):
            assert [event.type for event in await kernel.history(identity)] == ["scheduled", "started", "succeeded"]
        views = (await kernel.executions(ExecutionQuery())).items
        check_log(await store.read(), views, await store.jobs())


async def test_jobs_go_on_while_the_server_hangs_for_longer_than_the_lease(
    daemon: Any, settings: dict[str, Any], tmp_path: Path, eventually: Eventually
) -> None:
    async def body() -> str:
        return "done"

    async def go_on(kernel: Kernel) -> int:
        runs, until = 0, time.monotonic() + 6
        while time.monotonic() < until:
            ended = await kernel.wait((await kernel.trigger("often", actor="ann")).execution.id)
            assert ended.status == "success"
            runs += 1
            await asyncio.sleep(0.1)
        assert kernel.health().state == "degraded"
        return runs

    daemon.start()
    async with AsyncExitStack() as stack:
        drivers: tuple[DriverName, ...] = ("motor", "pymongo")
        stores = [
            MongoStore(daemon.uri, name, driver=Driver(name), **settings | {"spool": tmp_path / name})
            for name in drivers
        ]
        jobs = [Job(id="often", func=body, overlap="allow")]
        kernels = [await stack.enter_async_context(Kernel(store=store, jobs=jobs)) for store in stores]
        daemon.send(signal.SIGSTOP)

        runs = await asyncio.gather(*map(go_on, kernels))

        daemon.send(signal.SIGCONT)
        for store, many in zip(stores, runs, strict=True):
            await eventually(partial(is_healthy, store))
            check_log(await store.read(limit=100_000), await every_execution(store), await store.jobs())
            assert (await store.executions(ExecutionQuery())).total == many > 1
            assert await store.differences() == []


def is_healthy(store: MongoStore) -> bool:
    return store.health().state == "healthy"


async def every_execution(store: MongoStore) -> list[Execution]:
    found, page = [], await store.executions(ExecutionQuery(limit=200))
    while True:
        found += page.items
        if page.next is None:
            return found
        page = await store.executions(ExecutionQuery(limit=200, cursor=page.next))


@one_driver
async def test_with_a_full_spool_new_runs_wait_until_it_is_drained(
    daemon: Any, driver: Driver, settings: dict[str, Any], eventually: Eventually
) -> None:
    daemon.start()
    may_end = asyncio.Event()

    async def body() -> None:
        await may_end.wait()

    jobs = [Job(id=name, func=body) for name in ("going", "waiting")]
    store = MongoStore(daemon.uri, driver=driver, **settings | {"limits": SpoolLimits(age=timedelta(0))})
    async with Kernel(store=store, jobs=jobs) as kernel:
        going = (await kernel.trigger("going")).execution.id
        daemon.kill()
        assert await kernel.pause("going")  # the first event that waits

        waiting = (await kernel.trigger("waiting")).execution.id
        may_end.set()

        assert (await kernel.wait(going)).status == "success"
        assert (await kernel.execution(waiting)).status == "scheduled"
        assert not kernel.health().accepts_runs
        daemon.start()
        assert (await kernel.wait(waiting)).status == "success"


@one_driver
async def test_the_first_events_of_a_new_log_may_go_to_the_spool(store: MongoStore, daemon: Any) -> None:
    daemon.kill()

    await keep(store, numbered(scheduled()))

    assert await store.head() == 1
    assert await store.read() == numbered(scheduled())
    with pytest.raises(ConflictError):
        await keep(store, numbered(scheduled()))
