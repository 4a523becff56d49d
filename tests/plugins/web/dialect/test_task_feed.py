"""The WebSocket of a task, in the frames of the old manager."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import aiohttp
import msgspec
import pytest

from gnomon import Context, Job

PATIENCE = 60.0


class ProgressUpdate(msgspec.Struct, kw_only=True):
    """The frame that the old pages read."""

    type: Literal["progress_update"]
    task_id: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    progress: int
    message: str
    current_step: str
    timestamp: str
    steps: list[dict[str, Any]]


async def rest(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    frames = []
    while (frame := await asyncio.wait_for(socket.receive(), PATIENCE)).type is aiohttp.WSMsgType.TEXT:
        frames.append(json.loads(frame.data))
    return frames


async def test_a_run_is_followed_from_its_present_state_to_its_end(serve: Any) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def sync(ctx: Context) -> None:
        ctx.step("fetch")
        ctx.progress(20, "fetching", current_item="600519")
        reached.set()
        await go_on.wait()
        ctx.step("store")

    job = Job(id="sync", func=sync, steps=["fetch", "check", "store"])
    async with serve(job, base_path="/api", dialect="tradingagents") as ask:
        run = (await ask.kernel.trigger("sync")).execution.id
        await reached.wait()
        async with ask.client.ws_connect(f"{ask.web.url}/ws/task/{run}") as socket:
            frames = [await socket.receive_json(timeout=PATIENCE) for _ in range(2)]
            go_on.set()
            frames += await rest(socket)
            code = socket.close_code

    greeting, present, *_, last = frames
    assert greeting | {"timestamp": ""} == {
        "type": "connection_established", "task_id": run, "message": "WebSocket 连接已建立", "timestamp": "",
    }  # fmt: skip
    updates = msgspec.convert(frames[1:], list[ProgressUpdate])
    assert {one.task_id for one in updates} == {run}
    assert (present["status"], present["current_step"]) == ("running", "fetch")
    assert [one["status"] for one in present["steps"]] == ["current", "pending", "pending"]
    assert (last["status"], last["progress"], last["remaining_time"]) == ("completed", 100, 0)
    assert last["message"] == "fetching"
    assert [one["status"] for one in last["steps"]] == ["completed", "skipped", "completed"]
    assert code == 1000


@pytest.mark.parametrize(
    ("end", "status", "message"), [("fail", "failed", "the disk is full"), ("cancel", "cancelled", "")]
)
async def test_other_ends_have_their_status_and_cause(serve: Any, end: str, status: str, message: str) -> None:
    go_on = asyncio.Event()

    async def sync() -> None:
        await go_on.wait()
        raise OSError("the disk is full")

    async with serve(sync, dialect="tradingagents") as ask:
        run = (await ask.kernel.trigger("sync")).execution.id
        async with ask.client.ws_connect(f"{ask.web.url}/ws/task/{run}") as socket:
            await socket.receive_json(timeout=PATIENCE)
            if end == "fail":
                go_on.set()
            else:
                await ask.kernel.cancel(run)
            frames = await rest(socket)

    assert (frames[-1]["status"], frames[-1]["message"]) == (status, message)


async def test_a_job_is_followed_over_its_runs(serve: Any) -> None:
    async def sync() -> None:
        pass

    async with (
        serve(sync, dialect="tradingagents") as ask,
        ask.client.ws_connect(f"{ask.web.url}/ws/task/sync", headers={"Accept-Language": "en"}) as socket,
    ):
        greeting = await socket.receive_json(timeout=PATIENCE)
        run = (await ask.kernel.trigger("sync")).execution.id
        frame: dict[str, Any] = {}
        while frame.get("status") != "completed":
            frame = await socket.receive_json(timeout=PATIENCE)

    assert greeting["message"] == "Connected"
    assert (frame["task_id"], frame["execution_id"]) == ("sync", run)


async def test_the_channel_exists_in_the_dialect_only_and_is_for_viewers(serve: Any) -> None:
    async def sync() -> None:
        pass

    async with serve(sync) as ask:
        clean = await ask("GET", "/ws/task/sync")
    async with serve(sync, guarded=True, dialect="tradingagents") as ask:
        nobody = await ask("GET", "/ws/task/sync")

    assert (clean.status, nobody.status) == (404, 401)
