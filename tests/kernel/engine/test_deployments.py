"""Which definitions count where processes with different ones lead one after the other."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Job, Kernel
from gnomon.engine.deployments import decide
from gnomon.jobs.registered import register_job
from gnomon_sqlite.store import SqliteStore

OLD, NEW, NEWEST = (Job(id="x", func="time:time", cron=f"0 {hour} * * *") for hour in (1, 2, 3))
AGAIN = (
    "definitions of an earlier deployment are in force again: if that is not a rollback, start the processes with the "
    "newer ones again"
)


async def taken_over(log: Path, seen: int, job: Job) -> tuple[int, str, Sequence[MutableMapping[str, Any]]]:
    """Return the deployment and the cron expression with which a process leads, and what it logs."""
    async with SqliteStore(log) as store:
        states = await store.jobs(removed=False)
        with capture_logs() as logged:
            mark, jobs = await decide(store, datetime.now(UTC), seen, [register_job(job, "UTC")], states)
    return mark.number, str((jobs[0].job if jobs is not None else job).cron), logged


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A log with two deployments."""
    for job in (OLD, NEW):
        async with Kernel(store=SqliteStore(tmp_path / "log.db"), jobs=[job]):
            pass
    return tmp_path / "log.db"


async def test_an_old_process_leads_with_the_newer_definitions_of_the_log(log: Path) -> None:
    number, cron, logged = await taken_over(log, seen=1, job=OLD)

    assert (number, cron) == (2, NEW.cron)
    assert [line["log_level"] for line in logged] == ["warning"]


async def test_definitions_that_no_deployment_had_are_put_in_force(log: Path) -> None:
    assert await taken_over(log, seen=2, job=NEWEST) == (3, NEWEST.cron, [])
    assert await taken_over(log, seen=2, job=NEW) == (2, NEW.cron, [])


async def test_an_earlier_deployment_that_comes_back_by_a_take_over_is_named(log: Path) -> None:
    number, cron, logged = await taken_over(log, seen=2, job=OLD)

    assert (number, cron) == (3, OLD.cron)
    (line,) = logged
    assert (line["event"], line["deployment"], line["same_as"], line["replaced"]) == (AGAIN, 3, 1, 2)
