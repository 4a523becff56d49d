"""`/ws/events`: the whole log, once and in order, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from gnomon import Job
from gnomon.domain.codec import encode
from gnomon_web.live import tail


async def quick() -> None: ...


QUICK = Job(id="quick", func=quick)
OTHER = Job(id="other", func=quick)


async def test_a_reader_from_the_beginning_gets_the_whole_log_as_it_is_kept(serve: Any) -> None:
    async with serve(QUICK) as site, site.open("/ws/events?after=0") as reader:
        ready = await reader.next()
        for _ in range(3):
            await site.run("quick")

        seen = await reader.events(site.head)

        assert ready == {"type": "ready", "seq": 0, "log": site.kernel.log_id}
        assert [event["position"] for event in seen] == list(range(1, site.head + 1))
        assert seen == [json.loads(encode(event)) for event in await site.log()]


async def test_a_reader_without_a_position_gets_what_is_new(serve: Any) -> None:
    async with serve(QUICK) as site:
        await site.run("quick")
        before = site.head
        async with site.open("/ws/events") as reader:
            ready = await reader.next()
            await site.run("quick")

            seen = await reader.events(site.head)

    assert ready["seq"] <= before
    assert [event["position"] for event in seen] == list(range(ready["seq"] + 1, seen[-1]["position"] + 1))
    assert seen[-1]["position"] > before


async def test_a_reader_gets_only_the_events_of_its_filter(serve: Any) -> None:
    async with serve(QUICK, OTHER) as site, site.open("/ws/events?after=0&job_id=other&types=started,succeeded") as one:
        await site.run("quick")
        await site.run("other")

        seen = await one.events(site.head)

    assert [(event["job_id"], event["type"]) for event in seen] == [("other", "started"), ("other", "succeeded")]


async def test_an_unknown_event_type_is_refused_with_the_known_ones(serve: Any) -> None:
    async with serve(QUICK) as site, site.client.get(site.web.url + "/ws/events?types=strated") as answer:
        problem = await answer.json()

    assert answer.status == 400
    assert problem["errors"][0]["name"] == "types"
    assert "started" in problem["errors"][0]["detail"]


@pytest.mark.parametrize("kept", [10_000, 3])
async def test_a_reader_resumes_after_a_lost_connection(serve: Any, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(tail, "KEPT_EVENTS", kept)  # 3: what was missed is in the store alone
    seen: list[int] = []
    async with serve(QUICK) as site:
        for _ in range(4):
            async with site.open(f"/ws/events?log={site.kernel.log_id}&after={len(seen)}") as reader:
                assert (await reader.next())["type"] == "ready"
                await site.run("quick")
                seen += [event["position"] for event in await reader.events(site.head)]
                reader.cut()
            await site.run("quick")
        last = site.head
        async with site.open(f"/ws/events?after={len(seen)}") as reader:
            seen += [event["position"] for event in await reader.events(last)]

    assert seen == list(range(1, last + 1))


async def test_a_reader_resumes_after_a_restart(serve: Any) -> None:
    async with serve(QUICK) as site:
        async with site.open("/ws/events?after=0") as reader:
            await site.run("quick")
            seen = await reader.events(site.head)
        log = site.kernel.log_id
    async with serve(QUICK) as site:
        await site.run("quick")
        async with site.open(f"/ws/events?after={len(seen)}&log={log}") as reader:
            assert (await reader.next())["type"] == "ready"
            seen += await reader.events(site.head)

        assert [event["position"] for event in seen] == list(range(1, site.head + 1))


@pytest.mark.parametrize("query", ["after=4&log=another", "after=1000000"])
async def test_a_position_of_another_log_is_answered_with_reset_and_the_whole_log(serve: Any, query: str) -> None:
    async with serve(QUICK) as site:
        await site.run("quick")
        async with site.open(f"/ws/events?{query}") as reader:
            reset = await reader.next()
            seen = await reader.events(site.head)

        assert reset == {"type": "reset", "seq": 0, "log": site.kernel.log_id, "reason": "other-log"}
        assert [event["position"] for event in seen] == list(range(1, site.head + 1))


async def test_a_position_with_pruned_successors_is_answered_with_reset_and_the_rest(serve: Any) -> None:
    async with serve(QUICK) as site:
        gone = await site.run("quick")
    async with serve(QUICK) as site:  # a restart, so that no memory has them
        await site.store.prune(datetime.now(UTC) + timedelta(hours=1))
        kept = await site.run("quick")
        async with site.open("/ws/events?after=2") as reader:
            reset = await reader.next("reset")
            seen = await reader.events(site.head)

        there = [event.position for event in await site.log()]
    assert (reset["type"], reset["seq"], reset["reason"]) == ("reset", 0, "pruned")
    assert [event["position"] for event in seen] == there
    assert gone not in {event["stream"] for event in seen}
    assert kept in {event["stream"] for event in seen}


async def test_a_stopping_server_closes_with_service_restart(serve: Any) -> None:
    async with aiohttp.ClientSession() as client:
        async with serve(QUICK) as site:
            ws = await client.ws_connect(site.web.url + "/ws/events")
            await ws.receive()
            end = asyncio.create_task(_until_closed(ws))
        last, code = await end

    assert last["events"][-1]["type"] == "kernel_stopped"
    assert code == 1012


async def _until_closed(ws: aiohttp.ClientWebSocketResponse) -> tuple[Any, int]:
    """Return the last message and the code with which the connection was closed."""
    last: Any = None
    while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
        last = message.json()
    return last, message.data
