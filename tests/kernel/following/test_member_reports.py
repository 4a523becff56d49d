"""A process that follows reports itself to the kernel that leads, and both list each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gnomon import Kernel, KernelMember
from gnomon_sqlite import SqliteStore


async def until_both_are_listed(kernel: Kernel) -> list[KernelMember]:
    while True:
        members = await kernel.kernels()
        if [member.role for member in members] == ["leader", "follower"]:
            return members
        await asyncio.sleep(0.01)


async def test_a_leader_and_its_follower_list_the_same_members(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with (
        Kernel(store=SqliteStore(path), node="a") as leader,
        Kernel(store=SqliteStore(path), node="b", role="follower") as follower,
    ):
        async with asyncio.timeout(30):
            by_leader = await until_both_are_listed(leader)
            by_follower = await until_both_are_listed(follower)
            while follower.health().leader is None:  # noqa: ASYNC110 - health is polled, as by a probe
                await asyncio.sleep(0.01)

        assert [member.id for member in by_leader] == [member.id for member in by_follower]
        assert [member.node for member in by_leader] == ["a", "b"]
        assert (leader.health().role, follower.health().role) == ("leader", "follower")
        assert follower.health().leader == leader.health().leader


async def test_a_follower_without_a_leader_lists_itself_and_says_that_nobody_leads(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Kernel(store=SqliteStore(path)):
        pass
    async with Kernel(store=SqliteStore(path), role="follower") as follower:
        (alone,) = await follower.kernels()
        async with asyncio.timeout(30):
            while "leader" not in follower.health().problems:  # noqa: ASYNC110 - health is polled, as by a probe
                await asyncio.sleep(0.01)
        health = follower.health()

    assert (alone.role, health.role, health.leader, health.state) == ("follower", "follower", None, "degraded")
    assert "no kernel leads the log" in health.problems["leader"]
