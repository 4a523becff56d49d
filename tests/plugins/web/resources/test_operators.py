"""Acts of operators over HTTP, and the same through the client."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from gnomon import Job
from gnomon.client import Client
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection


async def tick() -> None: ...


async def waits() -> None:
    await asyncio.Event().wait()


def hourly(**keys: Any) -> Job:
    given: dict[str, Any] = {"id": "tick", "func": tick, "cron": "0 * * * *", "tags": ["red"], **keys}
    return Job(**given)


def utc(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


async def test_a_fire_is_skipped(serve: Any) -> None:
    async with serve(hourly()) as ask:
        before = (await ask("GET", "/scheduler/jobs/tick")).json["next_run_times"]
        first = (await ask("POST", "/scheduler/jobs/tick/skip?reason=full")).json
        later = (await ask("POST", "/scheduler/jobs/tick/skip", json={"fire": before[2]})).json
        after = (await ask("GET", "/scheduler/jobs/tick")).json
        await ask.kernel.skip("tick", datetime.fromisoformat(before[1]), actor="ann", reason="holiday")
        skips = (await ask("GET", "/scheduler/jobs/tick")).json["skips"]
        await ask.kernel.skip("tick", datetime.fromisoformat(before[1]), undo=True)
        unknown = await ask("POST", "/scheduler/jobs/tick/skip", json={"fire": "2020-01-01T00:00:00Z"})
        missing = await ask("POST", "/scheduler/jobs/tock/skip")
        endless = await ask("POST", "/scheduler/jobs/tick/skip", json={"fire": "9999-12-31T23:00:00Z"})
        await ask("POST", "/scheduler/jobs/tick/skip", json={"fire": before[2], "undo": True})
        undone = (await ask("GET", "/scheduler/jobs/tick")).json["next_run_times"]

    assert (endless.status, endless.culprits) == (422, [("body", "")])
    assert first == {"job_id": "tick", "scheduled_time": first["scheduled_time"], "skipped": True}
    assert later["skipped"] is True
    assert after["next_run_times"][:2] == [before[1], before[3]]
    assert [one["scheduled_time"] for one in after["skips"]] == [before[0], before[2]]
    assert skips[1] == {"scheduled_time": before[1], "actor": "ann", "reason": "holiday"}
    assert after["next_run_time"] == before[1]
    assert undone[:2] == before[1:3]
    assert (unknown.status, missing.status) == (422, 404)


async def test_all_jobs_are_held_and_released(serve: Any) -> None:
    async with serve(hourly(), guarded=True) as ask:
        refused = await ask("POST", "/scheduler/hold", as_="viewer")
        held = (await ask("POST", "/scheduler/hold?reason=migration", as_="operator")).json
        again = (await ask("POST", "/scheduler/hold", as_="operator")).json
        health = (await ask("GET", "/readyz", as_="viewer")).json
        stranger = (await ask("GET", "/readyz")).json
        released = (await ask("POST", "/scheduler/release", as_="operator")).json
        later = (await ask("GET", "/readyz", as_="viewer")).json
        history = (await ask("GET", "/scheduler/history", as_="viewer")).json["history"]

    assert refused.status == 403
    assert (held, again) == ({"held": True, "changed": True}, {"held": True, "changed": False})
    assert released == {"held": False, "changed": True}
    [part] = [part for part in health["components"] if part["name"] == "hold"]
    assert "by operator (migration)" in part["problem"]
    assert health["status"] == "degraded"
    assert (health["hold"]["actor"], health["hold"]["reason"]) == ("operator", "migration")
    assert (stranger["hold"], later["hold"]) == (None, None)
    acts = [(one["action"], one["user"] if "user" in one else one["actor"]) for one in history]
    assert acts[:2] == [("release", "operator"), ("hold", "operator")]


async def test_many_jobs_and_runs_are_named_by_a_tag(serve: Any) -> None:
    async with serve(hourly(), hourly(id="other", tags=[]), hourly(id="slow", func=waits)) as ask:
        paused = (await ask("POST", "/scheduler/jobs/pause", json={"tag": "red"})).json
        resumed = (await ask("POST", "/scheduler/jobs/resume", json={"ids": ["tick", "nosuch"]})).json
        run = (await ask("POST", "/scheduler/jobs/slow/trigger")).json["_id"]
        cancelled = (await ask("POST", "/scheduler/executions/cancel", json={"tag": "red"})).json
        none = await ask("POST", "/scheduler/jobs/pause", json={})
        unknown = await ask("POST", "/scheduler/jobs/pause", json={"tga": "red"})
        assert (await ask.kernel.wait(run)).status == "cancelled"

    assert paused == [{"id": "slow", "changed": True, "error": None}, {"id": "tick", "changed": True, "error": None}]
    assert [(one["id"], one["changed"]) for one in resumed] == [("tick", True), ("nosuch", False)]
    assert cancelled == [{"id": run, "changed": True, "error": None}]
    assert (none.status, unknown.status) == (422, 422)


async def test_the_client_has_the_acts_of_operators(serve: Any) -> None:
    async with serve(hourly(), hourly(id="slow", func=waits)) as ask, Client(ask.web.url) as client:
        fire = await client.skip("tick", reason="full")
        assert await client.skip("tick", fire, undo=True) == fire
        assert (await client.hold(), await client.hold(), await client.release()) == (True, False, True)
        assert await client.pause_jobs(JobSelection(q="tic")) == [ActOutcome(id="tick", changed=True)]
        assert await client.resume_jobs(JobSelection(ids=["tick"])) == [ActOutcome(id="tick", changed=True)]
        run = (await client.trigger("slow")).execution.id
        assert await client.cancel_runs(RunSelection(job_id="slow")) == [ActOutcome(id=run, changed=True)]
        assert (await client.wait(run)).status == "cancelled"


async def test_past_fires_are_run_and_the_backfill_is_stopped(serve: Any, gnomon_clock: Any) -> None:
    until = gnomon_clock.now()
    span = {"from": (until - timedelta(hours=3)).isoformat(), "to": until.isoformat()}
    async with serve(hourly(), hourly(id="slow", func=waits)) as ask, Client(ask.web.url) as client:
        counted = await ask("GET", "/scheduler/jobs/tick/backfill", params=span)
        nothing = await ask("GET", "/scheduler/jobs/tick/backfill", params=span | {"from": span["to"]})
        assert await client.count_backfill("tick", until - timedelta(hours=3), until) == 4
        assert (await ask.kernel.job("tick")).state.backfill is None
        answer = await ask("POST", "/scheduler/jobs/tick/backfill?reason=late", json={**span, "overlap": True})
        while (await ask.kernel.job("tick")).state.backfill is not None:  # noqa: ASYNC110 - its task has no signal
            await asyncio.sleep(0)
        runs = (await ask("GET", "/scheduler/executions?job_id=tick")).json["items"]
        assert await client.backfill("slow", until - timedelta(hours=3), until, rate="1/h") == 4
        while (progress := (await ask("GET", "/scheduler/jobs/slow")).json["backfill"])["runs"] < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        stopped = (await client.stop_backfill("slow"), await client.stop_backfill("slow"))
        wrong = await ask("POST", "/scheduler/jobs/tick/backfill", json={"from": span["from"]})
        future = await ask("POST", "/scheduler/jobs/tick/backfill", json={**span, "to": "2999-01-01T00:00:00Z"})
        missing = await ask("POST", "/scheduler/jobs/tock/backfill", json=span)

    assert (answer.status, answer.json) == (202, {"job_id": "tick", "fires": 4})
    assert (counted.status, counted.json) == (200, answer.json)
    assert nothing.json["fires"] == 1
    assert (progress["from"], progress["to"]) == (utc(until - timedelta(hours=3)), utc(until))
    facts = {name: progress[name] for name in ("fires", "runs", "left_out", "rate", "overlap", "rerun")}
    assert facts == {"fires": 4, "runs": 1, "left_out": 0, "rate": "1/h", "overlap": False, "rerun": False}
    assert [run["cause"] for run in runs] == ["backfill"] * 4
    assert len({run["scheduled_time"] for run in runs}) == 4
    assert stopped == (True, False)
    assert (wrong.status, future.status, missing.status) == (422, 422, 404)
