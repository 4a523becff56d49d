"""The sequences of the four scripts that come with TradingAgents-CN, from their login to their end, in one run each.

`scripts/test_scheduler_{api_response,frontend,management,metadata}.py` there; these are written from what they do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from gnomon import Job as OurJob
from gnomon.conversion import Secret
from gnomon_web.auth.tokens import Token
from servers import eventually
from tradingagents_client import Executions, ExecutionStats, Health, History, Job, OldClient, Refused, SchedulerStats

PATIENCE = 60.0


async def sync(*, force: bool = False) -> int:
    return int(force)


JOBS = (
    OurJob(id="tushare_quotes_sync", name="Tushare-实时行情", func=sync, cron="*/5 9-15 * * 1-5"),
    OurJob(id="akshare_status_check", name="AKShare-状态检查", func=sync, cron="*/30 * * * *"),
)


async def api_response(client: OldClient) -> None:
    """Lists and the summary come in an envelope, with the types that the script prints."""
    jobs = await client.get("/scheduler/jobs", list[Job])
    stats = await client.get("/scheduler/stats", SchedulerStats)
    assert (len(jobs), stats.total_jobs) == (2, 2)


async def frontend(client: OldClient) -> None:
    """Health, summary, list, one job, a pause and a resume, and both histories."""
    health = await client.get("/scheduler/health", Health)
    assert (health.status, health.running, health.state) == ("healthy", True, 1)
    stats = await client.get("/scheduler/stats", SchedulerStats)
    assert stats.running_jobs + stats.paused_jobs == stats.total_jobs
    jobs = await client.get("/scheduler/jobs", list[Job])
    job = await client.get(f"/scheduler/jobs/{jobs[0].id}", Job)
    assert (job.paused, job.next_run_time is None) == (False, False)
    first = next(job.id for job in jobs if not job.paused)
    await client.post(f"/scheduler/jobs/{first}/pause")
    assert (await client.get(f"/scheduler/jobs/{first}", Job)).next_run_time is None
    await client.post(f"/scheduler/jobs/{first}/resume")
    everything = await client.get("/scheduler/history", History, limit="10")
    of_one = await client.get(f"/scheduler/jobs/{first}/history", History, limit="10")
    assert [entry.action for entry in of_one.history[:2]] == ["resume", "pause"]
    assert everything.total >= of_one.total


async def management(client: OldClient) -> None:
    """As above, without the health, and with the number of the scheduler's state."""
    job_id = (await client.get("/scheduler/jobs", list[Job]))[0].id
    assert isinstance((await client.get(f"/scheduler/jobs/{job_id}", Job)).func, str)
    await client.post(f"/scheduler/jobs/{job_id}/pause")
    await client.post(f"/scheduler/jobs/{job_id}/resume")
    await client.post(f"/scheduler/jobs/{job_id}/trigger")
    assert client.message == "任务已触发"
    assert (await client.get("/scheduler/stats", SchedulerStats)).scheduler_state == 1
    page = await client.get("/scheduler/history", History, limit="10")
    assert page.history[0].action == "trigger"


async def metadata(client: OldClient) -> None:
    """A name and a note are set, shown and cleared."""
    job_id = (await client.get("/scheduler/jobs", list[Job]))[0].id
    words = {"display_name": "测试任务名称", "description": "这是一个测试任务的备注说明"}
    await client.call("PUT", f"/scheduler/jobs/{job_id}/metadata", Any, None, _json(words))
    job = await client.get(f"/scheduler/jobs/{job_id}", dict)
    assert {name: job[name] for name in words} == words
    await client.call("PUT", f"/scheduler/jobs/{job_id}/metadata", Any, None, _json(dict.fromkeys(words, "")))
    assert words.keys().isdisjoint(await client.get(f"/scheduler/jobs/{job_id}", dict))


async def management_view(client: OldClient) -> None:
    """The page of an admin: run now, look at both tabs of the history, and delete the record."""
    await asyncio.gather(client.get("/scheduler/jobs", list[Job]), client.get("/scheduler/stats", SchedulerStats))
    job_id = "tushare_quotes_sync"
    await client.post(f"/scheduler/jobs/{job_id}/trigger", force="true")
    page = {"limit": "20", "offset": "0", "job_id": job_id}
    manual = await client.get(f"/scheduler/jobs/{job_id}/executions", Executions, **page, is_manual="true")
    automatic = await client.get("/scheduler/executions", Executions, **page, is_manual="false", status="success")
    assert (manual.items[0].is_manual, automatic.total) == (True, 0)

    async def is_over() -> bool:
        return (await client.get("/scheduler/executions", Executions, **page)).items[0].status != "running"

    await eventually(is_over)
    assert (await client.get(f"/scheduler/jobs/{job_id}/execution-stats", ExecutionStats)).success >= 1
    await client.delete(f"/scheduler/executions/{manual.items[0].id}")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


async def logged_in(ask: Any, username: str, password: str) -> tuple[OldClient, dict[str, Any], Any]:
    answer = await ask("POST", "/auth/login", json={"username": username, "password": password})
    assert answer.status == 200, answer.body
    data = answer.json["data"]
    return OldClient(ask.client, ask.web.url.removesuffix("/api"), data["access_token"], language="zh-CN"), data, answer


@pytest.mark.parametrize("guarded", [True, False], ids=["tokens", "open"])
@pytest.mark.parametrize("script", [api_response, frontend, management, metadata, management_view])
async def test_a_script_runs_from_its_login_to_its_end(
    serve: Any, secrets: dict[str, str], script: Callable[[OldClient], Awaitable[None]], guarded: bool
) -> None:
    async with serve(*JOBS, base_path="/api", dialect="tradingagents", guarded=guarded) as ask:
        client, _, _ = await logged_in(ask, "admin", secrets["admin"])
        await script(client)


async def test_a_login_is_shown_renewed_used_by_a_websocket_and_ended(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(*JOBS, base_path="/api", dialect="tradingagents", guarded=True) as ask:
        client, data, answer = await logged_in(ask, "operator", secrets["operator"])
        me = await client.get("/auth/me", dict)
        renewed = await client.post("/auth/refresh", _json({"refresh_token": data["refresh_token"]}), into=dict)
        cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "Origin": ask.web.url.removesuffix("/api")}
        url = f"{ask.web.url}/ws/task/{JOBS[0].id}"
        async with ask.client.ws_connect(url, headers=cookie) as socket:
            greeting = await socket.receive_json(timeout=PATIENCE)
        await client.post("/auth/logout")
        ended = client.message
        with pytest.raises(Refused) as refused:
            await client.get("/auth/me", dict)
        gone = await ask("POST", "/auth/refresh", json={"refresh_token": data["refresh_token"]})

    assert secrets["operator"] not in str(data)
    assert me | {"id": ""} == {
        "id": "", "username": "operator", "name": "operator", "email": "", "is_admin": False, "roles": ["operator"],
    }  # fmt: skip
    assert 0 < renewed["expires_in"] <= data["expires_in"] == 12 * 3600
    assert greeting["type"] == "connection_established"
    assert (ended, refused.value.status, gone.status) == ("登出成功", 401, 401)


@pytest.mark.parametrize(
    ("username", "password", "status"),
    [("admin", "Zq8v-3rWk-X5tL-of-the-viewer", 401), ("viewer", "wrong", 401), ("viewer", "", 422), ("", "x", 422)],
)
async def test_a_login_with_a_wrong_name_or_password_is_refused(
    serve: Any, username: str, password: str, status: int
) -> None:
    async with serve(*JOBS, base_path="/api", dialect="tradingagents", guarded=True) as ask:
        answer = await ask("POST", "/auth/login", json={"username": username, "password": password})
        sessions = await ask("GET", "/sessions", as_="admin", headers={"Accept": "application/vnd.gnomon+json"})

    assert (answer.status, answer.json["success"]) == (status, False)
    assert "Set-Cookie" not in answer.headers
    assert sessions.json == []


async def test_a_token_that_is_limited_to_some_jobs_logs_in_and_sees_those(serve: Any) -> None:
    secret = "v8Qm2xLr5TnKc7Wz4Hd9"
    limited = Token(name="limited", role="operator", token=Secret(secret), jobs=["tushare_*"])
    async with serve(*JOBS, base_path="/api", dialect="tradingagents", tokens=[limited]) as ask:
        client, _, answer = await logged_in(ask, "limited", secret)
        me = await client.get("/auth/me", dict)
        jobs = await client.get("/scheduler/jobs", list[Job])
        cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "Origin": ask.web.url.removesuffix("/api")}
        async with ask.client.ws_connect(f"{ask.web.url}/ws/task/{JOBS[0].id}", headers=cookie) as socket:
            greeting = await socket.receive_json(timeout=PATIENCE)
        async with ask.client.ws_connect(f"{ask.web.url}/ws/task/{JOBS[1].id}", headers=cookie) as socket:
            while (await socket.receive(PATIENCE)).type is aiohttp.WSMsgType.TEXT:
                pass
            code = socket.close_code

    assert (me["name"], [job.id for job in jobs]) == ("limited", ["tushare_quotes_sync"])
    assert (greeting["type"], code) == ("connection_established", 4404)
