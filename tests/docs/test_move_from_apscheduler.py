"""Each call of the comparison with APScheduler is made, on both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from gnomon import BackgroundKernel, ExecutionQuery

PAGE = Path(__file__).parents[2] / "docs/how-to/move-from-apscheduler.md"
ROW = re.compile(r"^\| `(?P<theirs>.+)` \| `(?P<ours>.+)` \|$", re.MULTILINE)


def calls() -> list[tuple[str, str]]:
    section = PAGE.read_text(encoding="utf-8").partition("## Call for call")[2].partition("\n## ")[0]
    return [(row["theirs"].replace(r"\|", "|"), row["ours"]) for row in ROW.finditer(section)]


def sync() -> None:
    """Stand for a job of the reader."""


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """Provide what the page assumes: a scheduler and a kernel that run, and a few names."""
    scheduler = BackgroundScheduler(timezone="UTC")
    with BackgroundKernel() as kernel:
        scheduler.start()
        scheduler.pause()  # the calls are about jobs: none of them needs a run
        yield {
            "scheduler": scheduler,
            "kernel": kernel,
            "sync": sync,
            "listener": print,
            "tomorrow": datetime.now(UTC) + timedelta(days=1),
            "datetime": datetime,
            "UTC": UTC,
            "CronTrigger": CronTrigger,
            "ExecutionQuery": ExecutionQuery,
            "StringIO": StringIO,
            "EVENT_JOB_EXECUTED": EVENT_JOB_EXECUTED,
            "EVENT_JOB_ERROR": EVENT_JOB_ERROR,
        }
        if scheduler.running:
            scheduler.shutdown()


def test_each_call_is_made_on_both_sides(names: dict[str, Any]) -> None:
    found = calls()
    assert len(found) > 20

    for theirs, ours in found:
        try:
            eval(theirs, names)  # noqa: S307 - code of this repository
            eval(ours, names)  # noqa: S307
        except Exception as exc:  # noqa: BLE001 - the reader sees which call it was
            pytest.fail(f"{theirs} | {ours}: {exc!r}")
        _compare(theirs, ours, names)


def _compare(theirs: str, ours: str, names: dict[str, Any]) -> None:
    """Compare the jobs of both sides after each call that changes them."""
    if not re.search(r"\.(add|modify|reschedule|pause|resume)_job", theirs) or "next_run_time=datetime" in theirs:
        return
    jobs = {job.id: job for job in names["scheduler"].get_jobs()}
    views = {view.job.id: view for view in names["kernel"].jobs()}
    assert jobs.keys() == views.keys(), (theirs, ours)
    for job_id, job in jobs.items():
        assert (job.next_run_time is None) == views[job_id].state.paused, (theirs, ours)
        assert job.max_instances == views[job_id].job.instances, (theirs, ours)
