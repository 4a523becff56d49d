"""With the plugin `stats` its numbers take the place of the store's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gnomon_stats import StatsPlugin


async def tick() -> None:
    """A job."""


async def test_the_plugin_stats_answers_for_the_store(serve: Any, gnomon_clock: Any) -> None:
    async with serve(tick, plugins=[StatsPlugin()], guarded=True) as ask:
        for _ in range(3):
            await ask.kernel.wait((await ask.kernel.trigger("tick")).execution.id)
        await gnomon_clock.advance(timedelta(seconds=1))
        path = "/scheduler/jobs/tick/execution-stats"
        told = (await ask("GET", path, as_="viewer")).json
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
        "$ref": "#/components/schemas/JobStats"
    }
