"""Where streams end, in the memory of the kernel that writes: the rows of an append link each event to the one before.

The ends of all events behind the filed views are known, and those of some more. What is not known is read: a stream
that goes on is looked up in the tables of views. One that begins is not: the append checks that it is in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnomon.domain.events import Event
from gnomon.stores.commit_rows import End

MOST = 50_000
"""Ends that are kept, at about 200 bytes each, besides those behind the filed views."""


class StreamEnds:
    """The newest ends, in the order in which they were written."""

    def __init__(self) -> None:
        self._ends: dict[str, End] = {}

    def note(self, ends: dict[str, End], filed: int) -> None:
        """Note the ends of streams after an append; `filed` is the position up to which views are filed."""
        for stream in ends:
            self._ends.pop(stream, None)
        self._ends |= ends
        while len(self._ends) > MOST:
            oldest = next(iter(self._ends))
            if self._ends[oldest][1] > filed:
                return
            del self._ends[oldest]

    def forget(self, streams: Iterable[str] | None, filed: int) -> None:
        """Forget streams that were deleted, or any; not those with events behind the filed views, which began again."""
        for stream in self._ends.keys() & set(self._ends if streams is None else streams):
            if self._ends[stream][1] <= filed:
                del self._ends[stream]

    def of(self, events: Iterable[Event]) -> dict[str, End]:
        """Return the known ends of the streams of these events."""
        return {event.stream: end for event in events if (end := self._ends.get(event.stream)) is not None}

    def unknown(self, events: Sequence[Event]) -> tuple[list[str], list[str]]:
        """Return the streams without a known end: those that begin with one of these events, and the others."""
        first = {event.stream: event.version for event in reversed(events) if event.stream not in self._ends}
        return [name for name, version in first.items() if version == 1], [
            name for name, version in first.items() if version != 1
        ]
