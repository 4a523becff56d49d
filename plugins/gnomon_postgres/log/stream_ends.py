"""Where streams end, in the memory of the kernel that writes: the rows of an append link each event to the one before.

The ends of all events behind the filed views are known, and those of some more. What is not known is read from the
tables of views, unless the stream begins. It must not be there already as an unfinished run, a job or a kernel: all of
these names are known, because looking for them on the server took a quarter of the time of an append.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gnomon.domain.events import Event, ExecutionEvent
from gnomon.stores.commit_rows import End

MOST = 25_000
"""Ends in a generation, at about 200 bytes each."""


class Found(NamedTuple):
    """The known ends of streams, and those that have to be read, each with its first event; the others begin here."""

    ends: dict[str, End]
    others: dict[str, Event]


class StreamEnds:
    """The newest ends, in two generations: when the younger one is full, the older one is forgotten, if it is filed.

    The names, about 150 bytes each, are those of the tables of views, or more: then an end is looked up in vain.
    """

    def __init__(self) -> None:
        self._young: dict[str, End] = {}
        self._old: dict[str, End] = {}
        self._names: set[str] = set()
        self.has_names = False
        """Whether the names of the tables of views are known."""

    def note_names(self, names: Iterable[str]) -> None:
        """Note what the tables of views have of unfinished runs, jobs and kernels."""
        self._names.update(names)
        self.has_names = True

    def note_over(self, names: Iterable[str]) -> None:
        """Note runs that have ended, and are filed."""
        self._names.difference_update(names)

    def note(self, ends: dict[str, End], filed: int) -> None:
        """Note the ends of streams after an append; `filed` is the position up to which views are filed."""
        self._young |= ends
        self._names.update(ends)
        if len(self._young) > MOST:
            unfiled = {stream: end for stream, end in self._old.items() if end[1] > filed}
            self._old, self._young = unfiled | self._young, {}

    def forget(self, streams: Iterable[str] | None, filed: int) -> None:
        """Forget streams that were deleted, or any; not those with events behind the filed views, which began again."""
        for ends in (self._young, self._old):
            for stream in ends.keys() & set(ends if streams is None else streams):
                if ends[stream][1] <= filed:
                    del ends[stream]
        self._names -= set(streams or ()) - self._young.keys() - self._old.keys()

    def find(self, events: Sequence[Event]) -> Found:
        """Return what is known of the streams of these events."""
        found = Found({}, {})
        young, old = self._young, self._old
        seen: set[str] = set()
        for event in events:
            stream = event.stream
            if stream in seen:
                continue
            seen.add(stream)
            if (end := young.get(stream) or old.get(stream)) is not None:
                found.ends[stream] = end
            elif event.version > 1 or stream in self._names:
                found.others[stream] = event
        return found

    def find_unlinked(self, others: Mapping[str, Event], ends: Mapping[str, End]) -> Event | None:
        """Return an event that follows no end that was read, although the log must have one; None without any.

        A run that retention has deleted may have another event, such as a late result: it begins a stream again.
        """
        for stream, event in others.items():
            end = ends.get(stream)
            if end is not None and end[0] < event.version - 1:
                return event
            is_deletable = isinstance(event, ExecutionEvent) and stream not in self._names
            if end is None and event.version > 1 and not is_deletable:
                return event
        return None
