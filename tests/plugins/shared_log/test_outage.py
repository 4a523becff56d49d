"""The server goes away and comes back with `cut_off = "run"`: jobs go on, and nothing is lost or missing in lists."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from gnomon import Job, Kernel
from gnomon.domain import events, execution
from gnomon.domain.records import Checkpoint, ExecutionQuery, LogLine
from gnomon.errors import ConflictError, DeposedError, StoreError, StoreUnavailableError
from gnomon.testing import check_log
from gnomon.testing.histories import NOON, SECOND, extend, job_added, job_states, numbered, scheduled
from gnomon.testing.log_checks import check_store
from gnomon_shared_log.shared_log import SharedLog
from gnomon_shared_log.writing import spool
from gnomon_shared_log.writing.spool_limits import SpoolLimits
from log_places import LogServer, make_database, place_on, server_of
from outage_events import keep, look_often, run
from servers import eventually

MakeStore = Callable[..., SharedLog[Any]]

every_driver = pytest.mark.parametrize("kind", ["motor", "mongo", "postgres"], indirect=True)
"""For what is about how a driver finds out that the server is away."""
one_server = pytest.mark.parametrize("kind", ["mongo"], indirect=True)
"""For what is about the spool alone."""


@pytest.fixture(params=["mongo", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[LogServer]:
    """Provide a server of the test's own, that may be killed."""
    with server_of("postgres" if kind == "postgres" else "mongo", tmp_path / "server") as server:
        yield server


@pytest.fixture
def settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Shorten the time limits of calls and of the lease, and wait long for a server that starts."""
    limits = {"timeout": timedelta(seconds=2), "lease": timedelta(seconds=5), "patience": timedelta(minutes=1)}
    return settings | limits | {"cut_off": "run", "driver": kind}


@pytest.fixture(autouse=True)
def a_store_looks_often_and_closes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)


@pytest.fixture
async def store(make_store: MakeStore) -> SharedLog[Any]:
    store = make_store()
    await store.open()
    return store


@every_driver
async def test_what_is_appended_while_the_server_is_gone_is_kept_and_drained_in_order(
    store: SharedLog[Any], server: LogServer
) -> None:
    await keep(store, run(1, 0))
    server.kill()

    await keep(store, run(2, 3), run(3, 6))
    await store.save_checkpoint("stats", Checkpoint(9, b"view"))
    await store.append_log("a" * 24, [LogLine(1, NOON, "info", "in the outage")])

    health = store.health()
    assert (health.state, health.backlog, health.accepts_runs) == ("degraded", 6, True)
    assert health.problem is not None
    assert "6 events wait in the spool" in health.problem
    assert await store.head() == 9
    server.start()
    await eventually(lambda: store.health().state == "healthy")
    assert [event.position for event in await store.read()] == list(range(1, 10))
    await check_store(store)
    assert (await store.executions(ExecutionQuery())).total == 3
    assert await store.checkpoint("stats") == Checkpoint(9, b"view")
    assert [line.text for line in await store.log("a" * 24)] == ["in the outage"]


async def test_in_an_outage_reads_tell_what_is_known_or_that_they_cannot(
    store: SharedLog[Any], server: LogServer
) -> None:
    known, spooled = run(1, 0), run(2, 3)
    await keep(store, known)
    await store.jobs()  # waits until the views are written
    server.kill()
    await store.append_log(known[0].stream, [LogLine(1, NOON, "info", "in the outage")])
    with pytest.raises(StoreUnavailableError, match="1 writes of log lines or checkpoints wait in the spool"):
        await store.jobs()
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


@every_driver
async def test_a_server_that_hangs_delays_one_append_by_its_time_limit(
    server: LogServer, make_store: MakeStore
) -> None:
    async with make_store() as store:
        server.send(signal.SIGSTOP)

        async with asyncio.timeout(45):  # and not thirty times two seconds
            await keep(store, *(run(n, 3 * n) for n in range(30)))

        assert store.health().backlog == 3 * 30
        server.send(signal.SIGCONT)
        await eventually(lambda: store.health().state == "healthy")
        assert [event.position for event in await store.read()] == list(range(1, 3 * 30 + 1))
        await check_store(store)


async def test_the_spool_is_drained_before_a_new_kernel_is_told_the_head(
    store: SharedLog[Any], server: LogServer, make_store: MakeStore
) -> None:
    history = extend(job_added(), events.JobPaused, actor="ann")
    await keep(store, run(1, 0))
    server.kill()
    await keep(store, run(2, 3))
    batch = numbered(history, after=6)
    await store.append(batch, [], job_states(batch))
    await store.close()
    server.start()

    async with make_store() as again:
        assert await again.head() == 8
        assert again.health().state == "healthy"
        assert (await again.executions(ExecutionQuery())).total == 2
        assert [state.paused for state in await again.jobs()] == [True]
        await check_store(again)


async def test_without_its_server_a_kernel_does_not_start_and_what_waits_stays(
    store: SharedLog[Any], server: LogServer, settings: dict[str, Any], make_store: MakeStore
) -> None:
    server.kill()
    await keep(store, run(1, 0))
    await store.close()

    settings["patience"] = timedelta(0)
    with pytest.raises(StoreUnavailableError, match=r"cannot start without its log.* are kept"):
        await make_store().open()
    with pytest.raises(StoreUnavailableError, match="cannot be used now") as refused:
        await make_store().open(read_only=True)
    assert "kernel" not in str(refused.value)  # a command that only looks starts none

    waiting = sqlite3.connect(settings["spool"])
    assert waiting.execute("SELECT sum(events) FROM entries").fetchall() == [(3,)]
    waiting.close()


@every_driver
async def test_opening_waits_for_a_server_that_comes_up_later(server: LogServer, make_store: MakeStore) -> None:
    server.kill()
    store = make_store()

    with capture_logs() as lines:
        opening = asyncio.ensure_future(store.open())
        await eventually(lambda: any(line["event"].startswith("waiting for ") for line in lines))
        await asyncio.to_thread(server.start)
        await opening

    assert await store.head() == 0
    await store.close()


@one_server
async def test_a_full_spool_takes_the_ends_of_runs_and_asks_for_no_new_ones(
    server: LogServer, make_store: MakeStore
) -> None:
    async with make_store(limits=SpoolLimits(size=20_000)) as store:
        server.kill()
        written = 0
        while store.health().accepts_runs:
            await keep(store, run(written, 3 * written))
            written += 1
        assert "spool_limit" in str(store.health().problem)

        await keep(store, run(written, 3 * written))  # from the reserve
        with pytest.raises(StoreUnavailableError, match="more than its limit"):
            await keep(store, *(run(n, 3 * n) for n in range(written + 1, written + 100)))

        head = await store.head()
        server.start()
        await eventually(lambda: store.health().state == "healthy")
        assert store.health().accepts_runs
        assert len(await store.read()) == head
        await keep(store, run(1000, head))


@one_server
async def test_a_spool_that_fills_the_disk_is_drained_although_nothing_can_be_deleted(
    store: SharedLog[Any], server: LogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "DRAIN_EVENTS", 50)
    await keep(store, run(1, 0))
    server.kill()
    await keep(store, *(run(number, 3 * number - 3) for number in range(2, 60)))
    store._spool._connection.execute("PRAGMA query_only = ON")  # as on a full disk: not even a DELETE has room
    with pytest.raises(StoreUnavailableError, match="check its folder, its permissions and its disk"):
        await keep(store, run(60, 177))

    server.start()
    await eventually(lambda: is_healthy(store))

    await keep(store, run(60, 177))
    assert [event.position for event in await store.read(0, limit=1000)] == list(range(1, 181))
    server.kill()
    await keep(store, run(61, 180))  # the file that filled the disk is gone
    assert store.health().backlog == 3


@one_server
async def test_what_waits_for_too_long_stops_new_runs(server: LogServer, make_store: MakeStore) -> None:
    async with make_store(limits=SpoolLimits(age=timedelta(milliseconds=50))) as store:
        server.kill()
        await keep(store, run(1, 0))

        await eventually(lambda: not store.health().accepts_runs)

        assert "spool_age" in str(store.health().problem)


async def test_a_log_that_went_on_without_this_kernel_is_left_as_it_is(
    store: SharedLog[Any], server: LogServer, tmp_path: Path, make_store: MakeStore
) -> None:
    await keep(store, run(1, 0))
    server.kill()
    await keep(store, run(2, 3))
    await store.close()
    server.start()
    async with make_store(spool=tmp_path / "other.db") as other:
        await keep(other, run(9, 3))

    async with make_store() as late:
        assert await late.head() == 6
        assert (await late.read(after=3))[0].stream == run(9, 3)[0].stream
        await check_store(late)

    (aside,) = tmp_path.glob("spool.db.refused-*")
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT sum(events) FROM entries").fetchall() == [(3,)]
    kept.close()


async def test_a_kernel_that_was_replaced_in_an_outage_is_told_so(server: LogServer, make_store: MakeStore) -> None:
    async with make_store(lease=timedelta(seconds=2)) as store:
        await keep(store, run(1, 0))
        server.kill()
        await keep(store, run(2, 3))
        server.start()
        taken = None
        while taken is None:  # the kernel may renew it in between
            seen = await store._log.lease.read()
            assert seen is not None
            theirs = msgspec.structs.replace(seen, owner="theirs", epoch=seen.epoch + 10)
            taken = await store._log.lease.put(theirs, seen)

        await eventually(lambda: not store.health().accepts_runs)

        with pytest.raises((DeposedError, ConflictError), match="took the lease"):
            await keep(store, run(3, 6))
        assert "took the lease" in str(store.health().problem)


@one_server
async def test_a_spool_of_another_log_is_refused(
    store: SharedLog[Any], server: LogServer, make_store: MakeStore
) -> None:
    server.kill()
    await keep(store, run(1, 0))
    await store.close()
    server.start()

    make_database(server, "elsewhere")
    with pytest.raises(StoreError, match="holds 3 events of another log"):
        await make_store(place=place_on(server, "elsewhere")).open()


@one_server
@pytest.mark.parametrize("content", [b"this is my diary\n" * 500, None], ids=["text", "database"])
async def test_what_is_no_spool_is_left_alone(make_store: MakeStore, tmp_path: Path, content: bytes | None) -> None:
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


@one_server
async def test_a_spool_that_cannot_be_written_holds_nothing_up_for_ever(
    store: SharedLog[Any], server: LogServer
) -> None:
    await keep(store, run(1, 0))
    server.kill()
    store._spool._connection.execute("PRAGMA query_only = ON")

    with pytest.raises(StoreUnavailableError, match=r"the spool .* cannot be used now"):
        await keep(store, run(2, 3))

    server.start()

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


@one_server
async def test_an_outage_ends_once_in_the_log_if_an_append_finds_the_server_before_the_spool_is_drained(
    make_store: MakeStore, server: LogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, may_drain = make_store(cut_off="hold"), asyncio.Event()
    await store.open()
    writer = store._writer
    assert writer is not None
    drain_some = writer._drain_some

    async def drain_later() -> None:
        await may_drain.wait()
        await drain_some()

    async def is_kept() -> bool:
        try:
            await keep(store, run(1, 0))
        except StoreUnavailableError:
            return False
        return True

    server.kill()
    await store.save_checkpoint("stats", Checkpoint(0, b"view"))
    monkeypatch.setattr(writer, "_drain_some", drain_later)
    server.start()
    with capture_logs() as logs:
        await eventually(is_kept)
        may_drain.set()
        await eventually(lambda: not writer._away.is_set())

    (back,) = [line for line in logs if "is back" in line["event"]]
    assert back["after_s"] >= 0


@one_server
async def test_a_spool_that_cannot_be_read_for_a_moment_is_drained_all_the_same(
    store: SharedLog[Any], server: LogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.kill()
    await keep(store, run(1, 0))
    failed: list[int] = []

    def broken() -> None:
        monkeypatch.undo()
        failed.append(1)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store._spool, "_first", broken)
    server.start()

    await eventually(lambda: store.health().state == "healthy")

    assert failed
    assert len(await store.read()) == 3


async def test_jobs_go_on_in_an_outage_and_their_history_is_whole_afterwards(
    server: LogServer, make_store: MakeStore
) -> None:
    store = make_store()
    may_end = asyncio.Event()

    async def body() -> str:
        await may_end.wait()
        return "done"

    async with Kernel(store=store, jobs=[Job(id="slow", func=body, max_instances=2, overlap="allow")]) as kernel:
        before = (await kernel.trigger("slow")).execution.id
        server.kill()
        within = (await kernel.trigger("slow", actor="ann")).execution.id
        may_end.set()

        ended = [await kernel.wait(one) for one in (before, within)]

        assert [view.status for view in ended] == ["success", "success"]
        health = kernel.health()
        assert (health.state, health.accepts_runs) == ("degraded", True)
        assert health.backlog >= 4
        server.start()
        await eventually(lambda: store.health().state == "healthy")
        for identity in (before, within):
            assert [event.type for event in await kernel.history(identity)] == ["scheduled", "started", "succeeded"]
        views = (await kernel.executions(ExecutionQuery())).items
        check_log(await store.read(), views, await store.jobs())


@one_server
async def test_with_a_full_spool_new_runs_wait_until_it_is_drained(server: LogServer, make_store: MakeStore) -> None:
    may_end = asyncio.Event()

    async def body() -> None:
        await may_end.wait()

    jobs = [Job(id=name, func=body) for name in ("going", "waiting")]
    store = make_store(limits=SpoolLimits(age=timedelta(0)))
    async with Kernel(store=store, jobs=jobs) as kernel:
        going = (await kernel.trigger("going")).execution.id
        server.kill()
        assert await kernel.pause("going")  # the first event that waits

        waiting = (await kernel.trigger("waiting")).execution.id
        may_end.set()

        assert (await kernel.wait(going)).status == "success"
        assert (await kernel.execution(waiting)).status == "scheduled"
        assert not kernel.health().accepts_runs
        server.start()
        assert (await kernel.wait(waiting)).status == "success"


async def test_the_first_events_of_a_new_log_may_go_to_the_spool(store: SharedLog[Any], server: LogServer) -> None:
    server.kill()

    await keep(store, numbered(scheduled()))

    assert await store.head() == 1
    assert await store.read() == numbered(scheduled())
    with pytest.raises(ConflictError):
        await keep(store, numbered(scheduled()))


@pytest.mark.parametrize("cut_off", ["hold", "run"])
async def test_a_part_of_another_log_that_does_not_reach_the_server_is_not_kept_here(
    make_store: MakeStore, server: LogServer, cut_off: str
) -> None:
    async with make_store(cut_off=cut_off) as store:
        await store.restore(run(1, 0), [], [], 3)
        server.kill()
        with pytest.raises(StoreUnavailableError, match="log 127"):
            await store.restore(run(2, 5), [], [], 8)
        assert await store.head() == 3
    assert await store.spooled() == (0, 0)
    server.start()

    async with make_store(cut_off=cut_off) as store:
        assert [event.position for event in await store.read()] == [1, 2, 3]
        assert await store.late_ends() == []
        await store.restore(run(2, 5), [], [], 8)
        assert [event.position for event in await store.read()] == [1, 2, 3, 6, 7, 8]


def is_healthy(store: SharedLog[Any]) -> bool:
    return store.health().state == "healthy"
