"""Clients of TradingAgents-CN work with the dialect, and with the clean API as far as it has what they ask for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gnomon import Context, Duration, hookimpl
from gnomon import Job as OurJob
from gnomon_stats import StatsPlugin
from tradingagents_client import (
    STATUSES,
    Executions,
    ExecutionStats,
    Health,
    History,
    Job,
    OldClient,
    Refused,
    SchedulerStats,
    StrictExecution,
)

Call = Callable[[OldClient], Awaitable[Any]]


async def sync(ctx: Context, symbol: str = "600519", *, force: bool = False) -> dict[str, Any]:
    ctx.progress(50, "half", current_item=symbol, processed_items=1, total_items=2)
    return {"symbol": symbol, "force": force}


async def breaks() -> None:
    raise ValueError("no quotes")


async def sometimes(*, fails: bool = False, waits: bool = False) -> None:
    if waits:
        await asyncio.Event().wait()
    if fails:
        raise ValueError("no quotes")


async def waits() -> None:
    await asyncio.Event().wait()


class Closed:
    @hookimpl
    def guard(self, job: OurJob) -> str | None:
        return "the exchange is closed" if job.id == "closed" else None


JOBS = (
    OurJob(id="quotes_sync", func=sync, cron="*/5 9-15 * * 1-5", grace=Duration(minutes=5), max_instances=2),
    OurJob(id="breaks", func=breaks, cron="0 2 * * *"),
    OurJob(id="waits", func=waits, overlap="allow"),
    OurJob(id="sometimes", func=sometimes),
    OurJob(id="closed", func=sync, cron="0 3 * * 0", catch_up="none"),
)


@pytest.fixture
def old(serve: Any, secrets: dict[str, str]) -> Any:
    """Start a server below `/api`: `async with old("tradingagents") as (client, ask)`."""

    @asynccontextmanager
    async def start(dialect: str | None, role: str = "admin", **options: Any) -> AsyncIterator[tuple[OldClient, Any]]:
        config = {"base_path": "/api", "envelope": True, "dialect": dialect}
        async with serve(*JOBS, plugins=[Closed()], guarded=True, **config) as ask:
            url = ask.web.url.removesuffix("/api")
            yield OldClient(ask.client, url, secrets[role], lenient=dialect is None, **options), ask

    return start


async def ran(client: OldClient, ask: Any, job_id: str) -> str:
    """Trigger a job and return the id of its run, which is over."""
    record = await client.post(f"/scheduler/jobs/{job_id}/trigger", into=StrictExecution, force="false")
    await ask.kernel.wait(record.id)
    return str(record.id)


async def stays(client: OldClient) -> str:
    record: StrictExecution = await client.post("/scheduler/jobs/waits/trigger", into=StrictExecution)
    return record.id


def executions(path: str, **params: str) -> Call:
    async def call(client: OldClient) -> None:
        page = await client.get(path, Executions, **params)
        wanted = {"job_id": params.get("job_id"), "status": params.get("status")}
        for item in page.items:
            assert all(getattr(item, name) == value for name, value in wanted.items() if value), item
            if params.get("is_manual"):
                assert item.is_manual is (params["is_manual"].lower() in {"true", "1", "yes"}), item
        assert page.total >= len(page.items)
        assert page.limit == int(params.get("limit") or 50)

    return call


def history(path: str, **params: str) -> Call:
    async def call(client: OldClient) -> None:
        page = await client.get(path, History, **params)
        wanted = {"job_id": params.get("job_id"), "status": params.get("status")}
        for entry in page.history:
            assert all(getattr(entry, name) == value for name, value in wanted.items() if value), entry

    return call


def get(path: str, into: Any, **params: str) -> Call:
    return lambda client: client.get(path, into, **params)


def post(path: str, data: str | None = None, into: Any = Any, **params: str) -> Call:
    return lambda client: client.post(path, data, into, **params)


def put(data: Any) -> Call:
    return lambda client: client.put("/scheduler/jobs/quotes_sync/metadata", data)


async def cancelled(client: OldClient) -> None:
    await client.post(f"/scheduler/executions/{await stays(client)}/cancel")


async def marked(client: OldClient) -> None:
    run = await stays(client)
    await client.post(f"/scheduler/executions/{run}/mark-failed", "null", reason="用户手动标记为失败")
    page = await client.get("/scheduler/executions", Executions, job_id="waits", status="failed")
    assert "用户手动标记为失败" in {item.error_message for item in page.items if item.id == run}


async def deleted(client: OldClient) -> None:
    (run, *_) = (await client.get("/scheduler/executions", Executions, status="success")).items
    await client.delete(f"/scheduler/executions/{run.id}")
    left = (await client.get("/scheduler/executions", Executions, status="success")).items
    assert run.id not in {item.id for item in left}


JOB = "/scheduler/jobs/quotes_sync"
CALLS: dict[str, Call] = {
    "jobs": get("/scheduler/jobs", list[Job]),
    "job": get(JOB, Job),
    "metadata": put({"display_name": "实时行情", "description": "每五分钟"}),
    "metadata: name only": put({"display_name": "行情"}),
    "metadata: nothing": put({}),
    "metadata: cleared": put({"display_name": "", "description": ""}),
    "pause": post(f"{JOB}/pause"),
    "pause again": post(f"{JOB}/pause"),
    "pause: null": post(f"{JOB}/pause", "null"),
    "resume": post(f"{JOB}/resume"),
    "resume: empty object": post(f"{JOB}/resume", "{}"),
    "trigger": post(f"{JOB}/trigger", into=StrictExecution),
    "trigger: force": post(f"{JOB}/trigger", into=StrictExecution, force="true"),
    "trigger: no force": post(f"{JOB}/trigger", into=StrictExecution, force="False"),
    "trigger: empty body": post(f"{JOB}/trigger", "{}", into=StrictExecution, force="true"),
    "trigger: null": post(f"{JOB}/trigger", "null", into=StrictExecution, force="1"),
    "trigger with body": post(
        "/scheduler/trigger", '{"job_id": "quotes_sync", "kwargs": {"symbol": "000001"}}', into=StrictExecution
    ),
    "trigger with body: null": post(
        "/scheduler/trigger", '{"job_id": "quotes_sync", "kwargs": null}', into=StrictExecution
    ),
    "executions": executions("/scheduler/executions"),
    "executions of a job": executions("/scheduler/executions", job_id="quotes_sync"),
    **{f"executions: {status}": executions("/scheduler/executions", status=status) for status in STATUSES},
    "executions: manual": executions("/scheduler/executions", is_manual="true", limit="20", offset="0"),
    "executions: True": executions("/scheduler/executions", is_manual="True"),
    "executions: automatic": executions("/scheduler/executions", is_manual="false", limit="20", offset="0"),
    "executions: empty filters": executions("/scheduler/executions", job_id="", status="", is_manual=""),
    "executions: page": executions("/scheduler/executions", limit="2", offset="2"),
    "one job's executions": executions(f"{JOB}/executions"),
    "one job's executions, named twice": executions(
        f"{JOB}/executions", job_id="quotes_sync", is_manual="true", limit="20", offset="0"
    ),
    "one job's executions: status": executions(f"{JOB}/executions", status="success"),
    "statistics of a job": get(f"{JOB}/execution-stats", ExecutionStats),
    "statistics of a job that never ran": get("/scheduler/jobs/breaks/execution-stats", ExecutionStats),
    "history": history("/scheduler/history"),
    "history: limit": history("/scheduler/history", limit="10"),
    "history of a job": history("/scheduler/history", job_id="quotes_sync", limit="20", offset="0"),
    "history: success": history("/scheduler/history", status="success"),
    "history: failed": history("/scheduler/history", status="failed"),
    "one job's history": history(f"{JOB}/history"),
    "one job's history: page": history(f"{JOB}/history", limit="10", offset="1"),
    "summary": get("/scheduler/stats", SchedulerStats),
    "health": get("/scheduler/health", Health),
    "cancel": cancelled,
    "mark failed": marked,
    "delete": deleted,
}
LENIENT_CALLS: dict[str, Call] = {
    "jobs: cache buster": get("/scheduler/jobs", list[Job], _t="1"),
    "health: cache buster": get("/scheduler/health", Health, _t="1"),
    "executions: cache buster": executions("/scheduler/executions", _t="1", status="success"),
    "executions: unknown status of ours": executions("/scheduler/logs", status="running"),
    "pause: more keys": post(f"{JOB}/pause", '{"job_id": "quotes_sync"}'),
    "resume: an array": post(f"{JOB}/resume", "[]", _t="1"),
    "metadata: more keys": put({"display_name": "行情", "job_id": "quotes_sync", "updated_by": "admin"}),
    "trigger: more keys": post(
        "/scheduler/trigger", '{"job_id": "quotes_sync", "user": {"id": 1}}', into=StrictExecution
    ),
    "statistics of an unknown job": get("/scheduler/jobs/unknown/execution-stats", ExecutionStats),
    "history of an unknown job": history("/scheduler/jobs/unknown/history", limit="10"),
    "executions of an unknown job": executions("/scheduler/jobs/unknown/executions", limit="20"),
}


@pytest.mark.parametrize("dialect", ["tradingagents", None])
async def test_every_call_of_the_old_clients_is_answered_in_their_types(old: Any, dialect: str | None) -> None:
    assert len(CALLS) == 46
    failures: dict[str, str] = {}
    async with old(dialect) as (client, ask):
        for job_id in ("quotes_sync", "breaks", "closed"):
            await ran(client, ask, job_id)
        await stays(client)
        for name, call in (CALLS | (LENIENT_CALLS if dialect else {})).items():
            try:
                await call(client)
            except Exception as exc:  # noqa: BLE001 - all failures are shown together
                failures[name] = repr(exc)

    assert failures == {}


async def test_answers_have_the_fields_of_the_old_application(old: Any) -> None:
    async with old("tradingagents") as (client, ask):
        done, broken, missed = [await ran(client, ask, job_id) for job_id in ("quotes_sync", "breaks", "closed")]
        waiting = await stays(client)
        run = await stays(client)
        await client.post(f"/scheduler/executions/{run}/cancel")
        await ask.kernel.wait(run)
        found = {item["_id"]: item for item in (await client.get("/scheduler/executions", dict))["items"]}
        jobs = {job["id"]: job for job in await client.get("/scheduler/jobs", list)}
        job = await client.get("/scheduler/jobs/quotes_sync", dict)
        without_limits = await client.get("/scheduler/jobs/waits", dict)
        statistics = await client.get("/scheduler/jobs/waits/execution-stats", dict)
        unknown = await client.get("/scheduler/jobs/unknown/execution-stats", dict)
        full = await client.get(f"/scheduler/executions/{done}", dict)
        health = await client.get("/scheduler/health", dict)

    assert [found[one]["status"] for one in (done, broken, missed, waiting, run)] == [
        "success", "failed", "missed", "running", "failed",
    ]  # fmt: skip
    assert found[done]["return_value"] == '{"symbol":"600519","force":false}'
    assert [found[one]["progress"] for one in (done, broken, missed, waiting)] == [100, 0, 0, 0]
    assert [("execution_time" in found[one]) for one in (done, broken, missed, waiting)] == [True, True, False, False]
    assert not [(name, item["_id"]) for item in found.values() for name, value in item.items() if value is None]
    assert full["return_value"] == found[done]["return_value"]
    assert (job["misfire_grace_time"], job["max_instances"]) == (300, 2)
    assert {"misfire_grace_time", "max_instances"}.isdisjoint(without_limits)
    assert (jobs["waits"]["next_run_time"], "display_name" in jobs["waits"]) == (None, False)
    assert jobs["closed"]["last_execution"]["_id"] == missed
    assert {name: statistics[name] for name in ("total", "running", "success", "failed", "missed")} == {
        "total": 2, "running": 1, "success": 0, "failed": 1, "missed": 0,
    }  # fmt: skip
    assert statistics["avg_execution_time"] == 0
    assert statistics["last_execution"]["_id"] in {run, waiting}  # the clock stands still
    assert "last_execution" not in unknown
    assert {unknown[name] for name in ("total", "success", "failed", "missed", "avg_execution_time")} == {0}
    assert health["status"] == "healthy"


@pytest.mark.parametrize("plugins", [[], [StatsPlugin()]], ids=["the store", "the plugin stats"])
async def test_statistics_count_by_the_four_statuses_everywhere(serve: Any, plugins: list[Any]) -> None:
    async with serve(*JOBS, plugins=plugins, dialect="tradingagents", envelope=False) as ask:
        kernel = ask.kernel
        for force in (False, True):
            await kernel.wait((await kernel.trigger("sometimes", kwargs={"fails": force})).execution.id)
        run = (await kernel.trigger("sometimes", kwargs={"waits": True})).execution.id
        await kernel.cancel(run, actor="ann")
        await kernel.wait(run)
        path = "/scheduler/jobs/sometimes/execution-stats"
        while (statistics := (await ask("GET", path)).json)["success"] + statistics["failed"] < 3:
            pass  # the plugin is a little behind the log
        overview = (await ask("GET", "/scheduler/stats")).json
        today = (await ask("GET", "/scheduler/stats/today")).json
        job = (await ask("GET", "/scheduler/jobs/sometimes")).json

    counts = {"running": 0, "success": 1, "failed": 2, "missed": 0}
    for counted in (statistics, overview["today"], job["statistics"]):
        assert {"total": 3, **counts}.items() <= counted.items()
    ended = {name: count for name, count in counts.items() if name != "running"}
    for counted in (today, *statistics.get("by_day", ()), *statistics.get("by_hour", ())):
        assert ended.items() <= counted.items()
    assert statistics["success_rate"] == 1 / 3
    assert "streak" not in statistics
    assert "cancelled" not in json.dumps([statistics, overview, today, job["statistics"]])


@pytest.mark.parametrize("plugins", [[], [StatsPlugin()]], ids=["the store", "the plugin stats"])
async def test_no_answer_has_a_null_besides_the_next_run(serve: Any, plugins: list[Any]) -> None:
    async with serve(*JOBS, plugins=plugins, dialect="tradingagents", envelope=False) as ask:
        ends = [(await ask.kernel.trigger(job_id)).execution.id for job_id in ("breaks", "quotes_sync")]
        for run in ends:
            await ask.kernel.wait(run)
        of_job = ["", "/execution-stats", "/executions", "/history"]
        of_server = ["jobs", "executions", "history", "stats", "stats/today", "health", f"executions/{ends[0]}"]
        paths = [f"/scheduler/jobs/{job_id}{rest}" for job_id in ("breaks", "waits") for rest in of_job]
        paths += ["/auth/me", f"/scheduler/executions/{ends[0]}/log", *(f"/scheduler/{rest}" for rest in of_server)]
        found = {path: await ask("GET", path) for path in paths}

    assert {answer.status for answer in found.values()} == {200}
    assert {place for path, answer in found.items() for place in nulls(answer.json, path)} == {
        "/scheduler/jobs.next_run_time", "/scheduler/jobs/waits.next_run_time",
    }  # fmt: skip


def nulls(value: Any, place: str) -> list[str]:
    if isinstance(value, dict):
        return [found for name, entry in value.items() for found in nulls(entry, f"{place}.{name}")]
    if isinstance(value, list):
        return [found for entry in value for found in nulls(entry, place)]
    return [place] if value is None else []


@pytest.mark.parametrize(
    ("language", "triggered", "paused"),
    [
        ("zh-CN", "任务已触发", "任务已暂停"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "任务已触发", "任务已暂停"),
        ("*", "任务已触发", "任务已暂停"),
        ("en-US,en;q=0.9,zh;q=0.1", "Job triggered", "Job paused"),
        ("en;q=0.5, zh-TW", "任务已触发", "任务已暂停"),
        ("fr", "Job triggered", "Job paused"),
    ],
)
async def test_messages_are_in_the_language_of_the_client(old: Any, language: str, triggered: str, paused: str) -> None:
    async with old("tradingagents", language=language) as (client, _):
        await client.post("/scheduler/jobs/quotes_sync/trigger")
        first = client.message
        await client.post("/scheduler/jobs/quotes_sync/pause")

    assert (first, client.message) == (triggered, paused)


async def test_a_client_that_asks_for_the_clean_api_gets_it_from_every_server(old: Any, secrets: Any) -> None:
    async with old("tradingagents") as (client, ask):
        run = await stays(client)
        await client.post(f"/scheduler/executions/{run}/cancel")
        await ask.kernel.wait(run)
        clean = {"Accept": "application/vnd.gnomon+json, application/json"}
        record = (await ask("GET", f"/scheduler/executions/{run}", as_="viewer", headers=clean)).json
        strict = await ask("GET", "/scheduler/jobs?_t=1", as_="viewer", headers=clean)
        unknown = await ask("GET", "/scheduler/jobs/unknown/history", as_="viewer", headers=clean)
        triggered = await ask("POST", "/scheduler/jobs/closed/trigger", as_="operator", headers=clean)

    assert (record["status"], record["return_value"]) == ("cancelled", None)
    assert (strict.status, unknown.status, triggered.status) == (400, 404, 202)
    assert (unknown.json["status"], unknown.headers["Content-Type"].partition(";")[0]) == (
        404,
        "application/problem+json",
    )
    assert {"success", "data"}.isdisjoint(strict.json | unknown.json | triggered.json)


async def test_what_is_wrong_is_still_refused(old: Any) -> None:
    async with old("tradingagents", role="viewer") as (client, _):
        refused = {}
        for name, call in {
            "role": post("/scheduler/jobs/breaks/trigger"),
            "limit": get("/scheduler/executions", Executions, limit="1000"),
            "job": get("/scheduler/jobs/unknown", Job),
            "status": get("/scheduler/executions", Executions, status="late"),
        }.items():
            with pytest.raises(Refused) as caught:
                await call(client)
            refused[name] = caught.value.status

    assert refused == {"role": 403, "limit": 400, "job": 404, "status": 400}


@pytest.mark.parametrize(
    "body",
    [
        '{"force": null}', '{"resume": null}', '{"force": "true"}', '{"force": ""}', '{"force": 1}', '{"kwargs": ""}',
        '{"job_id": "quotes_sync", "force": "No"}', '{"job_id": ""}',
    ],
)  # fmt: skip
async def test_values_of_bodies_are_read_as_those_of_parameters(old: Any, body: str) -> None:
    async with old("tradingagents") as (client, _):
        record = await client.post("/scheduler/jobs/quotes_sync/trigger", body, dict)

    assert record.get("force", False) is (body in {'{"force": "true"}', '{"force": 1}'})


@pytest.mark.parametrize(
    ("body", "status"), [('{"job_id": "breaks"}', 400), ('{"force": "perhaps"}', 422), ('{"kwargs": [1]}', 422)]
)
async def test_a_body_that_contradicts_its_call_runs_nothing(old: Any, body: str, status: int) -> None:
    async with old("tradingagents") as (client, _):
        with pytest.raises(Refused) as caught:
            await client.post("/scheduler/jobs/quotes_sync/trigger", body)
        page = await client.get("/scheduler/executions", Executions)

    assert (caught.value.status, page.total) == (status, 0)


async def test_the_openapi_document_names_the_dialect(old: Any) -> None:
    async with old("tradingagents") as (_, ask):
        document = (await ask("GET", "/openapi.json")).json
    async with old(None) as (_, ask):
        clean = (await ask("GET", "/openapi.json")).json

    assert "`tradingagents`" in document["info"]["description"]
    assert "dialect" not in clean["info"]["description"]
    assert set(document["paths"]) - set(clean["paths"]) == {
        "/api/ws/task/{task_id}", "/api/auth/login", "/api/auth/refresh", "/api/auth/logout", "/api/auth/me",
    }  # fmt: skip
    described = document["paths"]["/api/scheduler/jobs/{job_id}"]
    assert described == clean["paths"]["/api/scheduler/jobs/{job_id}"]


async def test_the_dialect_has_envelopes_unless_the_config_says_no(serve: Any) -> None:
    async with serve(*JOBS, dialect="tradingagents") as ask:
        wrapped = (await ask("GET", "/scheduler/stats")).json
    async with serve(*JOBS, dialect="tradingagents", envelope=False) as ask:
        bare = (await ask("GET", "/scheduler/stats")).json

    assert wrapped["data"]["total_jobs"] == bare["total_jobs"] == len(JOBS)
