"""The next fires of a job, from its definition and the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon.analysis.upcoming import state_of, upcoming
from gnomon.domain.job_state import JobState
from gnomon.durations import Duration
from gnomon.jobs.job import Job

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


def body() -> None:
    pass


def job(**keys: Any) -> Job:
    return Job(id="sync", func=body, timezone="Asia/Shanghai", **keys)


def known(of: Job, **keys: Any) -> JobState:
    return JobState(job_id=of.id, definition=of.definition(), anchor=AT - timedelta(hours=1), **keys)


def test_an_interval_continues_from_its_last_fire() -> None:
    every = job(every=Duration(minutes=10))
    state = known(every, last_fire=AT - timedelta(minutes=3))

    assert upcoming(every, state, AT, 2).fires == [AT + timedelta(minutes=7), AT + timedelta(minutes=17)]


def test_a_fire_that_no_kernel_handled_is_overdue() -> None:
    every = job(every=Duration(minutes=10))
    state = known(every, last_fire=AT - timedelta(minutes=13))

    found = upcoming(every, state, AT, 1)

    assert found.overdue == AT - timedelta(minutes=3)
    assert found.fires == [AT + timedelta(minutes=7)]


def test_after_years_without_a_kernel_fires_are_counted_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.analysis.upcoming.MOST_PAST_FIRES", 10)
    every = job(every=Duration(seconds=1))

    found = upcoming(every, known(every), AT, 2)

    assert found.overdue == AT - timedelta(hours=1) + timedelta(seconds=1)
    assert found.fires == [AT + timedelta(seconds=1), AT + timedelta(seconds=2)]


def test_a_date_in_the_past_is_overdue_once_and_has_no_next_fire() -> None:
    once = job(at=AT - timedelta(minutes=5))

    found = upcoming(once, known(once), AT, 5)

    assert (found.overdue, found.fires) == (AT - timedelta(minutes=5), [])


def test_a_definition_is_new_or_changed_until_the_log_has_it() -> None:
    old, new = job(every=Duration(minutes=10)), job(every=Duration(minutes=5))

    assert state_of(old, None) == "new"
    assert state_of(old, known(old, removed=True)) == "new"
    assert state_of(old, known(old)) == "active"
    assert state_of(new, known(old)) == "changed"
