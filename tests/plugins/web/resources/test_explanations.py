"""Why a job ran, failed or did not run, and what is different about two runs, over HTTP and in both clients."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gnomon import Job, UnknownExecutionError, UnknownJobError
from gnomon.client import Client, SyncClient
from gnomon.conversion import Secret
from gnomon_web.auth.tokens import Token
from gnomon_web.auth.visible_explanations import HIDDEN

TOKEN = "v8Qm2xLr5TnKc7Wz4Hd9"
WHOLE = "h3Jq8sVw2YbNf6Rk1Xp5"


async def sync(market: str = "cn") -> None:
    if market == "us":
        raise ValueError("closed")


JOB = Job(id="sync", func=sync, cron="0 3 * * *", timezone="Asia/Shanghai")


async def run(kernel: Any, job_id: str = "sync", **kwargs: Any) -> str:
    triggered = await kernel.trigger(job_id, kwargs=kwargs, actor="ann")
    await kernel.wait(triggered.execution.id)
    return str(triggered.execution.id)


async def test_a_run_is_explained_and_compared_as_the_kernel_does_it(serve: Any) -> None:
    async with serve(JOB) as ask, Client(ask.web.url) as client:
        good, bad = await run(ask.kernel), await run(ask.kernel, market="us")
        explained = (await ask("GET", f"/scheduler/executions/{bad}/explain")).json
        difference = (await ask("GET", f"/scheduler/executions/{bad}/difference")).json
        to_itself = (await ask("GET", f"/scheduler/executions/{bad}/difference?to={bad}")).json

        assert explained["sentences"] == (await ask.kernel.explain_run(bad)).sentences
        assert explained["fires"][0]["fate"] == "failed"
        assert explained["fires"][0]["executions"][0]["_id"] == bad
        assert difference["other"]["_id"] == good
        assert difference["arguments"] == [{"name": "market", "value": "us", "other": None}]
        assert to_itself["arguments"] == []
        await ask.kernel.clock.advance(timedelta(minutes=1))
        await ask.kernel.hide(good, actor="ann")
        then = (await ask("GET", f"/scheduler/executions/{bad}/difference?at=-30s")).json
        now = (await ask("GET", f"/scheduler/executions/{bad}/difference")).json
        assert [one["other"]["hidden"] for one in (then, now)] == [False, True]
        assert await client.explain_run(bad) == await ask.kernel.explain_run(bad)
        assert await client.compare_run(bad) == await ask.kernel.compare_run(bad)
        with pytest.raises(UnknownExecutionError):
            await client.explain_run("0" * 24)


async def test_a_job_is_explained_at_a_time_on_a_day_and_now(serve: Any) -> None:
    async with serve(JOB) as ask, Client(ask.web.url) as client:
        path = "/scheduler/jobs/sync/explain"
        for at, wanted in {
            "2026-01-02T03:00": "2026-01-02 03:00 +08",
            "2026-01-01T19:00:00Z": "2026-01-02 03:00 +08",
            "2026-01-02T03:00:00+08:00": "2026-01-02 03:00 +08",
        }.items():
            found = (await ask("GET", path, params={"at": at})).json
            assert wanted in found["sentences"][0], at
            assert found["timezone"] == "Asia/Shanghai"
        unescaped = await ask("GET", f"{path}?at=2026-01-02T03:00:00+08:00")
        assert "03:00 +08" in unescaped.json["sentences"][0]

        relative = (await ask("GET", f"{path}?at=%2B1h")).json
        assert datetime.fromisoformat(relative["asked"]) == ask.kernel.clock.now() + timedelta(hours=1)

        assert (await client.explain("sync", day=date(2026, 1, 2))).asked == "2026-01-02"
        due = datetime(2026, 1, 1, 19, tzinfo=UTC)
        assert await client.explain("sync", due) == await ask.kernel.explain("sync", due)
        assert (await client.explain("sync")).asked is None
        with pytest.raises(UnknownJobError, match="did you mean 'sync'"):
            await client.explain("synk")


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01", "25:00", "2026-01-02T03:00:00+99:00"])
async def test_what_is_no_time_is_refused_with_an_example(serve: Any, at: str) -> None:
    async with serve(JOB) as ask:
        answer = await ask("GET", "/scheduler/jobs/sync/explain", params={"at": at})

        assert answer.status == 400
        assert "expected a time such as 2026-12-01T18:00+08:00" in answer.json["detail"]


@pytest.mark.parametrize("at", ["0001-01-01", "9999-12-31", "9999-12-31T23:00", "0001-01-01T00:00:00Z", "-800000d"])
async def test_a_time_that_some_zones_cannot_show_is_refused(serve: Any, at: str) -> None:
    async with serve(JOB) as ask:
        answer = await ask("GET", "/scheduler/jobs/sync/explain", params={"at": at})
        inside = await ask("GET", "/scheduler/jobs/sync/explain", params={"at": "9998-12-31"})

        assert (answer.status, inside.status) == (400, 200)
        assert "calendar" in answer.json["detail"] or "in the years 2 to 9998" in answer.json["detail"]


async def test_a_run_of_another_job_is_refused_with_the_parameter(serve: Any) -> None:
    async with serve(JOB, Job(id="other", func=sync)) as ask:
        one, other = await run(ask.kernel), await run(ask.kernel, "other")
        answer = await ask("GET", f"/scheduler/executions/{one}/difference?to={other}")

        assert answer.status == 400
        assert answer.culprits == [("query", "to")]


async def test_a_limited_token_is_told_nothing_about_other_jobs(serve: Any) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    tokens = [
        Token(name="whole", role="admin", token=Secret(WHOLE)),
        Token(name="limited", role="viewer", token=Secret(TOKEN), jobs=["sync"]),
    ]
    jobs = [JOB, Job(id="payroll", func=hangs)]
    async with serve(*jobs, tokens=tokens, kernel={"max_running": 1}) as ask:
        blocking = (await ask.kernel.trigger("payroll")).execution.id
        waiting = (await ask.kernel.trigger("sync", actor="ann")).execution.id
        path = f"/scheduler/executions/{waiting}"

        async def told(token: str, path: str) -> Any:
            return await ask("GET", path, headers={"Authorization": f"Bearer {token}"})

        assert (await told(TOKEN, f"{path}/explain")).status == 200
        await ask.kernel.clock.advance(timedelta(minutes=5))
        await ask.kernel.fail(blocking, "dead", force=True, actor="ann")
        await ask.kernel.wait(waiting)
        whole, limited = [(await told(token, f"{path}/explain")).json for token in (WHOLE, TOKEN)]
        assert len(limited["sentences"]) == len(whole["sentences"])
        assert f"That was run {blocking} of job payroll" in " ".join(whole["sentences"])
        assert HIDDEN in limited["sentences"]
        for one in (limited["sentences"], limited["fires"]):
            assert blocking not in str(one)
            assert "payroll" not in str(one)
        again = await run(ask.kernel)
        difference = (await told(TOKEN, f"/scheduler/executions/{again}/difference")).json
        assert not [fact for fact in difference["between"] if fact["what"].startswith("kernel_")]
        for hidden in [f"/scheduler/executions/{again}/difference?to={blocking}", "/scheduler/jobs/payroll/explain"]:
            assert (await told(TOKEN, hidden)).status == 404


def test_the_blocking_client_has_the_same_calls() -> None:
    for name in ("explain", "explain_run", "compare_run"):
        assert inspect.signature(getattr(SyncClient, name)) == inspect.signature(getattr(Client, name))
