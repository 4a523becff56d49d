"""The audit over HTTP: what `gnomon audit` finds, for admins, and no more than a kernel can read beside its work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gnomon import Duration, Job
from gnomon.analysis.audit import audit
from gnomon.client import Client, ClientError
from gnomon.engine import log_queries


async def tick() -> None:
    """A job."""


JOBS = (Job(id="tick", func=tick, every=Duration(seconds=1)), Job(id="other", func=tick, cron="0 3 * * *"))


async def test_every_fire_is_proved_to_have_one_outcome(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(*JOBS, guarded=True) as ask, Client(ask.web.url, token=secrets["admin"]) as client:
        since = ask.kernel.clock.now() - timedelta(hours=1)
        await ask.kernel.clock.advance(timedelta(minutes=1))
        answer = (await ask("GET", "/scheduler/audit", as_="admin")).json
        report = await client.audit(since, ["tick"])
        whole = await audit(ask.kernel._store, since, report.until)
        with pytest.raises(ClientError, match="did you mean 'tick'"):
            await client.audit(since, ["tikc"])

    assert answer["is_proved"] is True
    assert {job["job_id"] for job in answer["jobs"]} == {"tick", "other"}
    assert answer["position"] <= report.position <= whole.position
    (proved,) = report.jobs
    assert (proved.job_id, proved.findings) == ("tick", [])
    assert proved.fires == next(job.fires for job in whole.jobs if job.job_id == "tick") >= 59


async def test_too_many_events_are_not_read(
    serve: Any, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(*JOBS, guarded=True) as ask, Client(ask.web.url, token=secrets["admin"]) as client:
        monkeypatch.setattr(log_queries, "MOST_AUDITED", 2)
        answer = await ask("GET", "/scheduler/audit", as_="admin")
        with pytest.raises(ClientError, match="at most 2 are audited beside a running kernel"):
            await client.audit()
        statuses = [(await ask("GET", "/scheduler/audit", as_=role)).status for role in ("viewer", "operator")]

    assert answer.status == 422
    assert "ask about a shorter time" in answer.json["detail"]
    assert statuses == [403, 403]
