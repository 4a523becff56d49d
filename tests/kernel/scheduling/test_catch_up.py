from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.domain.events import MissedReason
from gnomon.errors import TriggerError
from gnomon.scheduling.catch_up import ON_TIME, Absence, Backlog, CatchUp, MissedRange, fires, next_fire
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.foreign_triggers import ForeignTrigger
from gnomon.scheduling.triggers import AnchoredTrigger, AtTrigger, EveryTrigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVERY_HOUR = EveryTrigger(HOUR)


class StandingTrigger:
    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return NOON


def backlog(
    catch_up: CatchUp, *times: datetime, grace: timedelta | None = None, absence: Absence | None = None
) -> Backlog:
    taken = Backlog(catch_up, grace, absence or Absence())
    for time in times:
        taken.add(time)
    return taken


def range_of(reason: MissedReason, first: int, last: int, count: int) -> MissedRange:
    return MissedRange(reason, NOON + first * HOUR, NOON + last * HOUR, count)


def hours(*numbers: int) -> list[datetime]:
    return [NOON + number * HOUR for number in numbers]


# --- which fires there are


def test_the_first_fire_comes_after_the_anchor_and_not_at_it() -> None:
    cron = CronTrigger("0 12 * * *", UTC)

    assert next_fire(cron, None, NOON - timedelta(microseconds=1)) == NOON
    assert next_fire(cron, None, NOON) == NOON + timedelta(days=1)


def test_later_fires_are_counted_from_the_last_one() -> None:
    assert list(fires(EVERY_HOUR, NOON, NOON - 9 * HOUR, NOON + 3 * HOUR)) == hours(1, 2, 3)
    assert list(fires(EVERY_HOUR, None, NOON, NOON + 2 * HOUR)) == hours(1, 2)


def test_a_single_time_that_is_past_already_is_due_all_the_same() -> None:
    assert list(fires(AtTrigger(NOON, UTC), None, NOON + HOUR, NOON + 2 * HOUR)) == [NOON]


def test_a_single_time_that_the_job_had_before_does_not_come_again() -> None:
    again = next_fire(AtTrigger(NOON, UTC), None, NOON + HOUR, newest=NOON)
    other = next_fire(AtTrigger(NOON + MINUTE, UTC), None, NOON + HOUR, newest=NOON)

    assert (again, other) == (None, NOON + MINUTE)


def test_a_trigger_that_does_not_move_on_is_refused() -> None:
    with pytest.raises(TriggerError, match="does not move on"):
        next_fire(ForeignTrigger(StandingTrigger(), UTC), NOON, NOON)


# --- their outcomes


def test_latest_runs_the_newest_and_folds_the_others() -> None:
    decision = backlog("latest", *hours(0, 1, 2, 3)).decide(NOON + 4 * HOUR)

    assert decision.run == hours(3)
    assert decision.missed == [range_of("late", 0, 2, 3)]


def test_all_runs_each_in_order() -> None:
    decision = backlog("all", *hours(0, 1, 2)).decide(NOON + 4 * HOUR)

    assert (decision.run, decision.missed) == (hours(0, 1, 2), [])


def test_none_runs_the_newest_only_if_it_is_on_time() -> None:
    on_time = backlog("none", *hours(0, 1)).decide(NOON + HOUR + ON_TIME)
    late = backlog("none", *hours(0, 1)).decide(NOON + HOUR + ON_TIME + MINUTE)

    assert (on_time.run, [one.count for one in on_time.missed]) == (hours(1), [1])
    assert (late.run, [one.count for one in late.missed]) == ([], [2])


@pytest.mark.parametrize(("catch_up", "expected"), [("latest", [3]), ("all", [2, 3]), ("none", [3])])
def test_what_is_later_than_its_grace_does_not_run(catch_up: CatchUp, expected: list[int]) -> None:
    decision = backlog(catch_up, *hours(0, 1, 2, 3), grace=2 * HOUR).decide(NOON + 4 * HOUR)

    assert decision.run == hours(*expected)
    assert sum(one.count for one in decision.missed) == 4 - len(expected)


def test_a_grace_of_zero_is_a_grace() -> None:
    assert backlog("latest", NOON, grace=timedelta()).decide(NOON + MINUTE).run == []
    assert backlog("latest", NOON, grace=timedelta()).decide(NOON).run == [NOON]


def test_ranges_are_split_where_the_reason_changes() -> None:
    absence = Absence(paused_until=NOON + HOUR, down_until=NOON + 3 * HOUR)

    missed = backlog("latest", *hours(0, 1, 2, 3, 4, 5), absence=absence).decide(NOON + 6 * HOUR).missed

    assert missed == [
        range_of("paused", 0, 1, 2),
        range_of("downtime", 2, 3, 2),
        range_of("late", 4, 4, 1),
    ]


def test_a_schedule_that_goes_away_misses_all_that_is_left() -> None:
    assert backlog("latest", *hours(0, 1, 2)).miss_all() == [range_of("late", 0, 2, 3)]
    assert backlog("latest").miss_all() == []


@given(
    catch_up=st.sampled_from(["latest", "all", "none"]),
    gaps=st.lists(st.integers(1, 300), max_size=40),
    grace=st.none() | st.integers(0, 5000),
    late=st.integers(0, 500),
    paused=st.none() | st.integers(0, 5000),
    down=st.none() | st.integers(0, 5000),
)
def test_every_fire_comes_out_exactly_once(
    catch_up: CatchUp, gaps: list[int], grace: int | None, late: int, paused: int | None, down: int | None
) -> None:
    times, moment = [], NOON
    for gap in gaps:
        moment += gap * MINUTE
        times.append(moment)
    limits = [None if limit is None else NOON + limit * MINUTE for limit in (paused, down)]
    allowed = None if grace is None else grace * MINUTE

    taken = backlog(catch_up, *times, grace=allowed, absence=Absence(*limits))
    decision = taken.decide(moment + late * MINUTE)

    inside = [[time for time in times if one.first <= time <= one.last] for one in decision.missed]
    assert [len(found) for found in inside] == [one.count for one in decision.missed]
    assert sorted([*decision.run, *chain.from_iterable(inside)]) == times
    assert decision.run == sorted(decision.run)
    assert len(decision.run) <= (len(times) if catch_up == "all" else 1)
    assert all(one.reason != other.reason for one, other in pairwise(decision.missed))


@given(
    trigger=st.sampled_from([EVERY_HOUR, CronTrigger("*/7 * * * *", UTC), CronTrigger("30 2 * * *", UTC)]),
    pauses=st.lists(st.integers(1, 500), max_size=10),
)
def test_asking_in_parts_finds_the_same_fires_as_asking_once(trigger: AnchoredTrigger, pauses: list[int]) -> None:
    end, last, found = NOON, None, []
    for pause in pauses:
        end += pause * MINUTE
        for fire in fires(trigger, last, NOON, end):
            found.append(fire)
            last = fire

    assert found == list(fires(trigger, None, NOON, end))
