"""Which events a viewer may do without: progress that later progress of the same run says over again."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon import Event, Progress


def conflate(events: Sequence[Event]) -> list[Event]:
    """Leave out progress that is covered by later progress of its run; whoever folds the rest sees the same in the end.

    An event says only what is new, so the last one alone would lose what only an earlier one told. Steps are never left
    out, nor what was told before a step by what is told after it: a step counts its own items.
    """
    left_out: set[int] = set()
    newest: dict[str, Progress] = {}
    for event in reversed(events):
        if not isinstance(event, Progress):
            continue
        later = newest.get(event.stream)
        if event.step is not None or event.steps is not None or event.skipped is not None:
            newest.pop(event.stream, None)
        elif later is not None and _covers(later, event):
            left_out.add(event.position)
        else:
            newest[event.stream] = event
    return [event for event in events if event.position not in left_out]


def _covers(later: Progress, earlier: Progress) -> bool:
    """Whether a fold over both ends where a fold over the later one does. A percentage never goes back."""
    return (
        _says_over(later.message, earlier.message)
        and _says_over(later.current_item, earlier.current_item)
        and _goes_on(later.percent, earlier.percent)
        and _goes_on(later.processed_items, earlier.processed_items)
        and later.total_items == earlier.total_items
    )


def _says_over(later: object, earlier: object) -> bool:
    return earlier is None or later is not None


def _goes_on(later: float | None, earlier: float | None) -> bool:
    if later is None or earlier is None:
        return later is earlier
    return later >= earlier
