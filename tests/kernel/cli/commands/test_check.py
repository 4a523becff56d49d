"""The outlook that `gnomon check` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from gnomon.cli.commands.check import outlook, policies
from gnomon.durations import Duration
from gnomon.jobs.job import Job, Retry
from gnomon.text import moment

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


def body() -> None:
    pass


def job(**keys: Any) -> Job:
    return Job(id="sync", func=body, timezone="Asia/Shanghai", **keys)


def test_only_policies_that_differ_are_shown() -> None:
    strict = job(cron="0 18 * * *", overlap="queue", timeout=Duration(hours=2), retry=Retry(attempts=2))

    assert policies(job(cron="0 18 * * *")) == {}
    assert policies(strict).keys() == {"overlap", "timeout", "retry"}


def test_the_outlook_of_a_job_is_in_its_own_zone() -> None:
    found = outlook(job(cron="0 18 * * *"), AT)

    assert [moment(fire, SHANGHAI) for fire in found["next_fires"][:2]] == [
        "2026-12-02 18:00 +08",
        "2026-12-03 18:00 +08",
    ]
