"""Imported runs in the log: explained by their source, and left out of what audit judges."""

from datetime import UTC, date, timedelta
from typing import Any

import pytest

from gnomon import Job, Kernel
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.domain import events
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.errors import UnknownJobError
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import START, VirtualClock
from gnomon.testing.histories import append, extend, imported

LAST_YEAR = START - timedelta(days=365)
HOUR = timedelta(hours=1)


async def nothing() -> None:
    pass


async def test_an_imported_run_of_a_job_that_no_kernel_has_is_explained_by_its_source() -> None:
    store = MemoryStore()
    await store.open()
    await append(store, imported("old", LAST_YEAR, status="failed", reason="exception", error_message="no rows"))

    newest = await explain(store, "old", None, START)
    at_the_minute = await explain(store, "old", LAST_YEAR, START)
    on_the_day = await explain(store, "old", LAST_YEAR.date(), START)

    assert newest.sentences == at_the_minute.sentences == on_the_day.sentences
    (sentence,) = newest.sentences
    assert "was recorded from cron.runs" in sentence
    assert "it failed after 1.0 s (exception): no rows" in sentence
    with pytest.raises(UnknownJobError):
        await explain(store, "old", date(2020, 1, 1), START)


async def test_a_kernel_starts_with_imported_runs_and_acts_and_audit_does_not_judge_them() -> None:
    clock, store = VirtualClock(), MemoryStore()
    await store.open()
    act: dict[str, Any] = {"source": "cron.acts", "source_id": "1", "acted_at": LAST_YEAR, "action": "pause"}
    first = events.ActionImported(
        stream="job:sync", version=1, at=START, node="a", job_id="sync", actor="unknown", **act
    )
    acts = extend([first], events.JobDescribed, actor="import", display_name="Prices")
    await append(store, acts, *(imported("sync", LAST_YEAR + n * HOUR) for n in range(24)))

    await store.close()
    kernel = Kernel(store=store, jobs=[Job(id="sync", func=nothing, cron="0 * * * *")], clock=clock, node="a")
    clock.is_idle = lambda: kernel.is_idle
    async with kernel:
        await clock.advance(2 * HOUR)
        view = await kernel.job("sync")
        report = await audit(store, LAST_YEAR, clock.now(), decided_until=clock.now())

    await store.open(read_only=True)
    assert view.state.display_name == "Prices"
    stream = await store.stream("job:sync")
    assert [event.type for event in stream] == ["action_imported", "job_described", "job_added"]
    assert report.is_proved
    assert sum(job.fires for job in report.jobs) == 2
    assert (await store.executions(ExecutionQuery())).total == 26
    (action, _) = reversed((await store.actions(ActionQuery())).items)
    assert (action.at, action.action, action.actor) == (LAST_YEAR.astimezone(UTC), "pause", "unknown")
    day = await explain(store, "sync", LAST_YEAR.date(), clock.now())
    assert sum("recorded from cron.runs" in sentence for sentence in day.sentences) == 12
