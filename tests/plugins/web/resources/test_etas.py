"""How long a run still needs, as REST and the WebSockets have it: the judgement is the server's."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Job, Succeeded, current
from gnomon.domain.eta import Eta
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import NOON, append, extend, running
from gnomon.text import span
from gnomon_web.live.eta_feed import changes

MINUTE = timedelta(minutes=1)
PROTOCOL = "gnomon.live.v1"


async def slow() -> None:
    current().progress(percent=73)
    await asyncio.Event().wait()


async def store_with_past(job_id: str) -> MemoryStore:
    """Return a log with five runs that took ten minutes."""
    store = MemoryStore()
    async with store:
        begun = [running(job_id, NOON - days * timedelta(days=1)) for days in range(1, 6)]
        await append(store, *(extend(one, Succeeded, execution_time=600.0) for one in begun))
    return store


async def started(ask: Any, job_id: str, wanted: dict[str, Any]) -> str:
    """Trigger a job, and return its run once its record has these values."""
    run_id: str = (await ask.kernel.trigger(job_id)).execution.id
    async with asyncio.timeout(60):
        while not wanted.items() <= (await ask("GET", f"/scheduler/executions/{run_id}")).json.items():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # the body runs in real time
    return run_id


async def test_a_run_at_73_percent_after_8_of_10_minutes_has_2_to_3_left_wherever_it_is_shown(
    serve: Any, gnomon_clock: Any
) -> None:
    job = Job(id="slow", func=slow)
    async with serve(job, kernel={"store": await store_with_past("slow")}) as ask:
        run_id = await started(ask, "slow", {"status": "running", "progress": 73.0})
        await gnomon_clock.advance(8 * MINUTE)

        record = (await ask("GET", f"/scheduler/executions/{run_id}")).json
        listed = (await ask("GET", "/scheduler/executions?status=running")).json["items"]
        async with ask.client.ws_connect(f"{ask.web.url}/ws/progress/{run_id}") as socket:
            frame = await socket.receive_json()
        async with ask.client.ws_connect(f"{ask.web.url}/ws/live", protocols=(PROTOCOL,)) as socket:
            await socket.send_json({"t": "hello"})
            live = [await socket.receive_json()]
            while live[-1]["t"] != "etas":
                live.append(await socket.receive_json())

    eta = record["eta"]
    assert (span(eta["low"], eta["high"]), eta["basis"]) == ("2 to 3 m", "progress and past")
    assert [one["eta"] for one in listed] == [eta]
    assert frame["eta"] == eta
    assert frame["remaining"] == pytest.approx((eta["low"] + eta["high"]) / 2)
    assert live[0]["running"][0]["eta"] == eta
    assert live[-1]["etas"] == {run_id: eta}


async def test_a_thread_that_refuses_to_stop_has_no_estimate(serve: Any, gnomon_clock: Any) -> None:
    released = threading.Event()
    job = Job(id="stubborn", func=lambda: released.wait(60))
    async with serve(job, kernel={"store": await store_with_past("stubborn")}) as ask:
        try:
            run_id = await started(ask, "stubborn", {"status": "running"})
            await gnomon_clock.advance(4 * MINUTE)
            path = f"/scheduler/executions/{run_id}"
            before = (await ask("GET", path)).json["eta"]
            await ask("POST", f"{path}/cancel", json={})
            after = (await ask("GET", path)).json
        finally:
            released.set()

    assert before["basis"] == "past"
    assert (before["low"], before["high"]) == (360.0, 360.0)
    assert (after["status"], after["cancel_requested"], after["eta"]) == ("running", True, None)


def test_a_dashboard_gets_only_what_it_cannot_count_down() -> None:
    def eta(low: float, high: float, minutes: float, basis: Any = "past") -> Eta:
        return Eta(low=low, high=high, basis=basis, at=NOON + minutes * MINUTE)

    sent = {"a": eta(300, 400, 0), "b": eta(300, 400, 0), "c": eta(300, 400, 0), "gone": eta(1, 2, 0)}
    present = {"a": eta(241, 339, 1), "b": eta(300, 400, 1), "c": eta(240, 340, 1, "progress"), "new": eta(5, 6, 1)}

    assert changes(sent, present) == {"b": present["b"], "c": present["c"], "new": present["new"], "gone": None}
