"""A process that follows counts active and waiting runs, and what is taken of each group, as the leader does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon import Duration, Job, Kernel, Retry
from gnomon_sqlite import SqliteStore

PATIENCE_S = 60.0
GROUPS: dict[str, Any] = {"warehouse": 1, "mail": {"limit": 5, "rate": "3/h"}, "empty": 2}


def counts_of(kernel: Kernel) -> Any:
    health = kernel.health()
    groups = {one.name: (one.limit, one.rate, one.running, one.waiting, one.starts) for one in health.groups}
    return health.running, health.waiting, groups


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another kernel changes it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_early", [True, False])
async def test_a_follower_counts_runs_as_the_leader_does(tmp_path: Path, is_early: bool) -> None:
    path, gate = tmp_path / "log.db", asyncio.Event()

    async def body() -> None:
        await gate.wait()

    async def fails() -> None:
        raise ValueError("no")

    retry = Retry(attempts=2, delay=Duration(hours=1))
    jobs = [
        Job(id="load-1", func=body, group="warehouse"),
        Job(id="load-2", func=body, group="warehouse"),
        Job(id="load-3", func=body, group="warehouse", overlap="queue"),
        Job(id="mail", func=body, group="mail", max_instances=2, overlap="queue"),
        Job(id="alone", func=body, overlap="queue"),
        Job(id="later", func=fails, retry=retry),
    ]
    leader = Kernel(store=SqliteStore(path), jobs=jobs, groups=GROUPS, node="a")
    follower = Kernel(store=SqliteStore(path), node="b", role="follower")

    async def act() -> None:
        for job_id in ("load-1", "load-2", "load-3", "mail", "mail", "mail", "alone", "alone"):
            await leader.trigger(job_id)
        await leader.wait((await leader.trigger("later")).execution.id)  # its retry is not due yet

    async with leader:
        if not is_early:
            await act()
        async with follower:
            if is_early:
                await act()
            await until(lambda: counts_of(leader)[0] == 4)
            await until(lambda: counts_of(follower) == counts_of(leader))
            running, waiting, groups = counts_of(follower)
            assert (running, waiting) == (4, 4)
            assert [(groups[name][0], groups[name][1], groups[name][3]) for name in GROUPS] == [
                (1, None, 2),
                (5, "3/h", 0),
                (2, None, 0),
            ]
            assert (len(groups["warehouse"][2]), groups["mail"][4]) == (1, 2)

            gate.set()
            await until(lambda: counts_of(leader)[:2] == (0, 0))
            await until(lambda: counts_of(follower) == counts_of(leader))
            assert counts_of(follower)[2]["mail"][4] == 3


async def test_jobs_that_are_added_and_changed_count_in_their_groups(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with (
        Kernel(store=SqliteStore(path), groups={"warehouse": 1, "mail": 1}, node="a") as leader,
        Kernel(store=SqliteStore(path), node="b", role="follower") as follower,
    ):
        await leader.add_job("asyncio:sleep", id="added", args=[3600], group="warehouse", runner="async")
        first = (await leader.trigger("added")).execution.id
        await until(lambda: counts_of(leader)[0] == 1)
        await until(lambda: counts_of(follower) == counts_of(leader))
        await leader.cancel(first)
        await leader.wait(first)
        await leader.change_job("added", group="mail")
        await leader.trigger("added")
        await until(lambda: counts_of(leader)[0] == 1)
        await until(lambda: counts_of(follower) == counts_of(leader))
        assert [len(one.running) for one in follower.health().groups] == [0, 1]
        await leader.cancel((await leader.job("added")).running[0])


async def test_the_groups_of_the_next_leader_replace_those_of_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Kernel(store=SqliteStore(path), groups={"a": 1, "b": 1}):
        pass
    async with Kernel(store=SqliteStore(path), role="follower") as follower:
        assert [one.name for one in follower.health().groups] == ["a", "b"]
        async with Kernel(store=SqliteStore(path), groups={"b": 7, "c": 1}) as leader:
            await until(lambda: counts_of(follower) == counts_of(leader))
            assert [(one.name, one.limit) for one in follower.health().groups] == [("b", 7), ("c", 1)]
