"""Schedules with the values that programs have: time zones as objects, dates for times."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon import Job, JobError, Kernel, TriggerError
from gnomon.jobs.definition import convert_job, stored_job
from gnomon.testing import VirtualClock

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Pytz(tzinfo):
    """A zone as pytz has it."""

    zone = "Europe/Berlin"

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        return BERLIN.utcoffset(dt)

    def dst(self, dt: datetime | None, /) -> timedelta | None:
        return BERLIN.dst(dt)

    def tzname(self, dt: datetime | None, /) -> str | None:
        return BERLIN.tzname(dt)


@pytest.mark.parametrize(("zone", "name"), [(BERLIN, "Europe/Berlin"), (UTC, "UTC"), (Pytz(), "Europe/Berlin")])
def test_a_time_zone_may_be_an_object(zone: Any, name: str) -> None:
    keys = {"id": "x", "func": "time:time", "cron": "0 9 * * *", "timezone": zone}

    assert Job(**keys).timezone == convert_job(keys).timezone == name


def test_an_offset_without_a_name_is_refused_with_what_is_expected() -> None:
    with pytest.raises(JobError, match="has no name: expected an IANA name such as 'Europe/Berlin', or a ZoneInfo"):
        Job(id="x", func="time:time", cron="0 9 * * *", timezone=timezone(timedelta(hours=1)))  # type: ignore[arg-type]


@pytest.mark.parametrize("as_text", [False, True])
async def test_a_date_begins_at_midnight_and_ends_with_its_day(as_text: bool) -> None:
    first, last = date(2026, 12, 1), date(2026, 12, 2)
    days: dict[str, Any] = {"start": str(first), "end": str(last)} if as_text else {"start": first, "end": last}
    async with Kernel(clock=VirtualClock(NOW)) as kernel:
        await kernel.add_job("time:time", id="hourly", cron="0 * * * *", timezone=BERLIN, **days)
        await kernel.add_job("time:time", id="once", at=str(first) if as_text else first, timezone=BERLIN)
        await kernel.add_job("time:time", id="both", schedules=[{"every": "1h", "timezone": "Europe/Berlin", **days}])
        jobs = [(await kernel.job(job_id)) for job_id in ("hourly", "once", "both")]

    midnight = datetime(2026, 12, 1, tzinfo=BERLIN)
    assert [view.next_fire for view in jobs] == [midnight] * 3
    rebuilt = stored_job(jobs[0].state.definition).build_trigger()
    assert rebuilt is not None
    assert rebuilt.fire_after(datetime(2026, 12, 2, 22, 30, tzinfo=BERLIN), NOW) == datetime(
        2026, 12, 2, 23, tzinfo=BERLIN
    )
    assert rebuilt.fire_after(datetime(2026, 12, 2, 23, tzinfo=BERLIN), NOW) is None


@pytest.mark.parametrize("key", ["at", "start", "end"])
@pytest.mark.parametrize("value", ["2026", "20261201", "2026-13-01"])
async def test_a_text_that_is_no_time_is_refused(key: str, value: str) -> None:
    keys = {"id": "x", "func": "time:time", key: value} | ({} if key == "at" else {"every": "1h"})
    async with Kernel() as kernel:
        preview = await kernel.preview_job(keys, trusted=True)

    assert [problem.key for problem in preview.problems] == [key]
    with pytest.raises((JobError, TriggerError)):
        Job(**keys)  # type: ignore[arg-type]
