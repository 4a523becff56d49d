"""Two kernels on one log, each with its server: both answer alike, and orders reach the one that leads."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import Kernel, NoLeaderError, OrderLostError, hookimpl
from gnomon.following.log_tail import LogTail
from gnomon_reaper import ReaperPlugin
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from gnomon_web.live.messages import PROTOCOL


class Member:
    """One kernel with its server."""

    def __init__(self, path: Path, role: Any, client: aiohttp.ClientSession, port: int = 0) -> None:
        self.web = WebPlugin(Config(port=port))
        self.client = client
        plugins = {"web": self.web, "stats": StatsPlugin(), "reaper": ReaperPlugin()}
        self.kernel = Kernel(store=SqliteStore(path), role=role, plugins=plugins)
        self.kernel.add("time:time", id="tick", cron="0 0 1 1 *")

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.client.request(method, self.web.url + path, **options) as answer:
            return answer.status, await answer.json()

    def socket(self, path: str) -> Any:
        return self.client.ws_connect(self.web.url.replace("http", "ws") + path)


@asynccontextmanager
async def two(path: Path) -> AsyncIterator[tuple[Member, Member]]:
    async with aiohttp.ClientSession() as client, AsyncExitStack() as stack:
        members = Member(path, "leader", client), Member(path, "follower", client)
        for member in members:
            await stack.enter_async_context(member.kernel)
        yield members


LEADER = """
import asyncio, sys
from pathlib import Path
from gnomon import Kernel
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.config import Config

async def lead():
    web = WebPlugin(Config(port=0))
    kernel = Kernel(store=SqliteStore(Path(sys.argv[1])), role="leader", plugins={"web": web})
    kernel.add("time:time", id="tick", cron="0 0 1 1 *")
    async with kernel:
        print(web.address[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(lead())
"""


async def leading_elsewhere(path: Path) -> tuple[asyncio.subprocess.Process, int]:
    """Start another process that leads a log, and return it with the port of its server."""
    pipe = asyncio.subprocess.PIPE
    program = (sys.executable, "-c", LEADER, str(path))
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


async def stops(process: asyncio.subprocess.Process) -> None:
    """Stop it in order."""
    await process.communicate(b"")  # closes its input
    assert process.returncode == 0


async def positions_until(socket: Any, position: int) -> list[int]:
    """Return the positions of the events that a viewer of the log receives, up to a position."""
    seen: list[int] = []
    while not seen or seen[-1] < position:
        frame = await socket.receive_json()
        seen += [event["position"] for event in frame.get("events", [])]
    return seen


def comparable(answer: Any) -> Any:
    """Leave out of the members which position each had reached at its last report."""
    status, body = answer
    if isinstance(body, list) and body and "lag" in body[0]:
        body = [(one["id"], one["role"], one["pid"]) for one in body]
    return status, body


async def test_each_question_has_the_same_answer_in_both_processes(tmp_path: Path) -> None:
    async with asyncio.timeout(60), two(tmp_path / "log.db") as (leader, follower):
        run = (await leader.kernel.trigger("tick")).execution.id
        await leader.kernel.wait(run)
        await follower.kernel.wait(run)
        while len((await leader.ask("GET", "/scheduler/kernels"))[1]) < 2:  # noqa: ASYNC110 - as a viewer polls it
            await asyncio.sleep(0.01)
        paths = (
            "/scheduler/jobs",
            "/scheduler/jobs/tick/parameters",
            "/scheduler/executions",
            f"/scheduler/executions/{run}",
            "/scheduler/history",
            "/scheduler/kernels",
        )
        for path in paths:
            by_leader, by_follower = await leader.ask("GET", path), await follower.ask("GET", path)
            assert by_leader[0] == 200, path
            assert comparable(by_leader) == comparable(by_follower), path
        stats = "/scheduler/jobs/tick/execution-stats"
        while (await follower.ask("GET", stats))[1]["total"] == 0:  # noqa: ASYNC110 - it counts what it has received
            await asyncio.sleep(0.01)
        assert await leader.ask("GET", stats) == await follower.ask("GET", stats)


async def test_an_order_through_the_follower_is_carried_out_and_seen_at_once(tmp_path: Path) -> None:
    async with asyncio.timeout(60), two(tmp_path / "log.db") as (leader, follower):
        status, summary = await follower.ask("POST", "/scheduler/jobs/tick/pause")
        assert (status, summary["status"]) == (200, "paused")
        assert (await leader.kernel.job("tick")).state.paused
        await follower.ask("POST", "/scheduler/jobs/tick/resume")
        await follower.ask("GET", "/scheduler/jobs")

        status, run = await follower.ask("POST", "/scheduler/jobs/tick/trigger")
        assert status == 202
        _, listed = await follower.ask("GET", "/scheduler/jobs")
        assert listed[-1]["last_execution"]["_id"] == run["_id"]
        assert (await follower.ask("GET", f"/scheduler/executions/{run['_id']}"))[0] == 200
        _, page = await follower.ask("GET", "/scheduler/history")
        assert page["history"][0]["action"] == "trigger"


async def test_a_viewer_that_moves_to_the_other_process_sees_each_event_once(tmp_path: Path) -> None:
    async with asyncio.timeout(60), two(tmp_path / "log.db") as (leader, follower):
        async with follower.socket("/ws/events?after=0") as socket:
            ready = await socket.receive_json()
            for _ in range(3):
                await leader.kernel.wait((await follower.kernel.trigger("tick")).execution.id)
            seen = await positions_until(socket, leader.kernel.health().position)
        for _ in range(3):
            await leader.kernel.wait((await leader.kernel.trigger("tick")).execution.id)
        async with leader.socket(f"/ws/events?after={seen[-1]}&log={ready['log']}") as socket:
            assert (await socket.receive_json())["type"] == "ready"
            seen += await positions_until(socket, leader.kernel.health().position)

        assert seen == [event.position for event in await leader.kernel.events(limit=1_000)]


async def test_a_viewer_that_is_ahead_of_the_other_process_loses_nothing_and_is_not_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, look = asyncio.Event(), LogTail._look
    reads.set()

    async def look_later(tail: LogTail) -> bool:
        await reads.wait()
        return await look(tail)

    monkeypatch.setattr(LogTail, "_look", look_later)
    async with asyncio.timeout(60), two(tmp_path / "log.db") as (leader, follower):
        reads.clear()
        first = (await leader.kernel.trigger("tick")).execution.id
        await leader.kernel.wait(first)
        seen = leader.kernel.health().position
        assert follower.kernel.health().position < seen
        live = follower.client.ws_connect(follower.web.url + "/ws/live", protocols=[PROTOCOL])
        async with (
            follower.socket(f"/ws/events?after={seen}") as events,
            follower.socket(f"/ws/progress/tick?after={seen}") as progress,
            live as dashboard,
        ):
            await dashboard.send_json({"t": "hello", "after": seen, "log": follower.kernel.log_id})
            assert await events.receive_json() == {"type": "ready", "seq": seen, "log": follower.kernel.log_id}
            reads.set()
            second = (await leader.kernel.trigger("tick")).execution.id
            await leader.kernel.wait(second)
            frame = await events.receive_json()
            assert (frame["type"], frame["events"][0]["position"]) == ("events", seen + 1)
            frame = await progress.receive_json()
            assert (frame["type"], frame["execution_id"]) == ("scheduled", second)
            while (delta := await dashboard.receive_json())["t"] != "delta" or not delta["events"]:
                assert delta["t"] != "snapshot"
            assert delta["events"][0]["position"] == seen + 1


async def test_a_viewer_sees_each_event_once_when_its_process_comes_to_lead(tmp_path: Path) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as client, AsyncExitStack() as stack:
        first, _ = await leading_elsewhere(tmp_path / "log.db")
        second = Member(tmp_path / "log.db", "auto", client)
        await stack.enter_async_context(second.kernel)
        socket = await stack.enter_async_context(second.socket("/ws/events?after=0"))
        await socket.receive_json()
        await second.kernel.wait((await second.kernel.trigger("tick")).execution.id)

        await stops(first)
        while second.kernel.health().role != "leader":  # noqa: ASYNC110 - as a probe polls it
            await asyncio.sleep(0.01)
        await second.kernel.wait((await second.kernel.trigger("tick")).execution.id)

        seen = await positions_until(socket, second.kernel.health().position)
        assert seen == [event.position for event in await second.kernel.events(limit=1_000)]
        assert (await second.ask("GET", "/readyz"))[1]["role"] == "leader"


async def test_a_follower_is_ready_while_another_process_leads(tmp_path: Path) -> None:
    async with asyncio.timeout(60), two(tmp_path / "log.db") as (leader, follower):
        while not (await follower.ask("GET", "/readyz"))[1]["running"]:  # noqa: ASYNC110 - as a probe polls it
            await asyncio.sleep(0.01)
        status, report = await follower.ask("GET", "/readyz")

        assert (status, report["role"], report["status"]) == (200, "follower", "ok")
        assert (await leader.ask("GET", "/readyz"))[1]["role"] == "leader"


async def test_a_follower_answers_questions_where_nobody_leads_and_says_so(tmp_path: Path) -> None:
    async with Kernel(store=SqliteStore(tmp_path / "log.db")):
        pass
    async with asyncio.timeout(60), aiohttp.ClientSession() as client:
        alone = Member(tmp_path / "log.db", "follower", client)
        async with alone.kernel:
            while (await alone.ask("GET", "/readyz"))[1]["status"] == "ok":  # noqa: ASYNC110 - as a probe polls it
                await asyncio.sleep(0.01)
            status, report = await alone.ask("GET", "/readyz")
            livez, _ = await alone.ask("GET", "/livez")
            listed, _ = await alone.ask("GET", "/scheduler/jobs")

    assert (status, report["status"], report["running"]) == (200, "degraded", False)
    (part,) = [one for one in report["components"] if one["name"] == "leader"]
    assert "no kernel leads the log" in part["problem"]
    assert (livez, listed) == (200, 200)


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry"),
    [
        (NoLeaderError("nobody answers"), 503, "no-leader", "1"),
        (OrderLostError("the leader ended"), 504, "order-outcome-unknown", None),
    ],
)
async def test_an_order_without_an_answer_has_a_problem_of_its_own(
    serve: Any, error: Exception, status: int, kind: str, retry: str | None
) -> None:
    class Fails:
        @hookimpl(optionalhook=True)
        def register_routes(self, register: Any) -> None:
            register("POST", "/fails", self.fail, role="public")

        async def fail(self, _request: Any) -> None:
            raise error

    async with serve(plugins=[Fails()]) as ask:
        answer = await ask("POST", "/fails")

    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry)
    assert answer.json["type"].endswith(f"#{kind}")
    assert answer.json["detail"] == str(error)


async def test_a_call_of_a_plugin_of_the_leader_is_refused_by_a_follower(tmp_path: Path) -> None:
    async with asyncio.timeout(60), two(tmp_path / "log.db") as (leader, follower):
        assert (await leader.ask("GET", "/scheduler/watch"))[0] == 200
        status, problem = await follower.ask("GET", "/scheduler/watch")

    assert (status, problem["type"].rpartition("#")[2]) == (503, "leader-only")
    assert "the plugin 'reaper' runs with the kernel that leads" in problem["detail"]


async def test_a_follower_serves_on_the_port_of_its_leader_when_that_one_is_gone(tmp_path: Path) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as client, AsyncExitStack() as stack:
        first, port = await leading_elsewhere(tmp_path / "log.db")
        second = Member(tmp_path / "log.db", "auto", client, port)
        await stack.enter_async_context(second.kernel)
        assert (second.web.address, second.kernel.health().state) == (None, "healthy")

        await stops(first)
        while second.web.address is None:  # noqa: ASYNC110 - as a probe polls it
            await asyncio.sleep(0.01)

        assert second.web.address == ("127.0.0.1", port)
        assert (await second.ask("GET", "/scheduler/jobs"))[0] == 200
