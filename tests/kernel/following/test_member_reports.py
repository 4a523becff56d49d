"""A process that follows reports itself to the kernel that leads, and both list each other."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gnomon import Kernel, KernelMember
from gnomon.errors import NoLeaderError
from gnomon.following import member_reports, passed_orders
from gnomon_sqlite import SqliteStore

PATIENCE_S = 60.0
LEADER = """
import asyncio, sys
from gnomon import Kernel
from gnomon_sqlite import SqliteStore

async def main():
    async with Kernel(store=SqliteStore(sys.argv[1]), node="leader"):
        print("leads", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def leading_process(log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a kernel that leads in another process, which is killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LEADER, str(log), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"leads\n"
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def until_problem(kernel: Kernel, words: str) -> None:
    """Return when the follower's health says this about the kernel that leads; with no words, that all is well."""
    async with asyncio.timeout(PATIENCE_S):
        while not has_problem(kernel, words):  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)


def has_problem(kernel: Kernel, words: str) -> bool:
    problem = kernel.health().problems.get("leader", "")
    return words in problem and bool(words) == bool(problem)


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
        async with asyncio.timeout(PATIENCE_S):
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
        async with asyncio.timeout(PATIENCE_S):
            while "leader" not in follower.health().problems:  # noqa: ASYNC110 - health is polled, as by a probe
                await asyncio.sleep(0.01)
        health = follower.health()

    assert (alone.role, health.role, health.leader, health.state) == ("follower", "follower", None, "degraded")
    assert "no kernel leads the log" in health.problems["leader"]


async def test_a_new_leader_knows_its_followers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_reports, "REPORT_INTERVAL_S", 3600.0)
    path = tmp_path / "log.db"
    async with leading_process(path) as process, Kernel(store=SqliteStore(path), role="follower") as follower:
        await until_problem(follower, "")
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with leading_process(path), asyncio.timeout(PATIENCE_S):
            await until_both_are_listed(follower)


async def test_a_follower_that_never_leads_notices_a_dead_leader_by_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_reports, "REPORT_INTERVAL_S", 3600.0)
    path = tmp_path / "log.db"
    async with leading_process(path) as process, Kernel(store=SqliteStore(path), role="follower") as follower:
        while follower.health().leader is None:  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        await until_problem(follower, "no kernel leads the log")
        (alone,) = await follower.kernels()

    assert (alone.role, follower.health().leader) == ("follower", None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows whether a process runs")
async def test_a_follower_names_a_leader_that_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with leading_process(path) as process, Kernel(store=SqliteStore(path), role="follower") as follower:
        await until_problem(follower, "")
        process.send_signal(signal.SIGSTOP)
        await until_problem(follower, "holds the log and has not run since 20")
        problem = follower.health().problems["leader"]
        assert f"process {process.pid} on " in problem
        assert f"kill -CONT {process.pid} continues it" in problem
        process.send_signal(signal.SIGCONT)
        await until_problem(follower, "")


async def test_followers_without_a_leader_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Kernel(store=SqliteStore(path)):
        pass
    async with (
        Kernel(store=SqliteStore(path), role="follower", node="a") as first,
        Kernel(store=SqliteStore(path), role="follower", node="b") as second,
        asyncio.timeout(PATIENCE_S),
    ):
        while [one.node for one in await first.kernels()] != ["a", "b"]:  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)
        while sorted(one.node for one in await second.kernels()) != ["a", "b"]:  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(0.01)
        files = list(tmp_path.glob("log.db.sock.*"))
    assert len(files) == 2
    assert not list(tmp_path.glob("log.db.sock.*"))


async def test_a_leader_that_no_order_reaches_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_orders, "ORDER_LIMIT_S", 0.1)
    log = tmp_path / "log.db"
    async with leading_process(log) as leader, Kernel(store=SqliteStore(log), role="follower") as follower:
        socket = tmp_path / "log.db.sock"
        socket.unlink()
        socket.mkdir()  # another program's
        with pytest.raises(NoLeaderError, match=f"process {leader.pid} on .* has this log, and no order reaches it"):
            await follower.hold()
        leader.send_signal(signal.SIGKILL)
        await leader.wait()
        with pytest.raises(NoLeaderError, match="no kernel leads this log"):
            await follower.hold()
