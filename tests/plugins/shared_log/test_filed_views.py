"""Views follow their events in groups: no view is lost, or read too early, in the process that leads and in others."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gnomon.domain import execution
from gnomon.domain.events import JobPaused, JobRemoved
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.errors import StoreUnavailableError
from gnomon.testing import check_store
from gnomon.testing.histories import append, extend, job_added, scheduled, succeeded
from gnomon_shared_log.shared_log import SharedLog
from gnomon_shared_log.writing import spooling_writer, view_filer
from gnomon_shared_log.writing.view_filer import FilingPace, ViewFiler
from outage_events import keep, run
from servers import eventually

MakeStore = Callable[..., SharedLog[Any]]


@pytest.fixture
async def leader(make_store: MakeStore) -> SharedLog[Any]:
    leader = make_store()
    await leader.open()
    await append(leader, job_added("kept"), succeeded("kept"))
    await leader.executions(ExecutionQuery())  # all views are filed
    return leader


@pytest.fixture
async def follower(leader: SharedLog[Any], make_store: MakeStore) -> AsyncIterator[SharedLog[Any]]:
    follower = make_store()
    await follower.open(read_only=True)
    yield follower
    await follower.close()


def filer_of(store: SharedLog[Any]) -> ViewFiler[Any]:
    assert store._writer is not None
    return store._writer._filer


def hold_views(store: SharedLog[Any], monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """File no views until the event is set."""
    filer, may_file = filer_of(store), asyncio.Event()
    write = filer._write

    async def held(views: Any) -> None:
        await may_file.wait()
        await write(views)

    monkeypatch.setattr(filer, "_write", held)
    return may_file


def wait_for_filer(store: SharedLog[Any], seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set for how long a list in a process that follows waits for the leader."""
    monkeypatch.setattr(importlib.import_module(f"gnomon_{store.name}.views.filed_views"), "LIMIT_S", seconds)


async def test_jobs_and_runs_are_those_of_the_newest_event(
    leader: SharedLog[Any], follower: SharedLog[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_filer, "FLUSH_LIMIT_S", 0.0)  # `append` of these tests asks the leader for its runs
    may_file = hold_views(leader, monkeypatch)
    job, begun = job_added("new"), scheduled("new")
    paused = extend(job, JobPaused, actor="me")
    await append(leader, paused, begun)

    (state,) = await follower.jobs(["new"])
    assert state.paused
    assert [one.job_id for one in await follower.jobs()] == ["kept", "new"]
    found = await follower.execution(begun[0].stream)
    assert found is not None
    assert found.status == "scheduled"
    assert await follower.execution("nothing has this id") is None
    may_file.set()
    await eventually(lambda: filer_of(leader).waiting == 0)
    may_file.clear()
    await append(leader, extend(paused, JobRemoved, actor="me")[-1:])
    assert [one.job_id for one in await follower.jobs(removed=False)] == ["kept"]
    assert [one.removed for one in await follower.jobs(["new"])] == [True]
    may_file.set()


async def test_a_list_waits_for_the_views_of_what_was_written_before_it(
    leader: SharedLog[Any], follower: SharedLog[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_filer, "FLUSH_LIMIT_S", 0.0)
    wait_for_filer(follower, 60.0, monkeypatch)
    may_file = hold_views(leader, monkeypatch)
    await append(leader, extend(job_added("new"), JobPaused, actor="me"), scheduled("new"))

    page = asyncio.ensure_future(follower.executions(ExecutionQuery()))
    acts = asyncio.ensure_future(follower.actions(ActionQuery(job_id="new")))
    for _ in range(3):
        await follower.head()  # a list that did not wait would have its answer by now
    may_file.set()

    assert sorted(one.job_id for one in (await page).items) == ["kept", "new"]
    assert {one.action for one in (await acts).items} == {"pause"}


async def test_a_list_does_not_wait_for_a_leader_that_files_nothing_more(
    leader: SharedLog[Any], follower: SharedLog[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_filer, "FLUSH_LIMIT_S", 0.0)
    wait_for_filer(follower, 0.05, monkeypatch)
    may_file = hold_views(leader, monkeypatch)
    await append(leader, scheduled("other"))

    assert len((await follower.executions(ExecutionQuery())).items) == 1
    wait_for_filer(follower, 1e9, monkeypatch)
    assert len((await follower.executions(ExecutionQuery())).items) == 1  # nor does the next one
    may_file.set()


async def test_views_that_a_killed_kernel_did_not_file_are_folded_by_the_next(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling_writer, "FINISH_LIMIT_S", 0.0)
    store = make_store()
    await store.open()
    half = run(0, 0)
    await keep(store, half[:2])
    await store.executions(ExecutionQuery())
    hold_views(store, monkeypatch)
    await store.append(half[2:], [execution.fold(half)], [])
    await keep(store, *(run(number, 3 * number) for number in range(1, 4)))
    await store.close()

    async with make_store() as again:
        assert (await again.executions(ExecutionQuery())).total == 4
        await check_store(again)


async def test_a_server_that_takes_events_and_no_views_is_degraded_and_lists_say_why(
    leader: SharedLog[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> None:
        raise StoreUnavailableError("views are refused")

    history = run(0, await leader.head())
    with monkeypatch.context() as refusing:
        refusing.setattr(filer_of(leader), "_write", refuse)
        await keep(leader, history)
        await eventually(lambda: leader.health().state == "degraded")

        health = leader.health()
        assert (health.backlog, health.accepts_runs) == (3, True)
        assert "the views of 3 events are not written yet" in str(health.problem)
        with pytest.raises(StoreUnavailableError, match="the views of 3 events are not written yet"):
            await leader.executions(ExecutionQuery())
        assert await leader.execution(history[0].stream) == execution.fold(history)
        assert (await leader.read())[-3:] == history

    await eventually(lambda: leader.health().state == "healthy")
    assert (await leader.executions(ExecutionQuery())).total == 2


async def test_an_append_waits_while_too_many_views_wait(
    leader: SharedLog[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader._writer._filer, "pace", FilingPace(most_waiting=2))  # type: ignore[union-attr]
    may_file = hold_views(leader, monkeypatch)
    head = await leader.head()
    await keep(leader, run(0, head))
    waiting = asyncio.create_task(keep(leader, run(1, head + 3)))
    await leader._log.events.read_head()  # an append that did not wait would be there by now
    assert await leader.head() == head + 3
    may_file.set()
    await waiting
    assert await leader.head() == head + 6


# The filer alone


class Views:
    """A batch of events whose views are their positions."""

    has_only_events = False

    def __init__(self, *positions: int) -> None:
        self.positions = list(positions)

    @property
    def first(self) -> int:
        return self.positions[0]

    @property
    def event_count(self) -> int:
        return len(self.positions)

    def without_events(self) -> Views:
        return Views(*self.positions)

    def add(self, later: Views) -> None:
        self.positions += later.positions


@pytest.fixture
async def written() -> list[list[int]]:
    return []


@pytest.fixture
async def filer(written: list[list[int]]) -> AsyncIterator[ViewFiler[Any]]:
    """Provide a filer that rests for ever after each group, unless a caller waits for the next one."""

    async def write(views: Views) -> None:
        written.append(views.positions)

    filer = ViewFiler[Any](write, FilingPace(rest_s=1e9))
    task = asyncio.create_task(filer.run())
    yield filer
    task.cancel()


async def test_a_filer_that_rests_files_more_in_each_group(filer: ViewFiler[Any], written: list[list[int]]) -> None:
    filer.add(Views(1))
    await eventually(lambda: written)
    for position in range(2, 5):
        filer.add(Views(position))
        await asyncio.sleep(0)

    assert written == [[1]]
    assert (filer.first, filer.waiting) == (2, 3)
    await filer.flush()
    assert written == [[1], [2, 3, 4]]


async def test_a_filer_does_not_rest_while_an_append_waits_for_it(
    filer: ViewFiler[Any], written: list[list[int]]
) -> None:
    filer.pace = filer.pace._replace(most_waiting=1)
    filer.add(Views(1))
    await eventually(lambda: written)
    filer.add(Views(2, 3))
    await filer.room()
    assert written == [[1], [2, 3]]


async def test_what_was_added_in_an_outage_is_filed_in_groups_of_limited_size() -> None:
    written: list[list[int]] = []
    is_down = True

    async def write(views: Views) -> None:
        if is_down:
            raise StoreUnavailableError("down")
        written.append(views.positions)

    filer = ViewFiler[Any](write, FilingPace(most_waiting=3))
    task = asyncio.create_task(filer.run())
    filer.add(Views(1))
    await eventually(lambda: filer.problem)
    for views in (Views(2, 3), Views(4), Views(5), Views(6, 7, 8, 9), Views(10)):
        filer.add(views)
        await filer.room()  # nothing waits for a server that is down
    assert (filer.first, filer.waiting) == (1, 10)

    is_down = False
    await eventually(lambda: filer.problem is None)
    await filer.flush()
    assert written == [[1], [2, 3, 4], [5], [6, 7, 8, 9], [10]]
    assert (filer.first, filer.waiting) == (None, 0)
    task.cancel()


async def test_a_filer_that_rests_stops_at_once(filer: ViewFiler[Any], written: list[list[int]]) -> None:
    filer.add(Views(1))
    await eventually(lambda: written)
    filer.add(Views(2))
    filer.stop()
    await filer.flush()
    assert written == [[1]]
