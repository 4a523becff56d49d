"""Runs that are cancelled or run again, all that a query asks for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gnomon import Job
from gnomon.client import Client
from gnomon.domain import bulk_acts
from gnomon.domain.bulk_acts import RunSelection
from gnomon_web.resources import retries

RETRY = "/scheduler/executions/retry"
CANCEL = "/scheduler/executions/cancel"


class Flaky:
    """A body that fails until it is mended, and keeps the arguments with which it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.is_mended = False

    async def body(self, market: str = "cn", rows: int = 1) -> None:
        self.calls.append((market, rows))
        if not self.is_mended:
            raise ValueError("no answer")


async def waits(n: int = 0) -> int:
    await asyncio.Event().wait()
    return n


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


async def failed_run(ask: Any, job_id: str, **how: Any) -> str:
    triggered = await ask.kernel.trigger(job_id, resume=False, **how)
    return str((await ask.kernel.wait(triggered.execution.id)).id)


async def test_all_that_match_a_query_run_again_once_with_their_arguments_and_labels(serve: Any, flaky: Flaky) -> None:
    fixed = Job(id="fixed", func=flaky.body, kwargs={"market": "us"}, overrides="none")
    async with serve(Job(id="sync", func=flaky.body, tags=["etl"], paused=True), fixed, waits) as ask:
        one = await failed_run(ask, "sync", kwargs={"market": "hk", "rows": 3}, labels={"tenant": "7"}, actor="ann")
        two = await failed_run(ask, "fixed")
        live = (await ask.kernel.trigger("waits")).execution.id
        flaky.is_mended = True

        answer = (await ask("POST", RETRY, json={"query": "status:failed,running"})).json
        runs = {item["id"]: item["run"] for item in answer["items"]}
        for run in runs.values():
            assert (await ask.kernel.wait(run)).status == "success"
        new = await ask.kernel.execution(runs[one])
        repeated = (await ask("POST", RETRY, json={"query": "status:failed"})).json
        key, ids = {"Idempotency-Key": "k"}, [one, live, "0" * 24]
        deliberate = (await ask("POST", RETRY, headers=key, json={"ids": ids})).json
        state = await ask.kernel.job("sync")

    assert (answer["matched"], answer["started"], set(runs)) == (2, 2, {one, two})
    assert flaky.calls[2:4] in ([("hk", 3), ("us", 1)], [("us", 1), ("hk", 3)])
    assert (new.labels, new.is_manual, new.actor) == ({"tenant": "7"}, True, "local")
    assert state.state.paused
    assert (repeated["matched"], repeated["started"]) == (2, 0)
    assert {item["id"]: item["run"] for item in repeated["items"]} == runs
    assert [(item["started"], bool(item["error"])) for item in deliberate["items"]] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert "has not ended: cancel it first" in deliberate["items"][1]["error"]


async def test_what_cannot_run_again_is_refused_with_its_reason_and_stops_no_other(serve: Any, flaky: Flaky) -> None:
    busy = Job(id="busy", func=waits, queue_limit=0)
    async with serve(Job(id="sync", func=flaky.body), busy) as ask:
        await ask.kernel.add_job(Job(id="gone", func=flaky.body), temporary=True)
        gone, sync = await failed_run(ask, "gone"), await failed_run(ask, "sync")
        first = (await ask.kernel.trigger("busy", kwargs={"n": 1})).execution.id
        await ask.kernel.cancel(first)
        await ask.kernel.wait(first)
        await ask.kernel.trigger("busy")
        await ask.kernel.remove_job("gone")

        answer = (await ask("POST", RETRY, json={"ids": [gone, sync, first]})).json

    errors = [item["error"] for item in answer["items"]]
    assert (answer["matched"], answer["started"]) == (3, 1)
    assert errors[0] == "job 'gone' is not there any more"
    assert errors[1] is None
    assert errors[2].startswith("missed: ")


async def test_a_query_cancels_what_has_not_ended_and_repeating_it_is_harmless(serve: Any, flaky: Flaky) -> None:
    jobs = [Job(id="sync", func=waits, tags=["etl"], max_instances=9, overlap="allow"), Job(id="other", func=waits)]
    async with serve(*jobs, Job(id="flaky", func=flaky.body, tags=["etl"])) as ask, Client(ask.web.url) as client:
        await failed_run(ask, "flaky")
        mine = [(await ask.kernel.trigger("sync", actor=who)).execution.id for who in ("ann", "bob", "ann")]
        other = (await ask.kernel.trigger("other", actor="ann")).execution.id
        query = RunSelection(query="tag:etl by:ann")

        outcomes = await client.cancel_runs(query, reason="wrong input")
        for run in (mine[0], mine[2]):
            assert (await ask.kernel.wait(run)).status == "cancelled"
        assert await client.cancel_runs(query) == []
        assert [(await ask.kernel.execution(run)).status for run in (mine[1], other)] == ["running", "running"]
        invalid = await ask("POST", CANCEL, json={"query": "tag:etl by:"})
        both = await ask("POST", CANCEL, json={"query": "tag:etl", "ids": mine})

    assert sorted(one.id for one in outcomes if one.changed) == sorted((mine[0], mine[2]))
    assert (invalid.status, both.status) == (422, 422)
    assert "at character 12: expected a value after 'by:'" in invalid.json["detail"]


async def test_acts_by_a_query_are_bounded(serve: Any, flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "MOST_MATCHED", 1)
    monkeypatch.setattr("gnomon.engine.operator_commands.MOST_MATCHED", 1)
    async with serve(Job(id="sync", func=flaky.body), Job(id="w", func=waits, overlap="allow", max_instances=9)) as ask:
        for _ in range(2):
            await failed_run(ask, "sync")
            await ask.kernel.trigger("w")
        again = await ask("POST", RETRY, json={"query": "status:failed"})
        cancelled = await ask("POST", CANCEL, json={"query": "job:w"})
        neither = await ask("POST", RETRY, json={})

    assert (again.status, cancelled.status, neither.status) == (422, 422, 422)
    assert "2 runs match, and one act may have 1: select fewer" in again.json["detail"]
    assert "2 runs match, and one act may have 1: select fewer" in cancelled.json["detail"]
    assert bulk_acts.MOST_MATCHED == 10_000


async def test_the_client_runs_again_what_a_query_asks_for(serve: Any, flaky: Flaky) -> None:
    async with serve(Job(id="sync", func=flaky.body)) as ask, Client(ask.web.url) as client:
        run = await failed_run(ask, "sync")
        first = await client.retry_runs(query="status:failed")
        again = await client.retry_runs(ids=[run], idempotency_key="other")
        page = await client.executions(query="job:s* status:failed", sort="-started")

    assert (first.started, again.started) == (1, 1)
    assert run in [execution.id for execution in page.items]
