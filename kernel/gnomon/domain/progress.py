"""The pure fold of progress: percent, steps, items, and what may be said of the remaining time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeVar

import msgspec

from gnomon.domain import events

T = TypeVar("T")
StepStatus = Literal["pending", "current", "completed", "failed", "skipped"]


class Step(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One step of a run and what became of it."""

    name: str
    status: StepStatus = "pending"
    weight: float = 1.0
    started_at: datetime | None = None
    ended_at: datetime | None = None


class ProgressView(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The folded progress of a run. `percent` is None while nothing is known of it, and never goes backwards.

    `declared` is true where the run announced its steps, so that their weights give the percentage.
    """

    percent: float | None = None
    message: str | None = None
    step: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    steps: tuple[Step, ...] = ()
    declared: bool = False


NOTHING_TOLD = ProgressView()
DONE = ProgressView(percent=100.0)


class Timing(msgspec.Struct, frozen=True):
    """Seconds: how long a run has been going, and how long it will; None where nobody can know."""

    elapsed: float
    estimated_total: float | None
    remaining: float | None


def advance(view: ProgressView, told: events.Progress) -> ProgressView:
    """Fold one progress event into the view."""
    steps, declared = view.steps, view.declared
    if told.steps is not None:
        steps, declared = tuple(Step(name=s.name, weight=s.weight) for s in told.steps), True
    if told.skipped:
        steps = tuple(_ended(s, "skipped", told.at) if s.name in told.skipped else s for s in steps)
    new_step = told.step is not None and told.step != view.step
    if told.step is not None and new_step:
        steps = _enter(steps, told.step, told.at)
    # A new step counts its own items: what the step before it counted would be a lie.
    processed = told.processed_items if new_step else _or(told.processed_items, view.processed_items)
    total = told.total_items if new_step else _or(told.total_items, view.total_items)
    percent = told.percent if told.percent is not None else _derive(steps, processed, total, declared=declared)
    return ProgressView(
        percent=_never_back(view.percent, percent),
        message=_or(told.message, view.message),
        step=_or(told.step, view.step),
        current_item=told.current_item if new_step else _or(told.current_item, view.current_item),
        processed_items=processed,
        total_items=total,
        steps=steps,
        declared=declared,
    )


def finish(view: ProgressView, *, succeeded: bool, at: datetime) -> ProgressView:
    """Close the view at the end of a run: the current step completed or failed; what was never reached is skipped."""
    if view == NOTHING_TOLD:  # as most runs end
        return DONE if succeeded else view
    status: StepStatus = "completed" if succeeded else "failed"
    steps = tuple(_close(s, status, at) for s in view.steps)
    return msgspec.structs.replace(view, steps=steps, percent=100.0 if succeeded else view.percent)


def estimate(
    view: ProgressView,
    elapsed: float,
    typical: float | None = None,
    typical_steps: Mapping[str, float] | None = None,
    now: datetime | None = None,
) -> Timing:
    """Say how long the run will take: from past runs first, from its own rate the more of it is done.

    `typical` is the median duration in seconds of past successful runs, `typical_steps` the same for each step. The
    two estimates are weighed by the share that is done, so that an early percentage cannot make the figure jump.
    """
    done = (view.percent or 0.0) / 100.0
    from_rate = elapsed / done if done > 0 else None
    from_past = _from_steps(view.steps, typical_steps or {}, elapsed, now) or typical
    if from_rate is not None and from_past is not None:
        total: float | None = (1 - done) * from_past + done * from_rate
    else:
        total = _or(from_rate, from_past)
    if total is None or (from_rate is None and total < elapsed):
        return Timing(elapsed, None, None)  # longer than ever before and no rate: nobody knows
    total = max(total, elapsed)
    return Timing(elapsed, total, total - elapsed)


def _from_steps(
    steps: Sequence[Step], typical: Mapping[str, float], elapsed: float, now: datetime | None
) -> float | None:
    """Add the usual time of what is left to the time spent; None unless every step left is known."""
    left = [s for s in steps if s.status in {"pending", "current"}]
    if not left or any(s.name not in typical for s in left):
        return None
    rest = 0.0
    for s in left:
        spent = (now - s.started_at) / timedelta(seconds=1) if now and s.started_at else 0.0
        rest += max(typical[s.name] - spent, 0.0)
    return elapsed + rest


def _enter(steps: tuple[Step, ...], name: str, at: datetime) -> tuple[Step, ...]:
    """Make `name` the current step: what was current is completed, what was passed over is skipped."""
    known = next((i for i, s in enumerate(steps) if s.name == name), None)
    passed = len(steps) if known is None else known
    before = tuple(_close(s, "completed", at) for s in steps[:passed])
    if known is None:
        return (*before, Step(name=name, status="current", started_at=at))
    entered = msgspec.structs.replace(steps[known], status="current", started_at=at, ended_at=None)
    after = tuple(_ended(s, "completed", at) if s.status == "current" else s for s in steps[known + 1 :])
    return (*before, entered, *after)


def _close(step: Step, status: StepStatus, at: datetime) -> Step:
    """End a step if it is the current one; one that was never reached is skipped."""
    if step.status == "current":
        return _ended(step, status, at)
    return _ended(step, "skipped", None) if step.status == "pending" else step


def _ended(step: Step, status: StepStatus, at: datetime | None) -> Step:
    return msgspec.structs.replace(step, status=status, ended_at=at)


def _derive(steps: Sequence[Step], processed: int | None, total: int | None, *, declared: bool) -> float | None:
    """Derive the percentage: of the declared steps by weight, else of the items; None where neither is known."""
    share = min(processed / total, 1.0) if processed is not None and total else None
    if not declared:
        # Steps that were not announced say nothing of how many are to come, so a step's items are not the run's.
        return share * 100.0 if share is not None and not steps else None
    counted = [s for s in steps if s.status != "skipped"]
    weights = sum(s.weight for s in counted)
    if weights <= 0:
        return None
    done = sum(s.weight for s in counted if s.status in {"completed", "failed"})
    current = sum(s.weight for s in counted if s.status == "current")
    return (done + current * (share or 0.0)) / weights * 100.0


def _never_back(old: float | None, new: float | None) -> float | None:
    if new is None:
        return old
    bounded = min(max(new, 0.0), 100.0)
    return bounded if old is None else max(old, bounded)


def _or(new: T | None, old: T | None) -> T | None:
    return old if new is None else new
