"""Questions in a process that follows, while the leader has not filed the views of its newest events yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gnomon.domain.events import JobPaused, JobRemoved
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.testing.histories import append, extend, job_added, scheduled, succeeded
from gnomon_mongo import MongoStore, filed_views, projection
from gnomon_shared_log import view_filer

MakeStore = Callable[..., MongoStore]
Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


@pytest.fixture
async def leader(make_store: MakeStore) -> MongoStore:
    leader = make_store()
    await leader.open()
    await append(leader, job_added("kept"), succeeded("kept"))
    await leader.executions(ExecutionQuery())  # all views are filed
    return leader


@pytest.fixture
async def follower(leader: MongoStore, make_store: MakeStore) -> AsyncIterator[MongoStore]:
    follower = make_store()
    await follower.open(read_only=True)
    yield follower
    await follower.close()


def hold_views(leader: MongoStore, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """File no views until the event is set; `append` does not wait for them."""
    monkeypatch.setattr(view_filer, "FLUSH_LIMIT_S", 0.0)
    assert leader._writer is not None
    filer, may_file = leader._writer._filer, asyncio.Event()
    write = filer._write

    async def held(views: Any) -> None:
        await may_file.wait()
        await write(views)

    monkeypatch.setattr(filer, "_write", held)
    return may_file


async def test_jobs_and_runs_are_those_of_the_newest_event(
    leader: MongoStore, follower: MongoStore, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    may_file = hold_views(leader, monkeypatch)
    job, run = job_added("new"), scheduled("new")
    paused = extend(job, JobPaused, actor="me")
    await append(leader, paused, run)

    (state,) = await follower.jobs(["new"])
    assert state.paused
    assert [one.job_id for one in await follower.jobs()] == ["kept", "new"]
    found = await follower.execution(run[0].stream)
    assert found is not None
    assert found.status == "scheduled"
    assert await follower.execution("nothing has this id") is None
    may_file.set()
    await eventually(lambda: leader._writer is not None and leader._writer._filer.waiting == 0)
    may_file.clear()
    await append(leader, extend(paused, JobRemoved, actor="me")[-1:])
    assert [one.job_id for one in await follower.jobs(removed=False)] == ["kept"]
    assert [one.removed for one in await follower.jobs(["new"])] == [True]
    may_file.set()


async def test_a_list_waits_for_the_views_of_what_was_written_before_it(
    leader: MongoStore, follower: MongoStore, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(filed_views, "LIMIT_S", 60.0)
    looks: list[bool] = []
    are_filed = projection.are_filed

    async def looking(*args: Any) -> bool:
        looks.append(await are_filed(*args))
        return looks[-1]

    monkeypatch.setattr(projection, "are_filed", looking)
    may_file = hold_views(leader, monkeypatch)
    job, run = job_added("new"), scheduled("new")
    await append(leader, extend(job, JobPaused, actor="me"), run)

    page = asyncio.ensure_future(follower.executions(ExecutionQuery()))
    acts = asyncio.ensure_future(follower.actions(ActionQuery(job_id="new")))
    await eventually(lambda: len(looks) > 3)
    assert not any(looks)
    may_file.set()

    assert sorted(one.job_id for one in (await page).items) == ["kept", "new"]
    assert {one.action for one in (await acts).items} == {"pause"}
    looks.clear()
    await follower.executions(ExecutionQuery())
    assert looks == []  # they are known to be filed


async def test_a_list_does_not_wait_for_a_leader_that_files_nothing_more(
    leader: MongoStore, follower: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filed_views, "LIMIT_S", 0.05)
    may_file = hold_views(leader, monkeypatch)
    await append(leader, scheduled("other"))

    assert len((await follower.executions(ExecutionQuery())).items) == 1
    monkeypatch.setattr(filed_views, "LIMIT_S", 1e9)
    assert len((await follower.executions(ExecutionQuery())).items) == 1  # nor does the next one
    may_file.set()
