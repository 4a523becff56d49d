"""The processes on the log: a follower is listed while it reports itself, and left out when it no longer does."""

from __future__ import annotations

import os
from datetime import timedelta

import msgspec

from gnomon import Kernel, KernelMember
from gnomon.domain.kernel_member import REPORT_INTERVAL_S
from gnomon.engine.members import EXPIRY_S, MOST_MEMBERS, MemberTable
from gnomon.testing import VirtualClock


def member(clock: VirtualClock, pid: int, position: int = 0, identity: str = "") -> KernelMember:
    return KernelMember(
        id=identity or f"{pid:024x}",
        node="worker",
        pid=pid,
        role="follower",
        since=clock.now(),
        seen=clock.now(),
        position=position,
    )


async def test_a_kernel_alone_lists_itself() -> None:
    async with Kernel(node="first") as kernel:
        (leader,) = await kernel.kernels()
        health = kernel.health()

    assert (leader.node, leader.pid, leader.role, leader.lag) == ("first", os.getpid(), "leader", 0)
    assert leader.position == health.position > 0
    assert leader.versions["gnomon"]
    assert (health.role, health.leader) == ("leader", f"process {os.getpid()} on first")
    assert (kernel.health().role, kernel.health().leader) == (None, None)


async def test_followers_are_listed_with_their_lag_behind_the_leader_that_leads() -> None:
    clock = VirtualClock()
    async with Kernel(clock=clock) as kernel:
        head = kernel.health().position
        await kernel.report_member(member(clock, 12, position=head))
        await kernel.report_member(member(clock, 11, position=head - 1))

        listed = await kernel.kernels()

    assert [(one.role, one.pid, one.lag) for one in listed[1:]] == [("follower", 11, 1), ("follower", 12, 0)]


async def test_the_lag_of_a_follower_is_as_old_as_the_first_event_that_it_has_not_read() -> None:
    clock = VirtualClock()
    async with Kernel(clock=clock) as kernel:
        behind = kernel.health().position
        await kernel.add_job("time:time", id="added")
        await clock.advance(timedelta(seconds=7))
        await kernel.report_member(member(clock, 12, position=behind))
        (late,) = (await kernel.kernels())[1:]
        await kernel.report_member(member(clock, 12, position=kernel.health().position))
        (present,) = (await kernel.kernels())[1:]

    assert (late.lag > 0, late.lag_s) == (True, 7.0)
    assert (present.lag, present.lag_s) == (0, 0.0)


async def test_a_follower_that_leaves_is_not_listed_any_more() -> None:
    clock = VirtualClock()
    async with Kernel(clock=clock) as kernel:
        await kernel.report_member(member(clock, 12))
        await kernel.report_member(member(clock, 13))
        await kernel.remove_member(member(clock, 12).id)
        await kernel.remove_member("unknown")

        assert [one.pid for one in (await kernel.kernels())[1:]] == [13]


async def test_a_follower_that_does_not_report_any_more_is_left_out() -> None:
    clock = VirtualClock()
    table = MemberTable(clock)
    table.report(member(clock, 1), 0)
    await clock.advance(timedelta(seconds=REPORT_INTERVAL_S))
    table.report(member(clock, 2), 0)

    await clock.advance(timedelta(seconds=EXPIRY_S - REPORT_INTERVAL_S))
    assert [one.pid for one in table.followers()] == [1, 2]

    await clock.advance(timedelta(seconds=1))
    assert [one.pid for one in table.followers()] == [2]


def test_a_report_replaces_the_one_before_and_has_the_time_of_the_leader() -> None:
    clock = VirtualClock()
    table = MemberTable(clock)
    table.report(member(clock, 1, position=3), 10)
    wrong = msgspec.structs.replace(member(clock, 1, position=8), role="leader", seen=clock.now() - timedelta(hours=1))

    table.report(wrong, 10)

    (follower,) = table.followers()
    assert (follower.role, follower.position, follower.lag, follower.seen) == ("follower", 8, 2, clock.now())


def test_processes_that_come_and_go_do_not_grow_the_table_without_limit() -> None:
    clock = VirtualClock()
    table = MemberTable(clock)
    for pid in range(MOST_MEMBERS + 5):
        table.report(member(clock, pid), 0)

    pids = [one.pid for one in table.followers()]

    assert (len(pids), pids[0]) == (MOST_MEMBERS, 5)
