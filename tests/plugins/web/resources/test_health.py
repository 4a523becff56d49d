"""Health, metrics, and answers while the store is away: never an empty list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gnomon import ConflictError, Job, StoreError, StoreUnavailableError, hookimpl
from gnomon.durations import Duration
from gnomon.testing import RecordingStore


async def tick() -> None:
    """A job."""


async def breaks() -> None:
    raise ValueError("no")


class FailingStore(RecordingStore):
    """A store that can be made to fail: `reading` and `writing` hold what is raised."""

    reading: Exception | None = None
    writing: Exception | None = None

    def _check_open(self) -> None:
        super()._check_open()
        if self.reading is not None:
            raise self.reading

    async def append(self, *batch: Any) -> None:
        if self.writing is not None:
            raise self.writing
        await super().append(*batch)


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


READING = [
    "/scheduler/jobs",
    "/scheduler/jobs/tick",
    "/scheduler/logs",
    "/scheduler/executions",
    "/scheduler/jobs/tick/executions",
    "/scheduler/executions/{id}",
    "/scheduler/executions/{id}/events",
    "/scheduler/executions/{id}/log",
    "/scheduler/history",
    "/scheduler/jobs/tick/history",
    "/scheduler/jobs/tick/execution-stats",
    "/scheduler/stats",
]


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("the disk is full: make room"), StoreError("the database is damaged")]
)
async def test_a_store_that_cannot_be_read_is_a_503_and_never_an_empty_list(
    serve: Any, store: FailingStore, error: StoreError
) -> None:
    async with serve(tick, kernel={"store": store}) as ask:
        execution_id = (await ask("POST", "/scheduler/jobs/tick/trigger")).json["_id"]
        await ask.kernel.wait(execution_id)
        store.reading = error
        answers = [await ask("GET", path.format(id=execution_id)) for path in READING]
        store.reading = None
        after = await ask("GET", "/scheduler/executions")

    for path, answer in zip(READING, answers, strict=True):
        assert (answer.status, answer.culprits) == (503, []), path
        assert str(error) in answer.json["detail"]
        assert answer.headers["Retry-After"] == "5"
    assert after.json["total"] == 1


async def test_an_action_that_the_store_does_not_confirm_in_time_is_a_503(
    serve: Any, store: FailingStore, gnomon_clock: Any
) -> None:
    async with serve(tick, kernel={"store": store}, timeout=Duration(seconds=1)) as ask:
        store.writing = StoreUnavailableError("the disk is full")
        answer = await ask("POST", "/scheduler/jobs/tick/pause")
        alive = await ask("GET", "/livez")
        store.writing = None
        await gnomon_clock.advance(timedelta(seconds=10))  # the journal tries again

    assert (answer.status, answer.culprits) == (503, [])
    assert "may still take effect" in answer.json["detail"]
    assert alive.status == 200


# --- health ---


def states(answer: Any) -> dict[str, str]:
    return {one["name"]: one["state"] for one in answer.json["components"]}


async def test_a_healthy_kernel_is_alive_and_ready(serve: Any) -> None:
    async with serve(tick) as ask:
        answers = [await ask("GET", path) for path in ("/livez", "/readyz", "/scheduler/health")]

    assert [(answer.status, answer.json["status"]) for answer in answers] == [(200, "ok")] * 3
    parts = {"loop": "ok", "timetable": "ok", "journal": "ok"}
    assert states(answers[0]) == {"kernel": "ok", **parts}
    assert states(answers[1]) == {
        "kernel": "ok",
        **parts,
        "clock": "ok",
        "starts": "ok",
        "store": "ok",
        "plugin:web": "ok",
    }


async def test_a_kernel_whose_store_cannot_be_read_is_alive_but_not_ready(serve: Any, store: FailingStore) -> None:
    async with serve(tick, kernel={"store": store}) as ask:
        store.reading = StoreUnavailableError("the disk is full")
        alive, ready = await ask("GET", "/livez"), await ask("GET", "/readyz")
        store.reading = None

    assert alive.status == 200
    assert (ready.status, ready.json["status"], states(ready)["store"]) == (503, "failed", "failed")
    assert "the disk is full" in ready.body.decode()


async def test_a_kernel_whose_store_cannot_be_written_is_alive_but_not_ready(
    serve: Any, store: FailingStore, gnomon_clock: Any
) -> None:
    async with serve(tick, kernel={"store": store}, timeout=Duration(seconds=3)) as ask:
        store.writing = StoreUnavailableError("the disk is full")
        await ask("POST", "/scheduler/jobs/tick/pause")
        alive, ready = await ask("GET", "/livez"), await ask("GET", "/readyz")
        store.writing = None
        await gnomon_clock.advance(timedelta(seconds=10))  # the journal tries again
        after = await ask("GET", "/readyz")

    assert (alive.status, ready.status, states(ready)["store"]) == (200, 503, "failed")
    assert "the disk is full" in ready.body.decode()
    assert after.status == 200


async def test_a_kernel_that_lost_its_log_is_not_alive(serve: Any, store: FailingStore) -> None:
    async with serve(tick, kernel={"store": store}) as ask:
        store.writing = ConflictError("x", 1, 9)
        lost = await ask("POST", "/scheduler/jobs/tick/trigger")
        alive, ready = await ask("GET", "/livez"), await ask("GET", "/readyz")

    assert lost.status == 503
    assert (alive.status, ready.status) == (503, 503)
    assert states(alive)["kernel"] == "failed"


async def test_a_plugin_that_fails_again_and_again_degrades_and_the_kernel_stays_ready(
    serve: Any, gnomon_clock: Any
) -> None:
    class Fails:
        @hookimpl
        def on_started(self) -> None:
            raise ValueError("no table")

    async with serve(Job(id="often", func=tick, every=Duration(seconds=1)), plugins=[Fails()]) as ask:
        await gnomon_clock.advance(timedelta(seconds=15))
        answer = await ask("GET", "/readyz")

    assert (answer.status, answer.json["status"]) == (200, "degraded")
    assert states(answer)["plugin:Fails"] == "degraded"
    assert "no table" in answer.body.decode()


async def test_only_viewers_see_the_problem(serve: Any, store: FailingStore) -> None:
    async with serve(tick, kernel={"store": store}, guarded=True) as ask:
        store.reading = StoreUnavailableError("cannot open /srv/secret/gnomon.db")
        for_everybody, for_viewers = await ask("GET", "/readyz"), await ask("GET", "/readyz", as_="viewer")
        store.reading = None

    assert (for_everybody.status, for_viewers.status) == (503, 503)
    assert "/srv/secret" not in for_everybody.body.decode()
    assert "/srv/secret" in for_viewers.body.decode()


# --- metrics ---


async def scrape(ask: Any, **options: Any) -> dict[tuple[str, ...], float]:
    text = (await ask("GET", "/metrics", **options)).body.decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_executions(serve: Any, gnomon_clock: Any) -> None:
    hourly = Job(id="hourly", func=tick, every=Duration(hours=1))
    async with serve(hourly, breaks, guarded=True) as ask:
        await gnomon_clock.advance(timedelta(hours=3))
        await ask.kernel.wait((await ask.kernel.trigger("breaks")).execution.id)
        await gnomon_clock.advance(timedelta(seconds=1))
        forbidden = await ask("GET", "/metrics")
        found = await scrape(ask, as_="viewer")

    assert forbidden.status == 401
    assert found["gnomon_executions_total", "hourly", "success"] == 3
    assert found["gnomon_executions_total", "breaks", "failed"] == 1
    assert found["gnomon_execution_seconds_count", "hourly"] == 3
    assert found["gnomon_lateness_seconds_count", "hourly"] == 3
    assert found["gnomon_lateness_seconds_bucket", "hourly", "+Inf"] == 3
    assert (found["gnomon_running",], found["gnomon_waiting",]) == (0, 0)
    assert (found["gnomon_store_up",], found["gnomon_store_lag",]) == (1, 0)
    assert ("gnomon_plugin_lag", "web") in found


async def test_removing_a_job_removes_its_time_series(serve: Any, gnomon_clock: Any) -> None:
    async with serve(tick, breaks) as ask:
        for job_id in ("tick", "breaks"):
            await ask.kernel.wait((await ask.kernel.trigger(job_id)).execution.id)
        await ask.kernel.apply_jobs([Job(id="breaks", func=breaks)])
        await gnomon_clock.advance(timedelta(seconds=1))
        jobs = {labels[1] for labels in await scrape(ask) if labels[0].startswith("gnomon_execution")}

    assert jobs == {"breaks"}


async def test_health_and_summary_have_the_state_of_the_scheduler_as_a_number(serve: Any) -> None:
    async with serve(tick) as ask:
        reports = [(await ask("GET", path)).json for path in ("/livez", "/readyz", "/scheduler/health")]
        summary = (await ask("GET", "/scheduler/stats")).json
        now = ask.kernel.clock.now()

    assert {(report["running"], report["state"]) for report in reports} == {(True, 1)}
    assert {datetime.fromisoformat(report["timestamp"]) for report in reports} == {now}
    assert (summary["scheduler_running"], summary["scheduler_state"]) == (True, 1)
