"""The fold of progress."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.domain import events
from gnomon.domain.events import DeclaredStep
from gnomon.domain.progress import MAX_STEPS, MORE_STEPS, ProgressView, advance, finish

START = datetime(2026, 1, 1, tzinfo=UTC)


def told(after: float = 0.0, **fields: Any) -> events.Progress:
    at = START + timedelta(seconds=after)
    return events.Progress(stream="x", version=3, at=at, node="n", job_id="j", **fields)


def view_of(*history: events.Progress) -> ProgressView:
    view = ProgressView()
    for event in history:
        view = advance(view, event)
    return view


def test_nothing_is_known_before_anything_is_told() -> None:
    assert ProgressView().percent is None


def test_items_give_the_percentage() -> None:
    assert view_of(told(processed_items=3, total_items=12)).percent == 25.0


def test_items_without_a_total_give_none() -> None:
    assert view_of(told(processed_items=3)).percent is None


def test_declared_steps_count_by_their_weight() -> None:
    steps = [DeclaredStep("a", 1), DeclaredStep("b", 3)]

    view = view_of(told(steps=steps), told(step="a"), told(step="b"), told(processed_items=1, total_items=2))

    assert view.percent == pytest.approx((1 + 1.5) / 4 * 100)


def test_items_of_undeclared_steps_say_nothing_of_the_whole() -> None:
    assert view_of(told(step="a"), told(processed_items=1, total_items=2)).percent is None


def test_a_new_step_counts_its_own_items() -> None:
    view = view_of(told(step="a"), told(processed_items=7, total_items=9, current_item="x"), told(step="b"))

    assert (view.processed_items, view.total_items, view.current_item) == (None, None, None)


def test_steps_that_are_passed_over_are_skipped_and_do_not_count() -> None:
    steps = [DeclaredStep("a"), DeclaredStep("b"), DeclaredStep("c")]

    view = view_of(told(steps=steps), told(1, step="a"), told(2, step="c"))

    assert [(s.name, s.status) for s in view.steps] == [("a", "completed"), ("b", "skipped"), ("c", "current")]
    assert view.percent == 50.0


def test_a_body_may_skip_announced_steps() -> None:
    view = view_of(told(steps=[DeclaredStep("a"), DeclaredStep("b")]), told(skipped=["b"]), told(step="a"))

    assert [s.status for s in view.steps] == ["current", "skipped"]


@given(st.lists(st.floats(-50, 150) | st.none(), max_size=20))
def test_the_percentage_never_goes_back_and_stays_in_bounds(percents: list[float | None]) -> None:
    seen = [ProgressView().percent]
    view = ProgressView()
    for percent in percents:
        view = advance(view, told(percent=percent))
        seen.append(view.percent)

    known = [percent for percent in seen if percent is not None]
    assert known == sorted(known)
    assert all(0 <= percent <= 100 for percent in known)


def test_a_success_completes_and_a_failure_names_the_step() -> None:
    view = view_of(told(steps=[DeclaredStep("a"), DeclaredStep("b")]), told(step="a"))

    good, bad = finish(view, succeeded=True, at=START), finish(view, succeeded=False, at=START)

    assert [s.status for s in good.steps] == ["completed", "skipped"]
    assert good.percent == 100.0
    assert [s.status for s in bad.steps] == ["failed", "skipped"]
    assert bad.percent == 0.0


# --- many steps ---


class Counting(str):
    """A name that counts how often it is compared, which is what the fold does most."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counting.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_steps_beyond_the_limit_are_one_step_and_the_current_name_is_kept() -> None:
    view = view_of(*(told(step=f"item {number}") for number in range(MAX_STEPS + 500)))

    assert len(view.steps) == MAX_STEPS + 1
    assert (view.steps[-1].name, view.steps[-1].status) == (MORE_STEPS, "current")
    assert {step.status for step in view.steps[:-1]} == {"completed"}
    assert view.step == f"item {MAX_STEPS + 499}"


def test_a_step_that_is_kept_can_be_entered_again_after_the_limit() -> None:
    view = view_of(*(told(step=f"item {number}") for number in range(MAX_STEPS + 1)), told(step="item 3"))

    assert [step.name for step in view.steps if step.status == "current"] == ["item 3"]


def test_declared_steps_beyond_the_limit_keep_their_weight() -> None:
    view = view_of(told(steps=[DeclaredStep(f"step {number}", 1) for number in range(MAX_STEPS + 1000)]))

    assert (view.steps[-1].name, view.steps[-1].weight) == (MORE_STEPS, 1000)
    assert advance(view, told(step=f"step {MAX_STEPS}")).percent == pytest.approx(0.0)
    assert advance(view, told(step=f"step {MAX_STEPS + 700}")).steps[-1].status == "current"


def test_the_work_for_many_step_names_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.domain.progress.MAX_STEPS", 100)

    def comparisons(names: int) -> int:
        Counting.comparisons = 0
        view = ProgressView()
        for number in range(names):
            view = advance(view, told(step=Counting(f"item {number}")))
        return Counting.comparisons

    counted = [comparisons(times * 100) for times in (2, 4, 6)]

    assert counted[2] - counted[1] == counted[1] - counted[0] > 0
