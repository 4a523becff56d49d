"""How long a running body still needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.domain.estimates import past_run, timing, typical_duration
from gnomon.domain.eta import Eta, PastRun, estimate_rest, remaining_of
from gnomon.domain.execution import Execution
from gnomon.domain.progress import ProgressView, Step
from gnomon.text import span

START = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = 60.0
NOBODY_KNOWS = None


def after(seconds: float) -> datetime:
    return START + seconds * SECOND


def rest(view: ProgressView, elapsed: float, past: list[float] | list[PastRun]) -> Eta | None:
    runs = [one if isinstance(one, PastRun) else PastRun(one) for one in past]
    return estimate_rest(view, elapsed, runs, after(elapsed))


@pytest.mark.parametrize("usual", [[10.0] * 20, [9.0, 9.5, 10.0, 10.5, 11.0] * 4, [9.8, 10.0, 10.3]])
def test_a_run_that_is_73_percent_done_after_8_of_10_minutes_has_2_to_3_left(usual: list[float]) -> None:
    eta = rest(ProgressView(percent=73.0), 8 * MINUTE, [minutes * MINUTE for minutes in usual])

    assert eta is not None
    assert (span(eta.low, eta.high), eta.basis) == ("2 to 3 m", "progress and past")


def test_without_progress_the_past_is_conditional_on_what_has_passed() -> None:
    quick_or_slow = [60.0] * 10 + [600.0, 660.0, 720.0] * 3

    at_once, later = rest(ProgressView(), 10.0, quick_or_slow), rest(ProgressView(), 120.0, quick_or_slow)

    assert at_once is not None
    assert later is not None
    assert at_once.low == pytest.approx(50)  # most are quick
    assert later.low > 300  # this one is not, so it is one of the slow ones
    assert later.high == pytest.approx(600)
    assert {at_once.basis, later.basis} == {"past"}


def test_a_run_that_is_longer_than_every_past_one_has_no_estimate_but_its_own_pace() -> None:
    assert rest(ProgressView(), 200, [100.0] * 5) is NOBODY_KNOWS
    paced = rest(ProgressView(percent=50.0), 200, [100.0] * 5)
    assert paced is not None
    assert (paced.low < 200 < paced.high, paced.basis) == (True, "progress")


def test_nothing_is_known_from_two_past_runs_and_no_progress() -> None:
    assert rest(ProgressView(), 10, [100.0, 100.0]) is NOBODY_KNOWS
    assert rest(ProgressView(percent=0.0), 10, []) is NOBODY_KNOWS


def test_an_early_percentage_does_not_make_the_range_jump() -> None:
    before, then = (rest(ProgressView(percent=percent), 30, [600.0] * 9) for percent in (None, 1.0))

    assert before is not None
    assert then is not None
    assert before.low == pytest.approx(570)
    assert then.low == pytest.approx(570, rel=0.1)
    assert then.high == pytest.approx(570, rel=0.12)  # at its own pace it would take 50 minutes


def test_the_range_closes_as_the_run_advances() -> None:
    past = [50.0, 100.0, 150.0, 200.0] * 3
    widths = []
    for percent in (10, 30, 50, 70, 90, 100):
        eta = rest(ProgressView(percent=percent), float(percent), past)
        assert eta is not None
        widths.append(eta.high - eta.low)

    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 0


def steps_of(*states: str, seconds: float = 10.0) -> ProgressView:
    """Return steps a, b, c ... in these states; each completed one took `seconds`."""
    steps, begin = [], START
    for name, state in zip("abcdef", states, strict=False):
        end = begin + seconds * SECOND
        is_over = state == "completed"
        started = begin if state != "pending" else None
        steps.append(Step(name, state, started_at=started, ended_at=end if is_over else None))  # type: ignore[arg-type]
        begin = end if is_over else begin
    return ProgressView(steps=tuple(steps), declared=True, percent=50.0)


PAST_STEPS = [PastRun(100 + n, {"a": 10.0, "b": 10.0, "c": 80.0 + n}) for n in range(-2, 3)]


def test_steps_that_are_left_count_with_their_usual_time_and_not_by_weight() -> None:
    eta = rest(steps_of("completed", "completed", "current"), 25, PAST_STEPS)

    assert eta is not None
    assert eta.basis == "steps"
    assert [eta.low, eta.high] == pytest.approx([73, 77])  # 50 % of weights would be 25 s


@pytest.mark.parametrize(("begun", "least"), [(["current"], 95), (["completed", "current"], 85)])
def test_steps_that_a_body_enters_one_by_one_are_expected_as_in_the_past(begun: list[str], least: float) -> None:
    """`ctx.step("a")` says nothing about "b" and "c", which past runs had: with them the run is far from its end."""
    view = msgspec.structs.replace(steps_of(*begun), declared=False, percent=None)

    eta = rest(view, 10 * len(begun) - 5, PAST_STEPS)

    assert eta is not None
    assert eta.basis == "steps"
    assert least - 3 < eta.low < eta.high < least + 3


def test_a_step_that_only_some_past_runs_had_counts_for_those() -> None:
    view = msgspec.structs.replace(steps_of("current"), declared=False, percent=None)

    eta = rest(view, 5, [PastRun(10, {"a": 10.0})] * 4 + [PastRun(70, {"a": 10.0, "clean up": 60.0})] * 4)

    assert eta is not None
    assert (eta.low, eta.high) == pytest.approx((5, 65))


def test_a_step_that_came_before_the_current_one_is_not_to_come() -> None:
    view = msgspec.structs.replace(steps_of("current"), declared=False, percent=None)

    eta = rest(view, 5, [PastRun(70, {"warm up": 60.0, "a": 10.0})] * 4)

    assert eta is not None
    assert (eta.low, eta.high) == pytest.approx((5, 5))


def test_a_slow_run_is_slow_in_its_next_steps() -> None:
    usual, slow = (
        rest(steps_of("completed", "completed", "pending", seconds=seconds), 2 * seconds, PAST_STEPS)
        for seconds in (10, 30)
    )

    assert usual is not None
    assert slow is not None
    assert usual.low == pytest.approx(78)
    assert slow.low == pytest.approx(78 * 1.4)  # three times as slow in a fifth of its time


def test_items_count_within_the_current_step() -> None:
    view = msgspec.structs.replace(steps_of("current"), processed_items=9, total_items=10)
    past = [PastRun(60.0, {"a": 100.0})] * 3

    eta = rest(view, 20, past)

    assert eta is not None
    assert eta.high < 12  # a tenth of the items is left, and they take 2 s at this pace; usually it would be 80 s


def test_an_unknown_step_leaves_the_percentage() -> None:
    eta = rest(steps_of("completed", "current", "pending", "pending"), 20, PAST_STEPS)

    assert eta is not None
    assert eta.basis == "progress and past"


@given(
    past=st.lists(st.floats(0, 1e6), max_size=25),
    elapsed=st.floats(0, 1e6),
    percent=st.none() | st.floats(0, 100),
)
def test_a_range_is_in_order_and_finite(past: list[float], elapsed: float, percent: float | None) -> None:
    eta = rest(ProgressView(percent=percent), elapsed, past)

    assert eta is None or 0 <= eta.low <= eta.middle <= eta.high < float("inf")


@given(st.lists(st.floats(1, 1e5), min_size=3, max_size=20), st.floats(0, 1e5))
def test_what_is_left_is_what_runs_that_lasted_longer_had_left(past: list[float], elapsed: float) -> None:
    found = remaining_of(past, elapsed)

    assert (found is None) == (elapsed >= max(past))
    assert found is None or found[1] <= max(past) - elapsed


# --- of executions ---


def success(seconds: float, **steps: float) -> Execution:
    done = tuple(
        Step(name, "completed", started_at=START, ended_at=START + spent * SECOND) for name, spent in steps.items()
    )
    return Execution(
        id="0" * 24,
        job_id="j",
        status="success",
        scheduled_time=START,
        timestamp=START,
        updated_at=START,
        execution_time=seconds,
        progress=ProgressView(percent=100.0, steps=done),
    )


def running(**more: Any) -> Execution:
    run = success(0)
    run.status, run.execution_time, run.progress = "running", None, ProgressView()
    for name, value in more.items():
        setattr(run, name, value)
    return run


def test_the_median_of_past_runs_needs_enough_of_them() -> None:
    assert typical_duration([success(1), success(9)]) is None
    assert typical_duration([success(1), success(9), success(2)]) == 2
    assert past_run(success(1, a=1, b=2)) == PastRun(1, {"a": 1, "b": 2})


def test_a_running_execution_is_measured_against_its_past() -> None:
    result = timing(running(), [success(100)] * 3, after(40))

    assert (result.elapsed, result.remaining, result.estimated_total) == (40, 60, 100)
    assert result.eta == Eta(low=60, high=60, basis="past", at=after(40))


def test_a_run_that_was_asked_to_stop_has_no_estimate() -> None:
    result = timing(running(cancel_requested=True), [success(100)] * 3, after(40))

    assert (result.elapsed, result.remaining, result.eta) == (40, None, None)


def test_a_run_that_is_over_took_what_it_took() -> None:
    assert timing(success(7), [], after(86_400)).estimated_total == 7
