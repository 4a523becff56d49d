"""Calls contributed by first-party plugins: the statistics of `stats` and the watch list of `reaper`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from gnomon import Job, Kernel
from gnomon_reaper import ReaperPlugin
from gnomon_stats import StatsPlugin


async def tick() -> None:
    """A job."""


async def test_the_plugin_stats_replaces_the_statistics_of_the_store(serve: Any) -> None:
    async with serve(tick, plugins=[StatsPlugin()], guarded=True) as ask:
        for _ in range(3):
            await ask.kernel.wait((await ask.kernel.trigger("tick")).execution.id)
        path = "/scheduler/jobs/tick/execution-stats"
        async with asyncio.timeout(60):
            while (told := (await ask("GET", path, as_="viewer")).json)["success"] < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the plugin counts on its own thread
        nobody = await ask("GET", path)
        unknown = await ask("GET", "/scheduler/jobs/tik/execution-stats", as_="viewer")
        document = (await ask("GET", "/openapi.json")).json

    assert (told["total"], told["success"], told["success_rate"]) == (3, 3, 1.0)
    assert isinstance(told["avg_execution_time"], float)
    assert isinstance(told["p95"], float)
    assert [day["success"] for day in told["by_day"]] == [3]
    assert nobody.status == 401
    assert (unknown.status, unknown.culprits) == (404, [("path", "job_id")])
    described = document["paths"]["/scheduler/jobs/{job_id}/execution-stats"]["get"]
    assert described["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/JobStatistics"
    }


async def test_today_is_a_day_in_the_zone_of_the_plugin_stats(serve: Any, gnomon_clock: Any) -> None:
    await gnomon_clock.advance(timedelta(hours=20) - timedelta(hours=gnomon_clock.now().hour))  # tomorrow in Shanghai
    utc = gnomon_clock.now().date()
    async with serve(tick, plugins=[StatsPlugin(StatsPlugin.Config(timezone="Asia/Shanghai"))]) as ask:
        await ask.kernel.wait((await ask.kernel.trigger("tick")).execution.id)
        async with asyncio.timeout(60):
            while not (today := (await ask("GET", "/scheduler/stats/today")).json)["success"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the plugin counts on its own thread
        overview = (await ask("GET", "/scheduler/stats")).json["today"]
    async with serve(tick) as ask:
        without = (await ask("GET", "/scheduler/stats/today")).json

    assert today["day"] == overview["day"] == (utc + timedelta(days=1)).isoformat()
    assert today["avg_execution_time"] is not None
    assert [overview[key] for key in ("total", "success", "failed", "running")] == [1, 1, 0, 0]
    assert without["day"] == utc.isoformat()


async def test_the_plugin_stats_serves_timelines(serve: Any) -> None:
    jobs = [Job(id=name, func=tick, name=f"Job {name}") for name in ("one", "two")]
    async with serve(*jobs, plugins=[StatsPlugin()], guarded=True) as ask:
        for name in ("one", "one", "two"):
            await ask.kernel.wait((await ask.kernel.trigger(name)).execution.id)
        path = "/scheduler/lanes?buckets=24"
        async with asyncio.timeout(60):
            while (found := (await ask("GET", path, as_="viewer")).json)["all"]["total"]["success"] < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the plugin counts on its own thread
        one = (await ask("GET", "/scheduler/jobs/one/lane?quantiles=true", as_="viewer")).json
        unknown = await ask("GET", "/scheduler/jobs/three/lane", as_="viewer")
        empty = await ask("GET", "/scheduler/lanes?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z", as_="viewer")
        nobody = await ask("GET", path)

    assert {lane["job_id"]: (lane["name"], sum(lane["success"])) for lane in found["lanes"]} == {
        "one": ("Job one", 2),
        "two": ("Job two", 1),
    }
    assert (found["bucket_s"], found["cut"], found["others"]) == (3_600, {"jobs": 0, "runs": 0}, None)
    assert len(found["all"]["worst"]) == found["buckets"] == 25
    assert [lane["total"]["success"] for lane in one["lanes"]] == [2]
    assert sum(value is not None for value in one["lanes"][0]["bucket_p95"]) == 1
    assert (unknown.status, empty.status, nobody.status) == (404, 400, 401)


async def test_the_plugin_stats_counts_by_label(serve: Any) -> None:
    async with serve(tick, plugins=[StatsPlugin()], guarded=True) as ask:
        for tenant in ("7", "a/b c", "7"):
            triggered = await ask.kernel.trigger("tick", labels={"tenant": tenant})
            await ask.kernel.wait(triggered.execution.id)
        path = "/scheduler/stats/labels/tenant"
        async with asyncio.timeout(60):
            while sum(one["success"] for one in (await ask("GET", path, as_="viewer")).json["values"]) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the plugin counts on its own thread
        all_of_them = (await ask("GET", path, as_="viewer")).json
        one = (await ask("GET", f"{path}?value=a%2Fb%20c", as_="viewer")).json
        page = (await ask("GET", f"{path}?limit=1&offset=1", as_="viewer")).json
        names = (await ask("GET", "/scheduler/stats/labels", as_="viewer")).json
        none = await ask("GET", "/scheduler/stats/labels/team", as_="viewer")
        nobody = await ask("GET", path)
        wrong = await ask("GET", f"{path}?limit=0", as_="viewer")

    assert [(one["value"], one["success"]) for one in all_of_them["values"]] == [("7", 2), ("a/b c", 1)]
    assert (all_of_them["total"], all_of_them["other"], all_of_them["most_values"]) == (2, None, 1000)
    assert [(one["value"], one["total"]) for one in one["values"]] == [("a/b c", 1)]
    assert ([one["value"] for one in page["values"]], page["total"]) == (["a/b c"], 2)
    assert names == {"labels": [{"label": "tenant", "values": 2, "has_other": False}], "left_out": 0}
    assert (none.status, none.json["values"]) == (200, [])
    assert nobody.status == 401
    assert (wrong.status, wrong.culprits) == (400, [("query", "limit")])


class ChecksWhenTold(ReaperPlugin):
    """Leaves all checks to the test: those of its own would race with them."""

    async def check(self, kernel: Kernel) -> float:
        await asyncio.Event().wait()
        return 0.0


async def endless() -> None:
    """A job that says nothing."""
    await asyncio.Event().wait()


async def test_the_plugin_reaper_lists_the_runs_that_it_watches(serve: Any, gnomon_clock: Any) -> None:
    reaper = ChecksWhenTold()
    async with serve(endless, plugins=[reaper], guarded=True) as ask:
        run = (await ask.kernel.trigger("endless")).execution.id
        await gnomon_clock.advance(timedelta(minutes=25))
        await ReaperPlugin.check(reaper, ask.kernel)
        told = (await ask("GET", "/scheduler/watch", as_="viewer")).json
        nobody = await ask("GET", "/scheduler/watch")

    assert (told["warn_after"], told["end_after"]) == (1440.0, 1800.0)
    assert told["runs"] == [{"execution_id": run, "job_id": "endless", "quiet": 1500.0, "warned": True}]
    assert nobody.status == 401
