"""Orders of a process that follows: what they may contain is what they may contain in the process that leads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import ExecutionOverError, Job, Kernel, Retry, UnknownExecutionError
from gnomon.jobs.job import Limits
from gnomon_sqlite import SqliteStore

AT = datetime(2036, 12, 1, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
JOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a Job with timedeltas": (Job(id="one", func=time.time, every=timedelta(hours=1), timeout=90 * SECOND), {}),  # type: ignore[arg-type]
    "a function with keys": (time.time, {"id": "one", "every": timedelta(minutes=90), "grace": timedelta(seconds=3)}),
    "schedules": ("time:time", {"id": "one", "schedules": [{"every": timedelta(minutes=5)}, {"at": AT}]}),
    "limits": (Job(id="one", func="time:time", runner="process", limits=Limits(cpu=90 * SECOND)), {}),  # type: ignore[arg-type]
    "a time": (Job(id="one", func="time:time", at=AT), {}),
    "a retry": (Job(id="one", func="time:time", retry=Retry(attempts=3, delay=timedelta(milliseconds=1500))), {}),  # type: ignore[arg-type]
    "a retry as a table": ("time:time", {"id": "one", "retry": {"attempts": 2, "delay": timedelta(seconds=2)}}),
    "a table of a trigger": ("time:time", {"id": "one", "trigger": {"type": "interval", "minutes": 5}}),
    "arguments": ("time:sleep", {"id": "one", "args": [0.0], "labels": {"team": "data"}, "cron": "0 9 * * 1"}),
}


@pytest.fixture
async def leader(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with Kernel(store=SqliteStore(tmp_path / "gnomon.db"), drain=timedelta(0)) as kernel:
        yield kernel


@pytest.fixture
async def follower(leader: Kernel, tmp_path: Path) -> AsyncIterator[Kernel]:
    async with Kernel(role="follower", store=SqliteStore(tmp_path / "gnomon.db")) as kernel:
        yield kernel


@pytest.mark.parametrize("name", JOBS)
async def test_a_follower_adds_what_the_leader_would_add(leader: Kernel, follower: Kernel, name: str) -> None:
    what, keys = JOBS[name]
    expected = await leader.add_job(what, **keys)
    (definition,) = [view.state.definition for view in await leader.jobs()]
    await leader.remove_job("one")

    found = await follower.add_job(what, **keys)

    assert found.definition() == expected.definition()
    assert [view.state.definition for view in await leader.jobs()] == [definition]
    assert [view.state.definition for view in await follower.jobs()] == [definition]


@pytest.mark.parametrize(
    "changes", [{"every": timedelta(minutes=5)}, {"retry": Retry(attempts=2)}, {"timeout": SECOND}]
)
async def test_a_follower_changes_what_the_leader_would_change(
    leader: Kernel, follower: Kernel, changes: dict[str, Any]
) -> None:
    await leader.add_job("time:time", id="one", every="1h")
    expected = await leader.change_job("one", **changes)
    await leader.add_job("time:time", id="one", every="1h", replace=True)

    assert await follower.change_job("one", **changes) == expected


async def test_a_follower_passes_a_look_into_a_body_to_the_leader(leader: Kernel, follower: Kernel) -> None:
    await leader.add_job("asyncio:sleep", id="nap", args=[3600])
    run = (await leader.trigger("nap")).execution.id
    await leader.add_job("time:time", id="soon")
    await leader.wait((await leader.trigger("soon")).execution.id)  # the body before has begun by then

    sample = await follower.sample(run)

    assert [frame.function for frame in sample.stacks[0].frames] == ["sleep"]
    assert sample.stacks[0].frames[0].source == "return await future"
    assert (sample.runner, sample.is_shared) == ("async", True)
    with pytest.raises(UnknownExecutionError):
        await follower.sample("0" * 24)
    await leader.cancel(run)
    with pytest.raises(ExecutionOverError):
        await follower.sample((await leader.wait(run)).id)
