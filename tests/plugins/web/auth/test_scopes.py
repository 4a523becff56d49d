"""Tokens that are limited to some jobs: what they see, what they do, and that no route shows more."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from gnomon import AccessDenied, Context, Job, Kernel, hookimpl
from gnomon.conversion import Secret
from gnomon.domain.records import JobScope
from gnomon_alerts import AlertsPlugin
from gnomon_stats import StatsPlugin
from gnomon_web.auth.roles import Scope
from gnomon_web.auth.scoped_kernel import ScopedKernel
from gnomon_web.auth.tokens import Token
from gnomon_web.http.routes import Route, RouteTable
from gnomon_web.http.scope_check import is_checked
from gnomon_web.server import build_routes

TOKEN = "v8Qm2xLr5TnKc7Wz4Hd9"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
MARK = "unseen-by-others"
UNKNOWN = "0" * 24
PATIENCE_S = 60


async def report(text: str = "") -> str:
    logging.getLogger("app").warning("logged %s", text)
    return text


async def waits() -> None:
    await asyncio.Event().wait()


def jobs() -> list[Job]:
    hidden = {"kwargs": {"text": MARK}, "description": MARK, "tags": ["finance", MARK]}
    return [
        Job(id="reports.daily", func=report, tags=["public"]),
        Job(id="reports.weekly", func=report, kwargs={"text": "weekly"}),
        Job(id="other.reports", func=report, **hidden),  # type: ignore[arg-type]
        Job(id=f"reports-{MARK}", func=waits, tags=["hidden"]),
    ]


def limited(role: str = "admin", **scope: Any) -> list[Token]:
    scope = scope or {"jobs": ["reports.*"]}
    whole = Token(name="whole", role="admin", token=Secret("h3Jq8sVw2YbNf6Rk1Xp5"))
    return [whole, Token(name="limited", role=role, token=Secret(TOKEN), **scope)]  # type: ignore[arg-type]


class Extension:
    """Another plugin, whose routes know nothing of scopes, or say that they do."""

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        register("GET", "/extension/all", self.everything, role="viewer")
        register("GET", "/extension/none", self.everything, role="viewer", scoped=True)
        register("GET", "/extension/jobs/{job_id}", self.of_job, role="viewer")
        register("GET", "/extension/tasks/{task_id}", self.of_task, role="viewer")

    async def everything(self, request: aiohttp.web.Request) -> list[str]:
        return []

    async def of_job(self, request: aiohttp.web.Request, job_id: str) -> list[str]:
        return [job_id]

    async def of_task(self, request: aiohttp.web.Request, task_id: str) -> list[str]:
        return [task_id]


class Site:
    """A server with runs of every job, asked with the limited token."""

    def __init__(self, ask: Any, runs: dict[str, str]) -> None:
        self.ask = ask
        self.kernel: Kernel = ask.kernel
        self.runs = runs

    async def __call__(self, method: str, path: str, **options: Any) -> Any:
        return await self.ask(method, path, headers=HEADERS, **options)

    @contextlib.asynccontextmanager
    async def socket(self, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        url = f"{self.ask.web.url}{path}".replace("http", "ws", 1)
        async with self.ask.client.ws_connect(url, headers=HEADERS, **options) as ws:
            yield ws


@pytest.fixture
def site(serve: Any) -> Callable[..., contextlib.AbstractAsyncContextManager[Site]]:
    @contextlib.asynccontextmanager
    async def start(*, plugins: Any = (), **scope: Any) -> AsyncIterator[Site]:
        async with serve(*jobs(), plugins=plugins, tokens=limited(**scope)) as ask:
            runs = {}
            for job in jobs():
                runs[job.id] = (await ask.kernel.trigger(job.id, actor="anna")).execution.id
                if job.func is report:
                    await ask.kernel.wait(runs[job.id])
            yield Site(ask, runs)

    return start


def example(route: Route, job_id: str, execution_id: str) -> str:
    names = {"job_id": job_id, "execution_id": execution_id, "task_id": execution_id}
    return re.sub(r"\{(\w+)(?::[^{}]*)?\}", lambda found: names.get(found[1], "anything"), route.path)


def rest(table: RouteTable) -> list[Route]:
    return [route for route, _ in table if route.kind == "rest"]


# --- every route ---


async def test_no_route_shows_a_limited_token_another_job(site: Any) -> None:
    plugins = [AlertsPlugin(), StatsPlugin(StatsPlugin.Config()), Extension()]
    async with site(plugins=plugins) as limited_site:
        table = build_routes(limited_site.kernel)
        other = limited_site.runs["other.reports"]
        for route in rest(table):
            path = example(route, "other.reports", other)
            if route.path in {"/logout", "/sessions/{session_id}"}:
                continue
            body = {"json": {"job_id": "other.reports"}} if route.path == "/scheduler/trigger" else {}
            answer = await limited_site(route.method, path, **body)

            assert MARK.encode() not in answer.body, route.path
            if re.search(r"\{(job|execution|task)_id[:}]", route.path) or body:
                assert answer.status == 404, (route.path, answer.body)
                unknown = await limited_site(
                    route.method, example(route, "absent", UNKNOWN), **({"json": {"job_id": "absent"}} if body else {})
                )
                assert unknown.body.replace(b"absent", b"other.reports").replace(UNKNOWN.encode(), other.encode()) == (
                    answer.body
                ), route.path
            else:
                shown = {"other.reports", other, limited_site.runs[f"reports-{MARK}"]}
                assert not any(word.encode() in answer.body for word in shown), route.path
                assert answer.status == 403 or is_checked(route) or table.replaced_by(route), route.path
        states = [(await limited_site.kernel.job(job.id)).state for job in jobs()]

    assert not any(state.paused or state.note for state in states)


def test_every_route_of_ours_is_checked_or_about_the_server(gnomon_kernel: Callable[..., Kernel]) -> None:
    table = build_routes(gnomon_kernel(*jobs()))

    refused = {f"{route.method} {route.path}" for route, _ in table if not is_checked(route)}

    about_the_server = {
        "GET /metrics",
        "GET /scheduler/audit",
        "GET /scheduler/kernels",
        "GET /scheduler/workers",
        "GET /sessions",
        "DELETE /sessions",
        "DELETE /sessions/{session_id}",
    }
    about_the_kernel = {f"POST /scheduler/{what}" for what in ("hold", "release", "step-down", "jobs", "jobs/preview")}
    assert refused == about_the_server | about_the_kernel


async def test_a_limited_token_uses_its_own_jobs_like_any_other(site: Any) -> None:
    async with site(plugins=[StatsPlugin(StatsPlugin.Config()), Extension()]) as limited_site:
        run = limited_site.runs["reports.daily"]
        ids = [job["id"] for job in (await limited_site("GET", "/scheduler/jobs")).json]
        detail = await limited_site("GET", "/scheduler/jobs/reports.daily")
        runs = (await limited_site("GET", "/scheduler/executions")).json
        record = await limited_site("GET", f"/scheduler/executions/{run}")
        lines = await limited_site("GET", f"/scheduler/executions/{run}/log")
        history = (await limited_site("GET", "/scheduler/history")).json
        stats = (await limited_site("GET", "/scheduler/stats")).json
        today = await limited_site("GET", "/scheduler/stats/today")
        of_job = await limited_site("GET", "/scheduler/jobs/reports.daily/execution-stats")
        triggered = await limited_site("POST", "/scheduler/trigger", json={"job_id": "reports.daily"})
        paused = await limited_site("POST", "/scheduler/jobs/reports.daily/pause")
        own = [
            await limited_site("GET", f"/extension/{what}") for what in ("jobs/reports.daily", f"tasks/{run}", "none")
        ]
        refused = await limited_site("GET", "/extension/all")

    assert ids == ["reports.daily", "reports.weekly"]
    assert (runs["total"], {item["job_id"] for item in runs["items"]}) == (2, set(ids))
    assert (history["total"], {item["job_id"] for item in history["history"]}) == (2, set(ids))
    assert (stats["total_jobs"], stats["executing"], stats["today"]["success"]) == (2, 0, 2)
    assert today.json["success"] == 2
    assert of_job.json["total"] == 1
    assert [answer.status for answer in (detail, record, lines, today, of_job, paused)] == [200] * 6
    assert (triggered.status, triggered.json["actor"]) == (202, "limited")
    assert [answer.status for answer in own] == [200] * 3
    assert refused.status == 403
    assert refused.json["type"].endswith("#outside-of-scope")
    assert "limited to the jobs reports.*" in refused.json["detail"]


async def test_filters_and_pages_stay_within_the_scope(site: Any) -> None:
    async with site() as limited_site:
        other = await limited_site("GET", "/scheduler/executions?job_id=other.reports")
        first = (await limited_site("GET", "/scheduler/executions?limit=1&status=success")).json
        second = (await limited_site("GET", f"/scheduler/executions?limit=1&cursor={first['next']}")).json
        actions = (await limited_site("GET", "/scheduler/history?job_id=other.reports")).json

    assert (other.status, other.json["total"]) == (200, 0)
    assert (first["total"], len(first["items"]), len(second["items"]), second["next"]) == (2, 1, 1, None)
    assert actions["total"] == 0


async def test_tags_name_jobs_too_and_follow_their_definitions(site: Any) -> None:
    async with site(tags=["finance"], jobs=["reports.w*"]) as limited_site:
        before = [job["id"] for job in (await limited_site("GET", "/scheduler/jobs")).json]
        runs = (await limited_site("GET", "/scheduler/executions")).json["total"]
        (job,) = [job for job in jobs() if job.id == "other.reports"]
        await limited_site.kernel.apply_jobs(
            [*(one for one in jobs() if one.id != job.id), msgspec.structs.replace(job, tags=[])]
        )
        after = [job["id"] for job in (await limited_site("GET", "/scheduler/jobs")).json]
        gone = await limited_site("GET", "/scheduler/jobs/other.reports/executions")

    assert (before, after) == (["other.reports", "reports.weekly"], ["reports.weekly"])
    assert (runs, gone.status) == (2, 404)


async def test_the_past_has_the_same_limits(site: Any) -> None:
    async with site() as limited_site:
        table = build_routes(limited_site.kernel)
        with_past = [route for route in rest(table) if route.has_past]
        shown = {
            "other.reports",
            MARK,
            *(run for job, run in limited_site.runs.items() if not job.startswith("reports.")),
        }
        for route in with_past:
            for job_id in ("other.reports", "reports.daily"):
                path = example(route, job_id, limited_site.runs[job_id])
                answer = await limited_site("GET", f"{path}?at=now{'&snapshot=true' if path.endswith('past') else ''}")
                is_other = job_id == "other.reports" and "{" in route.path
                assert answer.status == (404 if is_other else 200), path
                assert is_other or not any(word.encode() in answer.body for word in shown), path

    assert len(with_past) >= 12


async def test_a_hint_never_names_a_job_outside_of_the_scope(site: Any) -> None:
    async with site(jobs=["reports*"]) as limited_site:
        await limited_site.kernel.apply_jobs(job for job in jobs() if job.id != "reports.weekly")
        answer = await limited_site("GET", "/scheduler/jobs/reports.weekl")
    async with site(jobs=["reports.*", "other.report"]) as limited_site:
        near = await limited_site("GET", "/scheduler/jobs/other.report")

    assert (answer.status, near.status) == (404, 404)
    assert b"did you mean" not in answer.body + near.body


# --- WebSockets ---


async def frames_until(ws: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """Read frames until one has a text; return all of them."""
    found = ""
    async with asyncio.timeout(PATIENCE_S):
        while text not in found:
            frame = await ws.receive()
            assert frame.type is aiohttp.WSMsgType.TEXT, frame
            found += frame.data
            if (seq := json.loads(frame.data).get("seq")) is not None and ws.protocol:
                await ws.send_json({"t": "ack", "seq": seq})
    return found


async def run_both(limited_site: Site) -> str:
    """Run a job outside of the scope, then one inside; return the id of the second run."""
    kernel = limited_site.kernel
    await kernel.wait((await kernel.trigger("other.reports")).execution.id)
    await kernel.pause("other.reports", reason=MARK)
    await kernel.resume("other.reports")
    run = (await kernel.trigger("reports.daily", kwargs={"text": "the-end"})).execution.id
    await kernel.wait(run)
    return run


@pytest.mark.parametrize("query", ["", "?after=0", "?types=succeeded", "?job_id=other.reports&types=scheduled"])
async def test_the_event_stream_has_only_events_of_the_scope(site: Any, query: str) -> None:
    async with site() as limited_site, limited_site.socket(f"/ws/events{query}") as ws:
        await run_both(limited_site)
        if "job_id" in query:
            await limited_site.ask("GET", "/readyz")
            await ws.send_str("anything")
            frame = await asyncio.wait_for(ws.receive(), PATIENCE_S)
            seen = frame.data
            assert json.loads(seen)["type"] == "ready"
        else:
            seen = await frames_until(ws, "the-end")

    assert MARK not in seen
    assert "other.reports" not in seen


async def test_the_dashboard_shows_only_the_scope(site: Any) -> None:
    async with site() as limited_site, limited_site.socket("/ws/live", protocols=["gnomon.live.v1"]) as ws:
        other, own = limited_site.runs["other.reports"], limited_site.runs["reports.daily"]
        await ws.send_json({"t": "hello", "topics": [f"log:{other}", f"log:{own}"]})
        snapshot = await frames_until(ws, '"snapshot"')
        await run_both(limited_site)
        seen = await frames_until(ws, "the-end")

    shown = json.loads(snapshot[snapshot.index('{"t":"snapshot"') :])
    assert [job["id"] for job in shown["jobs"]] == ["reports.daily", "reports.weekly"]
    assert {run["job_id"] for run in shown["recent"]} == {"reports.daily", "reports.weekly"}
    assert shown["running"] == []
    assert MARK not in snapshot + seen
    assert "other.reports" not in snapshot + seen


async def test_dashboards_with_other_scopes_do_not_share_snapshots(site: Any) -> None:
    async with site() as limited_site:
        whole = {"Authorization": "Bearer h3Jq8sVw2YbNf6Rk1Xp5"}
        url = f"{limited_site.ask.web.url}/ws/live".replace("http", "ws", 1)
        seen = []
        for headers in (whole, HEADERS, whole):
            async with limited_site.ask.client.ws_connect(url, headers=headers, protocols=["gnomon.live.v1"]) as ws:
                await ws.send_json({"t": "hello", "topics": []})
                seen.append(len(json.loads(await frames_until(ws, '"snapshot"'))["jobs"]))

    assert seen == [4, 2, 4]


@pytest.mark.parametrize("what", ["job", "run"])
async def test_progress_of_another_job_is_an_unknown_task(site: Any, what: str) -> None:
    async with site() as limited_site:
        task = "other.reports" if what == "job" else limited_site.runs["other.reports"]
        async with limited_site.socket(f"/ws/progress/{task}") as ws:
            problem = json.loads((await asyncio.wait_for(ws.receive(), PATIENCE_S)).data)
            await asyncio.wait_for(ws.receive(), PATIENCE_S)
            code = ws.close_code
        async with limited_site.socket(f"/ws/progress/{limited_site.runs['reports.daily']}") as ws:
            own = json.loads((await asyncio.wait_for(ws.receive(), PATIENCE_S)).data)

    assert problem["type"].endswith("#unknown-task")
    assert code == 4404
    assert own["job_id"] == "reports.daily"


@pytest.mark.parametrize("how", ["changed", "removed"])
@pytest.mark.parametrize("what", ["job", "run"])
@pytest.mark.parametrize("path", ["/ws/progress", "/ws/task"])
async def test_a_stream_of_progress_ends_when_its_job_leaves_the_scope(
    serve: Any, path: str, what: str, how: str
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def work(ctx: Context) -> None:
        ctx.progress(10, "begun")
        reached.set()
        await go_on.wait()
        ctx.progress(20, MARK, current_item=MARK)
        raise ValueError(MARK)

    job = Job(id="ledger", func=work, tags=["finance"])
    async with serve(job, dialect="tradingagents", tokens=limited(tags=["finance"])) as ask:
        run = (await ask.kernel.trigger("ledger")).execution.id
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        async with Site(ask, {}).socket(f"{path}/{'ledger' if what == 'job' else run}") as ws:
            await frames_until(ws, "begun")
            await ask.kernel.pause("ledger", actor="anna")  # changes no tags, so the stream goes on
            if how == "changed":
                await ask.kernel.apply_jobs([msgspec.structs.replace(job, tags=["public"])])
            else:
                await ask.kernel.apply_jobs([])
            go_on.set()
            await ask.kernel.wait(run)
            seen = []
            while (frame := await asyncio.wait_for(ws.receive(), PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
                seen.append(frame.data)
                assert MARK not in frame.data
            code = ws.close_code

    assert not any('"status":"failed"' in text for text in seen)
    assert code == 4404


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/scheduler/jobs/{job}/pause"),
        ("POST", "/scheduler/jobs/{job}/trigger"),
        ("POST", "/scheduler/trigger"),
        ("POST", "/scheduler/executions/{run}/cancel"),
        ("POST", "/scheduler/executions/{run}/sample"),
    ],
)
async def test_an_act_outside_of_the_scope_is_in_the_history_of_others(
    site: Any, gnomon_clock: Any, gnomon_events: Any, method: str, path: str, known: bool
) -> None:
    async with site() as limited_site:
        job = "other.reports" if known else "absent"
        run = limited_site.runs["other.reports"] if known else UNKNOWN
        body = {"json": {"job_id": job}} if path == "/scheduler/trigger" else {}
        answer = await limited_site(method, path.format(job=job, run=run), **body)
        await limited_site("GET", f"/scheduler/jobs/{job}")  # only acts are recorded
        await gnomon_clock.until(lambda: gnomon_events.of(AccessDenied))
        whole = {"Authorization": "Bearer h3Jq8sVw2YbNf6Rk1Xp5"}
        history = (await limited_site.ask("GET", "/scheduler/history", headers=whole)).json["history"]
        own = (await limited_site("GET", "/scheduler/history")).json["history"]

    call = f"{method} {path.format(job='{job_id}', run='{execution_id}')}"
    (found,) = [entry for entry in history if entry["status"] == "failed"]
    assert answer.status == 404
    assert (found["actor"], found["action"]) == ("limited", "access")
    assert found["error_message"] == f"outside-of-scope from 127.0.0.1: {call} of {run if '{run}' in path else job}"
    assert not [entry for entry in own if entry["status"] == "failed"]


# --- the parts ---


async def test_a_stranger_to_the_log_reads_its_own_events_only(site: Any) -> None:
    async with site() as limited_site:
        kernel = ScopedKernel(limited_site.kernel, Scope(jobs=("reports.*",)))
        events = await kernel.events(0, 1000)
        live = await kernel.live_runs()

    assert {event.job_id for event in events} == {"reports.daily", "reports.weekly"}
    assert live == []


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"jobs": []}, "jobs of token 'limited' is empty"),
        ({"tags": []}, "tags of token 'limited' is empty"),
        ({"jobs": ["reports/*"]}, "jobs of token 'limited' has 'reports/\\*'; expected ids of jobs or patterns"),
    ],
)
def test_a_scope_that_cannot_be_meant_is_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        limited(**keys)


def test_no_pattern_matches_facts_without_a_job() -> None:
    assert not JobScope(("*",)).has("")
    assert JobScope(("*",)).has("x")


async def test_acts_on_all_that_a_query_asks_for_stay_within_the_scope(site: Any) -> None:
    async with site(tags=["hidden", "public"]) as one:
        waiting = one.runs[f"reports-{MARK}"]
        others = await one.ask.kernel.trigger("reports.weekly")
        await one.ask.kernel.wait(others.execution.id)
        again = (await one("POST", "/scheduler/executions/retry", json={"query": "job:*"})).json
        refused = (await one("POST", "/scheduler/executions/retry", json={"ids": [others.execution.id]})).json
        none = await one("POST", "/scheduler/executions/cancel", json={"query": "tag:public"})
        cancelled = await one("POST", "/scheduler/executions/cancel", json={"query": "manual:true", "tag": "hidden"})
        tags = (await one("GET", "/scheduler/query-suggestions?list=runs&query=tag:")).json

    assert [(item["id"], item["started"]) for item in again["items"]] == [(one.runs["reports.daily"], True)]
    assert (refused["started"], "there is no execution" in refused["items"][0]["error"]) == (0, True)
    assert (none.json, cancelled.json) == ([], [{"id": waiting, "changed": True, "error": None}])
    assert [item["text"] for item in tags["items"]] == ["hidden", "public"]
