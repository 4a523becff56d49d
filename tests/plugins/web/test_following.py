"""Following runs and the log with the client, over connections that break."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Context, Job
from gnomon.client import Client, LogReplacedError, RunFrame
from gnomon.testing import RecordingStore
from gnomon_web.live import run_feed
from proxies import proxied

Serve = Callable[..., AbstractAsyncContextManager[Any]]
SOON = timedelta(seconds=60)


async def told(ctx: Context, rows: int = 2) -> dict[str, int]:
    ctx.step("fetch")
    ctx.progress(50, "half way", processed_items=1, total_items=rows)
    return {"rows": rows}


def job(body: Callable[..., Any], job_id: str = "job", **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": job_id, "func": body, **policies}
    return Job(**keys)


async def test_following_resumes_after_a_lost_connection(serve: Serve) -> None:
    go_on = threading.Event()

    def body(ctx: Context) -> None:
        for number in range(4):
            ctx.step(f"step {number}")
            go_on.wait(60)
            go_on.clear()

    async with serve(job(body)) as ask, proxied(ask.web.url) as proxy:
        frames: list[RunFrame] = []
        async with Client(f"http://127.0.0.1:{proxy.port}", patience=SOON) as client:
            run = (await client.trigger("job")).execution.id
            async for frame in client.follow(run):
                is_new = frame.step not in {one.step for one in frames}
                frames.append(frame)
                if is_new and frame.step is not None and frame.status == "running":
                    proxy.cut()
                    go_on.set()

    assert proxy.connections > 4
    assert (frames[-1].type, frames[-1].status) == ("succeeded", "success")
    assert list(dict.fromkeys(frame.step for frame in frames if frame.step)) == [f"step {n}" for n in range(4)]
    assert len({frame.seq for frame in frames[1:]}) == len(frames[1:])


async def test_the_lines_of_a_run_are_followed_to_its_end(serve: Serve) -> None:
    go_on = threading.Event()

    def body() -> None:
        logging.getLogger("rows").warning("first")
        go_on.wait(60)
        logging.getLogger("rows").warning("last")

    async with serve(job(body)) as ask, Client(ask.web.url) as client:
        run = (await client.trigger("job")).execution.id
        seen = []
        async for line in client.follow_log(run):
            seen.append(line.text)
            go_on.set()

    assert seen == ["first", "last"]


async def test_the_log_is_followed_over_broken_connections_without_a_gap(serve: Serve) -> None:
    async with (
        serve(job(told)) as ask,
        proxied(ask.web.url) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}", patience=SOON) as client,
        aclosing(client.events(after=0, types=("succeeded",))) as events,
    ):
        seen = []
        for _ in range(5):
            run = (await ask.kernel.trigger("job")).execution.id
            seen.append((await anext(events)).stream == run)
            proxy.cut()

    assert seen == [True] * 5


async def test_following_a_replaced_log_is_an_error(serve: Serve) -> None:
    async with serve(job(told)) as ask, Client(ask.web.url) as client:
        with pytest.raises(
            LogReplacedError,
            match="another log has taken the place of the followed one at http://",
        ):
            await anext(client.events(after=1_000_000))


async def quick() -> None: ...


async def run_all(ask: Any, count: int) -> list[str]:
    """Run the job that often, one run after the other, and return the ids."""
    runs = []
    for _ in range(count):
        runs.append((await ask.kernel.trigger("job")).execution.id)
        await ask.kernel.wait(runs[-1])
    return runs


async def test_a_follower_that_missed_too_much_gets_a_reset_and_every_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_feed, "MAX_RESUME", 5)
    go_on = asyncio.Event()

    async def body(wait: bool = False) -> None:
        if wait:
            await go_on.wait()

    loop = asyncio.get_running_loop()
    async with (
        serve(job(body, overlap="allow")) as ask,
        proxied(ask.web.url) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}", patience=SOON) as client,
        aclosing(client.follow("job")) as frames,
    ):
        assert (await anext(frames)).type == "snapshot"
        known = await run_all(ask, 1)
        long = (await ask.kernel.trigger("job", kwargs={"wait": True})).execution.id
        seen = [await anext(frames) for _ in range(5)]  # three of the first run, two of the long one
        proxy.is_open.clear()  # a client that is back too early misses too little
        proxy.cut()
        loop.call_soon_threadsafe(go_on.set)
        await ask.kernel.wait(long)
        missed = await run_all(ask, 20)
        proxy.is_open.set()
        while not {long, *missed} <= {frame.execution_id for frame in seen if frame.type == "succeeded"}:
            seen.append(await anext(frames))
        later = await run_all(ask, 1)
        while (frame := await anext(frames)).type != "succeeded":
            pass

    ends = [one.execution_id for one in seen if one.type == "succeeded"]
    assert "reset" in {one.type for one in seen}
    assert len(ends) == len(set(ends))
    assert set(ends) == {*known, long, *missed}
    assert frame.execution_id == later[0]


async def test_a_follower_notices_that_another_log_is_in_place(serve: Serve) -> None:
    async with (
        serve(job(quick)) as first,
        serve(job(quick), kernel={"store": RecordingStore()}) as second,
        proxied(first.web.url) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}", patience=SOON) as client,
        aclosing(client.follow("job")) as frames,
    ):
        assert (await anext(frames)).type == "snapshot"
        await run_all(first, 1)
        seen = [await anext(frames) for _ in range(3)]
        await run_all(second, 5)  # its log is longer: every position of the first one exists there
        proxy.upstream = int(second.web.url.rpartition(":")[2])
        proxy.cut()
        frame: RunFrame = await anext(frames)

    assert [one.type for one in seen] == ["scheduled", "started", "succeeded"]
    assert frame.type == "reset"
