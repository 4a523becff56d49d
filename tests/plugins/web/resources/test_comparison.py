"""Two periods side by side, and the changes of definitions, over HTTP and in the client."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gnomon import Duration, Job, Started, Succeeded
from gnomon.client import Client
from gnomon.testing import VirtualClock
from gnomon_stats import StatsPlugin

DAY = timedelta(days=1)


async def work() -> None: ...


@pytest.mark.parametrize("span", ["soon", "0s", "1s", "500d", ""])
async def test_spans_that_are_not_valid_are_refused(serve: Any, span: str) -> None:
    async with serve(plugins=[StatsPlugin()]) as ask:
        answer = await ask("GET", "/scheduler/compare", params={"span": span or " "})

        assert answer.status == 400
        assert 'expected a `span` such as "24h" or "7d"' in answer.json["detail"]


async def test_this_week_is_compared_with_the_last_over_http_with_the_changes_of_definitions(
    serve: Any, gnomon_clock: VirtualClock
) -> None:
    job = Job(id="work", func=work, name="The work", every=Duration(hours=1))
    async with serve(job, plugins=[StatsPlugin()]) as ask, Client(ask.web.url) as client:
        await gnomon_clock.advance(8 * DAY)
        await ask.kernel.apply_jobs([Job(id="work", func=work, name="The work", every=Duration(hours=2))], actor="ann")
        await gnomon_clock.advance(6 * DAY)
        events = await ask.kernel.events(0, 10_000)
        found = await client.compare_periods()
        only = await client.compare_periods(job_id="work", span=timedelta(days=1))

        (one,) = found.jobs
        for figures, since, until in [
            (one.period, found.since, found.until),
            (one.other, found.other_since, found.other_until),
        ]:
            within = [event for event in events if since <= event.at < until]
            assert figures.success == sum(isinstance(event, Succeeded) for event in within)
            assert figures.starts == sum(isinstance(event, Started) for event in within)
        assert one.name == "The work"
        changes = [(act.what, act.actor, act.keys) for act in one.changes]
        assert ("change", "ann", ["every"]) in changes
        assert [act.what for act in await client.job_changes("work")] == ["add", "change"]
        assert [one.job_id for one in only.jobs] == ["work"]
        assert only.until - only.since >= DAY
        assert (await ask("GET", "/scheduler/compare?job_id=nobody")).status == 404
        assert (await ask("GET", "/scheduler/jobs/nobody/changes")).status == 404
