"""Values that older versions accepted and that cannot be sent: every viewer gets the rest of the log and stays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gnomon import Event, Job, JobAdded, Scheduled, Started, Succeeded
from gnomon.domain.events import job_stream
from gnomon.domain.execution import execution_id, fold
from gnomon.json_depth import CUT
from gnomon_sqlite import SqliteStore

Serve = Callable[..., contextlib.AbstractAsyncContextManager[Any]]
AT = datetime(2026, 1, 1, tzinfo=UTC)
RUN = execution_id("old", AT)


async def body(value: Any = None) -> None: ...


def nested(levels: int) -> Any:
    value: Any = "inside"
    for _ in range(levels):
        value = [value]
    return value


def history(poison: Any) -> list[Event]:
    """Return what an older version wrote about one run, which had the poison as argument and result."""
    common: dict[str, Any] = {"at": AT, "node": "old", "job_id": "old"}
    return [
        JobAdded(position=1, stream=job_stream("old"), version=1, definition={"func": "made_up:old"}, **common),
        Scheduled(position=2, stream=RUN, version=1, scheduled_time=AT, kwargs={"value": poison}, **common),
        Started(position=3, stream=RUN, version=2, runner="async", **common),
        Succeeded(position=4, stream=RUN, version=3, execution_time=1.0, return_value=poison, **common),
    ]


async def write(file: Path, poison: Any) -> None:
    events = history(poison)
    async with SqliteStore(file) as store:
        await store.append(events, [fold(events[1:])], [])


@pytest.fixture(params=[100, 900, 961, 974])
async def poisoned(request: pytest.FixtureRequest, tmp_path: Path, serve: Serve) -> AsyncIterator[Any]:
    """A server on a log with such a run, as deep as a thread of the store could write it."""
    await write(tmp_path / "gnomon.db", nested(request.param))
    async with serve(Job(id="fine", func=body)) as site:
        yield site


async def test_the_stream_of_the_log_goes_on_behind_it(poisoned: Any) -> None:
    fine = await poisoned.run("fine")
    async with poisoned.open("/ws/events?after=0") as reader:
        events = await reader.events(poisoned.head)
        later = await poisoned.run("fine")
        more = await reader.events(poisoned.head)

    assert [event["position"] for event in events] == list(range(1, events[-1]["position"] + 1))
    old = [event for event in events if event["stream"] == RUN]
    assert [event["type"] for event in old] == ["scheduled", "started", "succeeded"]
    assert CUT in str(old[0]["kwargs"])
    assert CUT in str(old[2]["return_value"])
    assert {fine, later} <= {event["stream"] for event in events + more}


async def test_a_dashboard_gets_a_snapshot_the_missed_events_and_what_follows(poisoned: Any) -> None:
    async with poisoned.dashboard() as fresh, poisoned.dashboard(log=poisoned.kernel.log_id, after=0) as back:
        snapshot, missed = await fresh.next("snapshot"), await back.next("delta", "snapshot")
        run = await poisoned.run("fine")
        for socket, frame in ((fresh, snapshot), (back, missed)):
            await socket.say(t="ack", seq=frame["seq"])
            seen: list[str] = []
            while run not in seen:
                delta = await socket.next("delta")
                seen += [event["stream"] for event in delta["events"]]
                await socket.say(t="ack", seq=delta["seq"])

    assert [one["_id"] for one in snapshot["recent"]] == [RUN]
    assert missed["t"] == "delta"


@pytest.mark.parametrize("path", ["executions", "logs", f"executions/{RUN}", f"executions/{RUN}/events"])
async def test_lists_and_records_are_answered(poisoned: Any, path: str) -> None:
    async with poisoned.client.get(f"{poisoned.web.url}/scheduler/{path}") as response:
        assert response.status == 200, await response.text()
        assert "old" in await response.text()


async def test_the_progress_of_the_run_is_sent(poisoned: Any) -> None:
    async with poisoned.open(f"/ws/progress/{RUN}") as socket:
        frames = await socket.rest()

    assert frames[-1]["status"] == "success"
    assert socket.ws.close_code == 1000


@pytest.mark.parametrize("levels", [65, 970, 5_000])
async def test_a_message_that_nests_too_deeply_ends_its_own_connection_only(serve: Serve, levels: int) -> None:
    async with serve(Job(id="fine", func=body)) as site, site.dashboard() as other:
        await other.next("snapshot")
        async with site.dashboard() as socket:
            await socket.next("snapshot")
            await socket.ws.send_str('{"t":"ack","seq":0,"more":%s}' % ("[" * levels + "]" * levels))
            assert await asyncio.wait_for(socket.end(), 60) == 4400
        run = await site.run("fine")
        seen: list[str] = []
        while run not in seen:
            seen += [event["stream"] for event in (await other.next("delta"))["events"]]
