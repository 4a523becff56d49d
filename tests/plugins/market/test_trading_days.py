"""A job excludes the days on which an exchange is closed; the schedule is built without the plugin."""

from datetime import UTC, datetime, timedelta

import pytest

from gnomon.errors import TriggerError
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import fires


def body() -> None:
    pass


def test_a_job_does_not_fire_on_days_without_a_session() -> None:
    job = Job(id="bars", func=body, cron="0 18 * * *", timezone="America/New_York", exclude=[{"calendar": "NYSE"}])
    trigger = rebuild_job(job.definition()).trigger
    assert trigger is not None
    anchor = datetime(2025, 11, 25, tzinfo=UTC)

    found = list(fires(trigger, None, anchor, anchor + timedelta(days=7, hours=23)))

    # 27 November 2025 was Thanksgiving, the 29th and 30th a weekend.
    assert [(fire - timedelta(hours=12)).day for fire in found] == [25, 26, 28, 1, 2]


def test_a_name_that_no_calendar_has_is_refused_with_a_similar_one() -> None:
    with pytest.raises(TriggerError, match=r"calendar 'nyse' is not available: market: .*did you mean 'NYSE'"):
        Job(id="bars", func=body, cron="0 18 * * *", exclude=[{"calendar": "nyse"}]).build_trigger()
