"""The pure fold of progress: percent, steps and items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeVar

import msgspec

from gnomon.domain import events

T = TypeVar("T")
StepStatus = Literal["pending", "current", "completed", "failed", "skipped"]

MAX_STEPS = 1_000
MORE_STEPS = "… more steps"
"""How many steps of a run are kept, and the name of the step that stands for all others."""
_CLOSED = frozenset({"completed", "failed", "skipped"})


class Step(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One step of a run and its status."""

    name: str
    # A factory instead of a plain default, so that msgspec always writes the status: a client that draws the steps of a
    # run must not have to know what the absence of one means.
    status: StepStatus = msgspec.field(default_factory=lambda: "pending")
    weight: float = 1.0
    started_at: datetime | None = None
    ended_at: datetime | None = None


class ProgressView(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The folded progress of a run. `percent` is None while it is unknown, and never decreases.

    `declared` is true if the run declared its steps, so that their weights give the percentage. `number` is that of the
    newest report in it, where a worker elsewhere numbers the reports of a run.
    """

    percent: float | None = None
    message: str | None = None
    step: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    steps: tuple[Step, ...] = ()
    declared: bool = False
    number: int = 0


NO_PROGRESS = ProgressView()
DONE = ProgressView(percent=100.0)


def advance(view: ProgressView, report: events.Progress) -> ProgressView:
    """Fold one progress event into the view."""
    steps, declared = view.steps, view.declared
    if report.steps is not None:
        steps, declared = _declared(report.steps), True
    if report.skipped:
        steps = tuple(_ended(s, "skipped", report.at) if s.name in report.skipped else s for s in steps)
    new_step = report.step is not None and report.step != view.step
    if report.step is not None and new_step:
        steps = _enter(steps, report.step, report.at)
    # A new step counts its own items: the count of the step before it would be wrong.
    processed = report.processed_items if new_step else _or(report.processed_items, view.processed_items)
    total = report.total_items if new_step else _or(report.total_items, view.total_items)
    percent = report.percent if report.percent is not None else _derive(steps, processed, total, declared=declared)
    return ProgressView(
        percent=_not_decreasing(view.percent, percent),
        message=_or(report.message, view.message),
        step=_or(report.step, view.step),
        current_item=report.current_item if new_step else _or(report.current_item, view.current_item),
        processed_items=processed,
        total_items=total,
        steps=steps,
        declared=declared,
        number=max(report.number or 0, view.number),
    )


def finish(view: ProgressView, *, succeeded: bool, at: datetime) -> ProgressView:
    """Close the view at the end of a run: the current step is completed or failed, steps never reached are skipped."""
    if view == NO_PROGRESS:  # as most runs end
        return DONE if succeeded else view
    status: StepStatus = "completed" if succeeded else "failed"
    steps = tuple(_close(s, status, at) for s in view.steps)
    return msgspec.structs.replace(view, steps=steps, percent=100.0 if succeeded else view.percent)


def _declared(declared: Sequence[events.DeclaredStep]) -> tuple[Step, ...]:
    """Return declared steps; those beyond the limit become one step with the sum of their weights."""
    steps = tuple(Step(name=s.name, weight=s.weight) for s in declared[:MAX_STEPS])
    rest = declared[MAX_STEPS:]
    return (*steps, Step(name=MORE_STEPS, weight=sum(s.weight for s in rest))) if rest else steps


def _enter(steps: tuple[Step, ...], name: str, at: datetime) -> tuple[Step, ...]:
    """Make `name` the current step: the previous one is completed, pending steps before it are skipped.

    The steps are bounded, so that a run with a new name for every item takes a time that is linear in its items.
    """
    known = _find(steps, name)
    if known is None and len(steps) >= MAX_STEPS:
        name = MORE_STEPS
        if steps[-1].name == name:
            if steps[-1].status == "current":
                return steps
            known = len(steps) - 1
    passed = len(steps) if known is None else known
    before = tuple(s if s.status in _CLOSED else _close(s, "completed", at) for s in steps[:passed])
    if known is None:
        return (*before, Step(name=name, status="current", started_at=at))
    entered = msgspec.structs.replace(steps[known], status="current", started_at=at, ended_at=None)
    after = tuple(_ended(s, "completed", at) if s.status == "current" else s for s in steps[known + 1 :])
    return (*before, entered, *after)


def _find(steps: tuple[Step, ...], name: str) -> int | None:
    return next((i for i, s in enumerate(steps) if s.name == name), None)


def _close(step: Step, status: StepStatus, at: datetime) -> Step:
    """End a step if it is the current one; skip it if it was never reached."""
    if step.status == "current":
        return _ended(step, status, at)
    return _ended(step, "skipped", None) if step.status == "pending" else step


def _ended(step: Step, status: StepStatus, at: datetime | None) -> Step:
    return msgspec.structs.replace(step, status=status, ended_at=at)


def _derive(steps: Sequence[Step], processed: int | None, total: int | None, *, declared: bool) -> float | None:
    """Derive the percentage from the weights of declared steps, else from the items; None where neither is known."""
    share = min(processed / total, 1.0) if processed is not None and total else None
    if not declared:
        # Undeclared steps do not tell how many are to come, so the items of one step are not those of the run.
        return share * 100.0 if share is not None and not steps else None
    counted = [s for s in steps if s.status != "skipped"]
    weights = sum(s.weight for s in counted)
    if weights <= 0:
        return None
    done = sum(s.weight for s in counted if s.status in {"completed", "failed"})
    current = sum(s.weight for s in counted if s.status == "current")
    return (done + current * (share or 0.0)) / weights * 100.0


def _not_decreasing(old: float | None, new: float | None) -> float | None:
    if new is None:
        return old
    bounded = min(max(new, 0.0), 100.0)
    return bounded if old is None else max(old, bounded)


def _or(new: T | None, old: T | None) -> T | None:
    return old if new is None else new
