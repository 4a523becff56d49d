"""Jobs as `gnomon jobs` lists them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gnomon.cli.access.job_listing import job_listing
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


def test_a_paused_job_has_no_next_fire() -> None:
    every = job(every=Duration(minutes=10))
    state = known(every, paused=True, paused_by="ana")

    found = job_listing(every, state, None, [], AT)

    assert (found.state, found.paused_by, found.next_fire) == ("paused", "ana", None)


def test_the_words_of_an_operator_replace_those_of_the_definition() -> None:
    named = job(every=Duration(minutes=10), name="Sync", description="Every noon")

    shown = [
        (found.name, found.display_name, found.note)
        for found in (
            job_listing(named, known(named, display_name="Prices", note="ask Bob first"), None, [], AT),
            job_listing(named, known(named), None, [], AT),
        )
    ]

    assert shown == [("Sync", "Prices", "ask Bob first"), ("Sync", "Sync", "Every noon")]
