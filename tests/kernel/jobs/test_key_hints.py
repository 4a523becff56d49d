"""The names that other schedulers have for a key lead to the key."""

from collections.abc import Callable
from typing import Any

import pytest

from gnomon import Job, JobError
from gnomon.jobs.changes import changed_job
from gnomon.jobs.definition import convert_job
from gnomon.jobs.plain_functions import job_of

NAMES: dict[str, tuple[Any, str]] = {
    "misfire_grace_time": (60, "`grace`"),
    "coalesce": (True, "`catch_up`"),
    "replace_existing": (True, "replace=True"),
    "next_run_time": (None, "paused = true"),
    "trigger_args": ({}, "table of the trigger"),
    "executor": ("processpool", "`runner`"),
    "jobstore": ("default", "one log"),
    "run_date": ("2026-12-01", "at = "),
    "start_date": ("2026-12-01", "start = "),
    "end_date": ("2026-12-01", "end = "),
    "minutes": (5, 'every = "5m"'),
    "hours": (2, 'every = "2h"'),
    "days": (2, 'every = "2d"'),
    "weeks": (2, 'every = "2w"'),
    "hour": (18, 'type = "cron"'),
    "day_of_week": ("mon-fri", 'type = "cron"'),
    "week": (1, 'type = "cron"'),
    "crontab": ("0 18 * * *", "cron = "),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_name_of_a_key_leads_to_the_key(name: str) -> None:
    value, hint = NAMES[name]

    refusals: list[Callable[[], Job]] = [
        lambda: job_of("time:time", {"id": "x", name: value}),
        lambda: changed_job(Job(id="x", func="time:time"), {name: value}),
        lambda: convert_job({"id": "x", "func": "time:time", name: value}),
    ]
    for refused in refusals:
        with pytest.raises(JobError) as caught:
            refused()
        assert f".{name}: unknown key; " in str(caught.value)
        assert hint in str(caught.value)


@pytest.mark.parametrize("text", ["interval", "cron", "date"])
def test_a_trigger_by_name_is_answered_with_a_table(text: str) -> None:
    job = job_of("time:time", {"id": "x", "trigger": text})

    with pytest.raises(JobError, match=f'such as trigger = {{ type = "{text}"'):
        job.build_trigger()


def test_none_still_removes_a_key_that_exists() -> None:
    assert changed_job(Job(id="x", func="time:time", name="X"), {"name": None}).name == ""
