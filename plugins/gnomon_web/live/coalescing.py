"""Leaves out progress events that a later progress event of the same run supersedes."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon import Event, Progress


def coalesce_progress(events: Sequence[Event]) -> list[Event]:
    """Return the events without superseded progress; a fold over them ends in the same state.

    A progress event holds only what is new, so keeping just the last one would lose values that only an earlier one
    holds. Events of steps are kept, and events before a step are not superseded by those after it: items are counted
    for each step.
    """
    superseded: set[int] = set()
    newest: dict[str, Progress] = {}
    for event in reversed(events):
        if not isinstance(event, Progress):
            continue
        later = newest.get(event.stream)
        if event.step is not None or event.steps is not None or event.skipped is not None:
            newest.pop(event.stream, None)
        elif later is not None and _supersedes(later, event):
            superseded.add(event.position)
        else:
            newest[event.stream] = event
    return [event for event in events if event.position not in superseded]


def _supersedes(later: Progress, earlier: Progress) -> bool:
    """Whether a fold over both ends in the same state as a fold over the later one. A percentage never decreases."""
    return (
        _is_set_again(later.message, earlier.message)
        and _is_set_again(later.current_item, earlier.current_item)
        and _not_below(later.percent, earlier.percent)
        and _not_below(later.processed_items, earlier.processed_items)
        and later.total_items == earlier.total_items
    )


def _is_set_again(later: object, earlier: object) -> bool:
    return earlier is None or later is not None


def _not_below(later: float | None, earlier: float | None) -> bool:
    if later is None or earlier is None:
        return later is earlier
    return later >= earlier
