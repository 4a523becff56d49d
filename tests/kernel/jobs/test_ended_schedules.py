"""Schedules without a fire to come: refused for new jobs, and shown by previews, plans and checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon import Job, JobError, JobOrdersError, Kernel, TriggerError
from gnomon.analysis.plan import plan
from gnomon.domain.job_order import JobOrder
from gnomon.errors import JobKeysError
from gnomon.jobs.definition import convert_job
from gnomon.jobs.ended_schedules import find_end
from gnomon.jobs.registered import RegisteredJob, register_job
from gnomon.testing import VirtualClock

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENDED: dict[str, tuple[dict[str, Any], str, str]] = {
    "end past": ({"every": "1h", "end": NOW - HOUR}, "end", "is before the next fire, 2026-11-29 13:00 UTC"),
    "end before the next fire": ({"cron": "0 0 1 1 *", "end": NOW + HOUR}, "end", "2027-01-01 00:00 UTC"),
    "year past": ({"trigger": {"type": "cron", "year": 2020, "hour": 5}}, "trigger", "it has no fire after now"),
    "end of a trigger": (
        {"trigger": {"type": "interval", "hours": 1, "end_date": "2020-01-01 00:00:00"}},
        "trigger",
        "it has no fire after now (2026-11-29 12:00 UTC)",
    ),
    "excluded from now on": ({"every": "1h", "exclude": [{"from": "2026-01-01"}]}, "exclude", "all fires after now"),
    "each schedule": (
        {"schedules": [{"every": "1h", "end": NOW - HOUR}, {"every": "2h", "end": NOW - HOUR}]},
        "schedules",
        "it has no fire after now",
    ),
    "jitter": ({"every": "1h", "end": NOW - HOUR, "jitter": "1m"}, "end", "is before the next fire"),
}
PAST = [
    {"at": NOW - HOUR},
    {"at": NOW - HOUR, "catch_up": "none"},
    {"trigger": {"type": "date", "run_date": "2020-01-01 00:00:00"}},
    {"schedules": [{"at": NOW - HOUR}, {"at": NOW - 2 * HOUR}]},
]
GOES_ON = [
    {"every": "1h"},
    {"at": NOW + HOUR},
    {"cron": "0 0 29 2 *"},
    {"schedules": [{"at": NOW - HOUR}, {"every": "1h"}]},
    {"every": "1h", "end": NOW + HOUR},
    {},
]


def registered(keys: dict[str, Any]) -> RegisteredJob:
    return register_job(convert_job({"id": "x", "func": "time:time", **keys}), "UTC")


def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.mark.parametrize(("keys", "key", "text"), ENDED.values(), ids=ENDED)
async def test_a_new_job_that_would_never_run_is_refused(keys: dict[str, Any], key: str, text: str) -> None:
    table = {"id": "x", "func": "time:time", **keys}
    job = convert_job(table)
    async with Kernel(clock=clock()) as kernel:
        head = kernel.health().position
        orders = [
            kernel.add_job(job),
            kernel.add_jobs([job]),
            kernel.order_job(JobOrder(how="add", job_id="x", keys=table), trusted=True),
            kernel.order_job(JobOrder(how="replace", job_id="x", keys=table), trusted=True),
        ]
        for order in orders:
            with pytest.raises(JobKeysError) as caught:
                await order
            assert caught.value.problems[0][0] == key
            assert text in caught.value.problems[0][1]
        with pytest.raises(JobOrdersError, match=rf"\[0\]\.{key}: "):
            await kernel.order_jobs([table], trusted=True)
        preview = await kernel.preview_job(table, trusted=True)
        assert kernel.health().position == head

        await kernel.add_job(job, keep=True)
        assert (await kernel.job("x")).next_fire is None

    assert not preview.ok
    assert [problem.key for problem in preview.problems] == [key]


@pytest.mark.parametrize(("keys", "key", "text"), ENDED.values(), ids=ENDED)
async def test_a_schedule_that_is_changed_to_an_end_ends_with_a_warning(
    keys: dict[str, Any], key: str, text: str
) -> None:
    async with Kernel(clock=clock()) as kernel:
        await kernel.add_job(Job(id="x", func="time:time", cron="0 * * * *"))
        preview = await kernel.preview_job({"id": "x", "func": "time:time", **keys}, trusted=True)

    assert preview.ok
    assert [warning.key for warning in preview.warnings] == [key]
    assert text in preview.warnings[0].detail


@pytest.mark.parametrize("keys", PAST)
async def test_a_time_that_is_past_is_late_but_due_and_told(keys: dict[str, Any]) -> None:
    async with Kernel(clock=clock()) as kernel:
        preview = await kernel.preview_job({"id": "x", "func": "time:time", **keys}, trusted=True)
        await kernel.add_job(convert_job({"id": "x", "func": "time:time", **keys}))

    assert preview.ok
    (warning,) = preview.warnings
    assert "is past, and no other fire comes: with this `catch_up` it" in warning.detail
    assert warning.detail.endswith("does not run") == (keys.get("catch_up") == "none")


@pytest.mark.parametrize("keys", GOES_ON)
def test_a_schedule_with_a_fire_to_come_has_not_ended(keys: dict[str, Any]) -> None:
    found = registered(keys)

    assert find_end(found.job, found.trigger, NOW) is None


class Foreign:
    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        raise AssertionError("it may take any time, so it is not asked on the event loop")


def test_a_trigger_of_the_program_is_not_asked() -> None:
    found = register_job(Job(id="x", func="time:time", trigger=Foreign()), "UTC")

    assert find_end(found.job, found.trigger, NOW) is None


@pytest.mark.parametrize(("keys", "key", "text"), ENDED.values(), ids=ENDED)
def test_a_plan_notes_a_schedule_that_has_ended(keys: dict[str, Any], key: str, text: str) -> None:
    (planned,) = plan([], [registered(keys)], NOW).jobs

    (note,) = planned.notes
    assert note.startswith(f"{key}: ")
    assert text in note


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"cron": "0 0 30 2 *"}, "never fires: no date matches"),
        ({"cron": "0 0 1 1 *", "start": "2026-02-01T00:00:00", "end": "2026-03-01T00:00:00"}, "no fire is between sta"),
        ({"at": "2026-02-01T00:00:00", "end": "2026-01-01T00:00:00"}, "is not between start and end"),
        ({"every": "1h", "start": "2026-02-01T00:00:00", "end": "2026-01-01T00:00:00"}, "is before start"),
        (
            {"schedules": [{"cron": "0 0 1 1 *", "start": "2026-02-01T00:00:00", "end": "2026-03-01T00:00:00"}]},
            "no fire is between start",
        ),
        ({"trigger": {"type": "cron", "month": 2, "day": 30}}, "never fires"),
        ({"cron": "0 9 * * 1", "exclude": [{"cron": "* * * * 1"}]}, "all its fires are excluded"),
    ],
)
def test_a_schedule_that_can_never_fire_is_not_valid(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises((TriggerError, JobError), match=problem):
        registered(keys)
