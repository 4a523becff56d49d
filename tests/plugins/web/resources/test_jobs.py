from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from gnomon import Job, JobPaused, JobResumed, Scheduled, hookimpl
from gnomon.integrations.apscheduler import attach
from gnomon_sqlite.store import SqliteStore

NAMES = {"id", "name", "display_name", "description", "status", "paused", "next_run_time", "trigger", "trigger_config"}


async def tick(x: int = 1, y: int = 0) -> int:
    return x


class Closed:
    @hookimpl
    def guard(self) -> str:
        return "the exchange is closed"


def daily(**keys: Any) -> Job:
    keys = {"id": "daily", "func": tick, "cron": "0 18 * * 1-5", "timezone": "Asia/Shanghai", **keys}
    return Job(**keys)


async def waits() -> None:
    await asyncio.Event().wait()


async def test_jobs_are_an_array_with_every_field_of_the_contract(serve: Any) -> None:
    async with serve(daily(), Job(id="paused", func=tick, paused=True)) as ask:
        answer = await ask("GET", "/scheduler/jobs")

    first, second = answer.json
    assert answer.status == 200
    assert NAMES | {"last_execution", "running"} <= first.keys()
    assert (first["id"], first["status"], first["paused"]) == ("daily", "active", False)
    assert first["trigger"] == "At 18:00 on Monday through Friday (Asia/Shanghai)"
    assert first["trigger_config"] == {"cron": "0 18 * * 1-5", "timezone": "Asia/Shanghai"}
    assert datetime.fromisoformat(first["next_run_time"]).utcoffset() is not None
    assert (second["status"], second["next_run_time"]) == ("paused", None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=MONEY", ["one"]),
        ("q=tw", ["two"]),
        ("tag=nightly", ["one", "two"]),
        ("tag=night", []),
        ("status=paused", ["two"]),
        ("status=active&tag=nightly", ["one"]),
    ],
)
async def test_jobs_are_found_by_text_tag_and_status(serve: Any, query: str, found: list[str]) -> None:
    one = Job(id="one", func=tick, description="counts the money", tags=["nightly"])
    two = Job(id="two", func=tick, tags=["nightly", "big"], paused=True)
    async with serve(one, two) as ask:
        answer = await ask("GET", f"/scheduler/jobs?{query}")

    assert [job["id"] for job in answer.json] == found


async def test_a_job_has_its_definition_fires_and_counts(serve: Any) -> None:
    job = daily(kwargs={"x": 3}, timeout=timedelta(hours=2), steps=["fetch", "store"])
    async with serve(job) as ask:
        await ask.kernel.wait((await ask.kernel.trigger("daily")).execution.id)
        told = (await ask("GET", "/scheduler/jobs/daily")).json

    assert told["func"].endswith(":tick")
    assert told["kwargs"] == {"x": 3}
    assert told["policies"]["timeout"] in {"2:00:00", "2h"}
    assert told["policies"]["steps"] == ["fetch", "store"]
    assert told["policies"]["retry"]["attempts"] == 1
    fires = [datetime.fromisoformat(fire) for fire in told["next_run_times"]]
    assert len(fires) == 10
    assert fires == sorted(set(fires))
    assert told["next_run_time"] == told["next_run_times"][0]
    assert {fire.astimezone(UTC).hour for fire in fires} == {10}
    assert told["statistics"]["success"] == told["statistics"]["total"] == 1
    assert told["last_execution"]["status"] == "success"


async def test_the_last_execution_of_a_job_follows_its_runs(serve: Any, gnomon_clock: Any) -> None:
    async with serve(tick, waits) as ask:
        before = (await ask("GET", "/scheduler/jobs/tick")).json["last_execution"]
        first = (await ask("POST", "/scheduler/jobs/tick/trigger")).json
        await ask.kernel.wait(first["_id"])
        after = (await ask("GET", "/scheduler/jobs/tick")).json["last_execution"]
        await gnomon_clock.advance(timedelta(seconds=1))
        second = (await ask("POST", "/scheduler/jobs/tick/trigger")).json
        await ask.kernel.wait(second["_id"])
        in_list = [job["last_execution"] for job in (await ask("GET", "/scheduler/jobs")).json]

    assert before is None
    assert (after["_id"], after["status"]) == (first["_id"], "success")
    assert [last and last["_id"] for last in in_list] == [second["_id"], None]


async def test_pause_and_resume_may_be_repeated_and_name_their_actor(serve: Any, gnomon_events: Any) -> None:
    async with serve(daily(), guarded=True) as ask:
        answers = [
            (await ask("POST", f"/scheduler/jobs/daily/{what}", as_="operator"))
            for what in ("pause", "pause", "resume", "resume")
        ]

    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.json["paused"] for answer in answers] == [True, True, False, False]
    assert [event.actor for event in gnomon_events.of(JobPaused)] == ["operator"]
    assert [event.actor for event in gnomon_events.of(JobResumed)] == ["operator"]


# --- trigger ---


async def test_a_triggered_run_is_in_the_store_when_the_answer_comes(serve: Any) -> None:
    async with serve(waits) as ask:
        answer = await ask("POST", "/scheduler/trigger", json={"job_id": "waits"})
        found = await ask("GET", answer.headers["Location"])
        listed = await ask("GET", "/scheduler/executions?job_id=waits")

    assert answer.status == 202
    assert answer.json["status"] == "running"
    assert answer.json["is_manual"] is True
    assert answer.headers["Location"] == f"/scheduler/executions/{answer.json['_id']}"
    assert found.json["_id"] == listed.json["items"][0]["_id"] == answer.json["_id"]


async def test_a_run_that_must_wait_for_a_slot_is_scheduled(serve: Any) -> None:
    async with serve(waits, tick, kernel={"max_running": 1}) as ask:
        await ask("POST", "/scheduler/jobs/waits/trigger")
        answer = await ask("POST", "/scheduler/jobs/tick/trigger")
        job = (await ask("GET", "/scheduler/jobs/tick")).json

    assert (answer.status, answer.json["status"]) == (202, "scheduled")
    assert job["waiting"] == [answer.json["_id"]]


async def test_a_trigger_resumes_a_paused_job_and_reports_it(serve: Any) -> None:
    async with serve(daily(paused=True)) as ask:
        answer = await ask("POST", "/scheduler/trigger", json={"job_id": "daily"})
        again = await ask("POST", "/scheduler/trigger", json={"job_id": "daily"})
        job = (await ask("GET", "/scheduler/jobs/daily")).json

    assert (answer.json["resumed"], again.json["resumed"]) == (True, False)
    assert job["paused"] is False


async def test_with_resume_false_a_paused_job_runs_once_and_stays_paused(serve: Any) -> None:
    async with serve(daily(paused=True)) as ask:
        answer = await ask("POST", "/scheduler/trigger", json={"job_id": "daily", "resume": False})
        ended = await ask.kernel.wait(answer.json["_id"])
        job = (await ask("GET", "/scheduler/jobs/daily")).json

    assert (answer.status, answer.json["resumed"]) == (202, False)
    assert ended.status == "success"
    assert job["paused"] is True


async def test_kwargs_are_for_one_run_and_the_schedule_stays(serve: Any) -> None:
    async with serve(daily(kwargs={"x": 1})) as ask:
        before = (await ask("GET", "/scheduler/jobs/daily")).json
        answer = await ask("POST", "/scheduler/trigger", json={"job_id": "daily", "kwargs": {"x": 42}})
        ended = await ask.kernel.wait(answer.json["_id"])
        after = (await ask("GET", "/scheduler/jobs/daily")).json

    assert answer.json["kwargs"] == {"x": 42}
    assert ended.return_value == 42
    assert after["kwargs"] == {"x": 1}
    assert after["next_run_time"] == before["next_run_time"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/scheduler/trigger", {"job_id": "forced", "force": True}),
        ("/scheduler/jobs/forced/trigger?force=true", None),
        ("/scheduler/jobs/forced/trigger", {"force": True}),
        ("/scheduler/jobs/forced/trigger?force=true", {"force": False}),
    ],
)
async def test_force_skips_guards_and_reaches_the_body(serve: Any, path: str, body: Any) -> None:
    async def forced(force: bool = False) -> bool:
        return force

    async with serve(forced, plugins=[Closed()]) as ask:
        held_back = await ask("POST", "/scheduler/trigger", json={"job_id": "forced"})
        answer = await ask("POST", path, **({} if body is None else {"json": body}))
        ended = await ask.kernel.wait(answer.json["_id"])

    assert (held_back.json["status"], held_back.json["detail"]) == ("missed", "the exchange is closed")
    assert answer.json["force"] is True
    assert ended.return_value is True


async def test_one_idempotency_key_makes_one_run(serve: Any, gnomon_events: Any) -> None:
    key = {"Idempotency-Key": "order-4711"}
    async with serve(tick) as ask:
        first = await ask("POST", "/scheduler/trigger", json={"job_id": "tick"}, headers=key)
        second, third = await asyncio.gather(
            ask("POST", "/scheduler/jobs/tick/trigger", headers=key),
            ask("POST", "/scheduler/jobs/tick/trigger", headers=key),
        )

    assert {answer.json["_id"] for answer in (first, second, third)} == {first.json["_id"]}
    assert [answer.json["repeated"] for answer in (first, second, third)] == [False, True, True]
    assert len(gnomon_events.of(Scheduled)) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/scheduler/jobs/tick/trigger", {"kwargs": {"x": 2}}),
        ("/scheduler/jobs/tick/trigger", {"kwargs": {"x": 1}, "resume": False}),
        ("/scheduler/jobs/tick/trigger?force=true", {"kwargs": {"x": 1}}),
        ("/scheduler/jobs/tick/trigger", None),
        ("/scheduler/jobs/other/trigger", {"kwargs": {"x": 1}}),
        ("/scheduler/trigger", {"job_id": "other", "kwargs": {"x": 1}}),
    ],
)
async def test_one_idempotency_key_for_two_requests_is_422(
    serve: Any, gnomon_events: Any, path: str, body: Any
) -> None:
    key = {"Idempotency-Key": "order-4711"}
    async with serve(tick, Job(id="other", func=tick)) as ask:
        first = await ask("POST", "/scheduler/jobs/tick/trigger", json={"kwargs": {"x": 1}}, headers=key)
        second = await ask("POST", path, headers=key, **({} if body is None else {"json": body}))

    assert first.status == 202
    assert (second.status, second.culprits) == (422, [("header", "Idempotency-Key")])
    assert second.json["type"].endswith("#idempotency-key-reused")
    assert first.json["_id"] in second.json["detail"]
    assert len(gnomon_events.of(Scheduled)) == 1


async def test_the_order_of_arguments_does_not_make_another_request(serve: Any) -> None:
    key = {"Idempotency-Key": "order-4711"}
    async with serve(tick) as ask:
        answers = [
            await ask("POST", "/scheduler/jobs/tick/trigger", json={"kwargs": kwargs}, headers=key)
            for kwargs in ({"x": 1, "y": 2}, {"y": 2, "x": 1})
        ]

    assert [(answer.status, answer.json["repeated"]) for answer in answers] == [(202, False), (202, True)]


async def test_one_idempotency_key_of_two_actors_makes_two_runs(serve: Any, gnomon_events: Any) -> None:
    key = {"Idempotency-Key": "order-4711"}
    async with serve(tick, guarded=True) as ask:
        answers = [
            await ask("POST", "/scheduler/jobs/tick/trigger", as_=role, headers=key)
            for role in ("operator", "admin", "operator")
        ]

    assert [answer.json["repeated"] for answer in answers] == [False, False, True]
    assert answers[0].json["_id"] == answers[2].json["_id"]
    assert [event.actor for event in gnomon_events.of(Scheduled)] == ["operator", "admin"]


async def test_a_key_is_remembered_across_a_restart_with_its_request(serve: Any, tmp_path: Path) -> None:
    key = {"Idempotency-Key": "order-4711"}

    async def trigger(kwargs: dict[str, int]) -> Any:
        async with serve(tick, kernel={"store": SqliteStore(tmp_path / "gnomon.db")}) as ask:
            return await ask("POST", "/scheduler/jobs/tick/trigger", json={"kwargs": kwargs}, headers=key)

    first, again, other = await trigger({"x": 1}), await trigger({"x": 1}), await trigger({"x": 2})

    assert (again.json["_id"], again.json["repeated"]) == (first.json["_id"], True)
    assert other.status == 422


async def test_the_key_of_a_refused_run_is_remembered_too(serve: Any) -> None:
    key = {"Idempotency-Key": "order-4711"}
    async with serve(tick, plugins=[Closed()]) as ask:
        answers = [
            await ask("POST", "/scheduler/jobs/tick/trigger", json={"kwargs": {"x": x}}, headers=key) for x in (1, 1, 2)
        ]

    assert [answer.status for answer in answers] == [202, 202, 422]
    assert answers[0].json["status"] == "missed"


async def test_an_unknown_job_is_404_with_a_suggestion(serve: Any) -> None:
    async with serve(tick) as ask:
        by_body = await ask("POST", "/scheduler/trigger", json={"job_id": "tik"})
        others = [
            await ask(method, path)
            for method, path in (
                ("GET", "/scheduler/jobs/tik"),
                ("POST", "/scheduler/jobs/tik/trigger"),
                ("POST", "/scheduler/jobs/tik/pause"),
                ("POST", "/scheduler/jobs/tik/resume"),
                ("GET", "/scheduler/jobs/tik/executions"),
                ("GET", "/scheduler/jobs/tik/execution-stats"),
            )
        ]

    assert (by_body.status, by_body.culprits) == (404, [("body", "job_id")])
    assert "did you mean 'tick'?" in by_body.json["detail"]
    assert [(answer.status, answer.culprits) for answer in others] == [(404, [("path", "job_id")])] * len(others)


async def test_arguments_that_do_not_fit_the_job_are_422(serve: Any) -> None:
    async with serve(tick) as ask:
        answer = await ask("POST", "/scheduler/trigger", json={"job_id": "tick", "kwargs": {"z": 1}})

    assert (answer.status, answer.culprits) == (422, [("body", "kwargs")])
    assert "unexpected keyword argument 'z'" in answer.json["detail"]


async def test_the_statistics_of_the_store_are_exact(serve: Any) -> None:
    async def breaks() -> None:
        raise ValueError("no such table")

    async with serve(tick, breaks) as ask:
        for job, times in (("tick", 3), ("breaks", 1)):
            for _ in range(times):
                await ask.kernel.wait((await ask.kernel.trigger(job)).execution.id)
        ticks = (await ask("GET", "/scheduler/jobs/tick/execution-stats")).json
        broken = (await ask("GET", "/scheduler/jobs/breaks/execution-stats")).json
        overview = (await ask("GET", "/scheduler/stats")).json

    assert (ticks["total"], ticks["success"], ticks["success_rate"]) == (3, 3, 1.0)
    assert (broken["total"], broken["failed"], broken["success_rate"]) == (1, 1, 0.0)
    assert broken["last_execution"]["status"] == "failed"
    assert (overview["total_jobs"], overview["running_jobs"], overview["paused_jobs"]) == (2, 2, 0)
    assert overview["today"]["total"] == 4
    assert overview["scheduler_running"] is True
    assert [plugin["name"] for plugin in overview["plugins"]] == ["web"]


# --- arguments that a command may set ---


async def test_an_argument_that_the_job_does_not_open_is_refused_with_its_name(serve: Any) -> None:
    async def report(symbol: str = "a", limit: int = 1) -> list[Any]:
        return [symbol, limit]

    job = Job(id="report", func=report, overrides=["symbol"])
    async with serve(job) as ask:
        refused = await ask("POST", "/scheduler/jobs/report/trigger", json={"kwargs": {"symbol": "b", "limit": 2}})
        also_refused = await ask("POST", "/scheduler/trigger", json={"job_id": "report", "kwargs": {"limit": 2}})
        accepted = await ask("POST", "/scheduler/jobs/report/trigger", json={"kwargs": {"symbol": "b"}})
        history = (await ask("GET", "/scheduler/history?status=failed")).json["history"]
        detail = await ask("GET", "/scheduler/jobs/report")
        runs = await ask("GET", "/scheduler/executions")

    assert refused.status == also_refused.status == 403
    assert refused.json["type"].endswith("#argument-not-accepted")
    assert refused.json["errors"][0]["name"] == "kwargs.limit"
    assert "only 'symbol' may be set" in refused.json["detail"]
    assert [(entry["action"], entry["job_id"]) for entry in history] == [("trigger", "report")] * 2
    assert accepted.status == 202
    assert detail.json["policies"]["overrides"] == ["symbol"]
    assert runs.json["total"] == 1


@pytest.mark.parametrize("given", [{"env": "HOME"}, {"$secret": {"env": "HOME"}}, {"file": "/etc/passwd"}])
async def test_an_argument_of_a_request_is_never_a_reference(serve: Any, given: Any) -> None:
    async def take(value: Any) -> Any:
        return [str(key) for key in value]

    async with serve(Job(id="take", func=take)) as ask:
        run = await ask("POST", "/scheduler/jobs/take/trigger", json={"kwargs": {"value": given}})
        ended = await ask.kernel.wait(run.json["_id"])

    assert ended.status == "success"
    assert ended.return_value == list(given)


async def test_the_parameters_of_a_job_are_json_schema(serve: Any) -> None:
    async with serve(daily(kwargs={"y": 2})) as ask:
        answer = await ask("GET", "/scheduler/jobs/daily/parameters")
        unknown = await ask("GET", "/scheduler/jobs/dayli/parameters")

    assert (answer.status, unknown.status) == (200, 404)
    assert answer.json["properties"] == {
        "x": {"type": "integer", "title": "X", "default": 1},
        "y": {"type": "integer", "title": "Y", "default": 2},
    }


async def test_an_argument_that_does_not_fit_its_annotation_is_refused(serve: Any) -> None:
    async with serve(daily()) as ask:
        answer = await ask("POST", "/scheduler/jobs/daily/trigger", json={"kwargs": {"x": "one"}})
        runs = await ask("GET", "/scheduler/executions")

    assert answer.status == 422
    assert answer.json["type"].endswith("invalid-arguments")
    assert "the argument kwargs.x of " in answer.json["detail"]
    assert [culprit["name"] for culprit in answer.json["errors"]] == ["kwargs.x"]
    assert runs.json["items"] == []


async def test_a_job_of_an_attached_scheduler_is_listed_and_refuses_orders(serve: Any) -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start(paused=True)
    scheduler.add_job(print, "cron", hour=18, day_of_week="mon-fri", id="report", name="Report")
    scheduler.add_job(print, "interval", minutes=5, id="poll", args=[object()])
    async with serve(daily()) as ask, attach(scheduler, ask.kernel):
        jobs = (await ask("GET", "/scheduler/jobs")).json
        detail = (await ask("GET", "/scheduler/jobs/report")).json
        triggered = await ask("POST", "/scheduler/jobs/report/trigger")
        paused = await ask("POST", "/scheduler/jobs/report/pause")
    scheduler.shutdown()

    assert [job["id"] for job in jobs] == ["daily", "poll", "report"]
    assert detail["trigger"] == "At 18:00 on Monday through Friday (UTC)"
    assert detail["next_run_time"] is not None
    assert triggered.json["detail"] == paused.json["detail"]
    assert "'APScheduler', which alone runs and changes it" in str(triggered.json)
