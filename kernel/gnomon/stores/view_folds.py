"""Folding new events into views that a store has: the same for every store that files views behind the events."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from gnomon.domain import execution, job_state
from gnomon.domain.events import Event, JobEvent, KernelEvent, job_stream
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import TransitionError


def concerns_job(event: Event) -> bool:
    """Return whether an event may change the state of a job: one of its own stream, or the beginning of a run."""
    return bool(event.job_id) and (isinstance(event, JobEvent) or event.version == 1 or _is_of_job(event))


def _is_of_job(event: Event) -> bool:
    return event.stream == job_stream(event.job_id)


def fold_jobs(states: dict[str, JobState], events: Iterable[Event]) -> None:
    """Fold events into the states of their jobs, and begin those of new jobs."""
    for event in events:
        if not concerns_job(event):
            continue
        if (state := states.get(event.job_id)) is not None:
            state.apply(event)
        elif isinstance(event, JobEvent):
            states[event.job_id] = job_state.begin(event)


def fold_runs(views: dict[str, Execution], events: Iterable[Event]) -> set[str]:
    """Fold events into the views of their runs, and begin those of new runs; return the ids of runs that changed.

    Events that cannot be folded are skipped, such as those of a run whose first ones were deleted: the rest must stay
    readable. Between two events of a run others may be gone, since progress is deleted earlier than the run.
    """
    changed: set[str] = set()
    for event in events:
        with suppress(TransitionError):
            if (view := views.get(event.stream)) is not None:
                _apply(view, event)
            elif isinstance(event, JobEvent | KernelEvent):
                continue
            else:
                views[event.stream] = execution.begin(event)
            changed.add(event.stream)
    return changed


def _apply(view: Execution, event: Event) -> None:
    version, view.version = view.version, event.version - 1
    try:
        view.apply(event)
    except TransitionError:
        view.version = version
        raise
