"""The schedule keys of APScheduler's triggers name the same fires as the triggers themselves."""

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.integrations.apscheduler.pickled_state import load_state
from gnomon.integrations.apscheduler.triggers import schedule_keys
from gnomon.integrations.job_import import NotTakenError
from gnomon.jobs.definition import convert_job
from gnomon.scheduling.catch_up import fires

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
FAR = NOON + timedelta(days=4000)
STEPS = ["*", "*/2", "*/5", "3", "1-4", "2-6/2", "3,5"]


def ours(trigger: BaseTrigger, most: int = 6) -> list[datetime]:
    job = convert_job({"id": "x", "func": "time:time", **schedule_keys(trigger)})
    built = job.build_trigger()
    assert built is not None
    return list(islice(fires(built, NOON, NOON, FAR), most))


def theirs(trigger: BaseTrigger, most: int = 6) -> list[datetime]:
    def walk() -> Iterator[datetime]:
        fire = trigger.get_next_fire_time(None, NOON + timedelta(microseconds=1))
        while fire is not None and fire <= FAR:
            if fire > NOON:  # a calendar interval names past times too
                yield fire.astimezone(UTC)
            fire = trigger.get_next_fire_time(fire, fire + timedelta(microseconds=1))

    return list(islice(walk(), most))


@settings(max_examples=60)
@given(
    second=st.sampled_from(["0", "30", "*/20"]),
    minute=st.sampled_from([*STEPS, "50/5"]),
    hour=st.sampled_from(STEPS),
    day=st.sampled_from([*STEPS, "last", "2nd fri", "last sun", "1st mon, 15", "20/3"]),
    month=st.sampled_from(["*", "*/3", "jan-jun", "2", "dec"]),
    day_of_week=st.sampled_from(["*", "*/2", "0", "6", "0-4", "mon-fri", "sat,sun", "3/2", "wed"]),
)
def test_a_cron_trigger_keeps_its_fires(**fields: str) -> None:
    trigger = CronTrigger(**fields, timezone="UTC")

    assert ours(trigger) == theirs(trigger)


@pytest.mark.parametrize(
    "trigger",
    [
        DateTrigger(NOON + timedelta(hours=1)),
        IntervalTrigger(minutes=7, start_date=NOON - timedelta(days=3, seconds=11)),
        IntervalTrigger(seconds=1.5, start_date=NOON, end_date=NOON + timedelta(seconds=4)),
        CalendarIntervalTrigger(months=1, hour=3, minute=30, start_date=NOON.date(), timezone="Asia/Shanghai"),
        CronTrigger(hour=18, day_of_week="mon-fri", timezone="Asia/Shanghai"),
        CronTrigger.from_crontab("0 9 * * 0", timezone="UTC"),
        CronTrigger(year="2027-2028", month=2, day="last", hour=3, timezone="UTC"),
        CronTrigger(week="*/2", day_of_week="mon,thu", hour=3, minute="*/20", timezone="UTC"),
        CronTrigger(week=1, second=30, timezone="UTC"),
        CronTrigger(hour=3, start_date=NOON + timedelta(days=3), end_date=NOON + timedelta(days=5), timezone="UTC"),
        OrTrigger([CronTrigger(hour=3, timezone="UTC"), CronTrigger(hour=5, minute=30, timezone="UTC")]),
    ],
    ids=str,
)
def test_other_triggers_keep_their_fires(trigger: BaseTrigger) -> None:
    assert ours(trigger) == theirs(trigger)


def test_triggers_that_must_agree_have_the_fires_that_they_share() -> None:
    both = AndTrigger([CronTrigger(hour=3, timezone="UTC"), CronTrigger(day="*/2", hour=3, timezone="UTC")])

    assert ours(both) == theirs(CronTrigger(day="*/2", hour=3, timezone="UTC"))  # its own search never ends (3.11.3)


def test_jitter_delays_each_fire_by_at_most_as_much() -> None:
    with_jitter = ours(CronTrigger(hour=3, jitter=600, timezone="UTC"))
    without = theirs(CronTrigger(hour=3, timezone="UTC"))

    delays = [late - fire for late, fire in zip(with_jitter, without, strict=True)]
    assert all(timedelta() <= delay <= timedelta(seconds=600) for delay in delays)
    assert len(set(delays)) > 1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_state_of_every_pickle_protocol_is_read(protocol: int) -> None:
    trigger = CronTrigger(hour=3, day="last", timezone="Asia/Shanghai")

    keys = schedule_keys(load_state(pickle.dumps(trigger, protocol)))

    assert keys == {"cron": "0 3 L * *", "timezone": "Asia/Shanghai"}


class PayDay(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return None


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (PayDay(), "is of the class .*PayDay"),
        (OrTrigger([CronTrigger(hour=3, end_date=FAR, timezone="UTC")]), "has end_date, which only a job can have"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_reason(trigger: Any, reason: str) -> None:
    with pytest.raises(NotTakenError, match=reason):
        schedule_keys(trigger)
