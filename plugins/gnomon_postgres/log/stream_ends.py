"""Where streams end, in the memory of the kernel that writes: the rows of an append link each event to the one before.

The ends of all events behind the filed views are known, and those of some more. What is not known is read from the
tables of views, unless the stream begins. It must not be there already as an unfinished run, a job or a kernel: all of
these names are known, because looking for them on the server took a quarter of the time of an append.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gnomon.domain.events import Event
from gnomon.stores.commit_rows import End

MOST = 25_000
"""Ends in a generation, at about 200 bytes each."""


class Found(NamedTuple):
    """The known ends of streams, and the streams whose ends have to be read; the others begin with these events."""

    ends: dict[str, End]
    others: list[str]


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
        found = Found({}, [])
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
                found.others.append(stream)
        return found
