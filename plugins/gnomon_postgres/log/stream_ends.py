"""Where streams end, in the memory of the kernel that writes: the rows of an append link each event to the one before.

The ends of all events behind the filed views are known, and those of some more. What is not known is read: a stream
that goes on is looked up in the tables of views. One that begins is not: the append checks that it is in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gnomon.domain.events import Event
from gnomon.stores.commit_rows import End

MOST = 25_000
"""Ends in a generation, at about 200 bytes each."""


class Found(NamedTuple):
    """The known ends of streams; without one are those that begin with one of the events, and others that go on."""

    ends: dict[str, End]
    begun: list[str]
    others: list[str]


class StreamEnds:
    """The newest ends, in two generations: when the younger one is full, the older one is forgotten, if it is filed."""

    def __init__(self) -> None:
        self._young: dict[str, End] = {}
        self._old: dict[str, End] = {}

    def note(self, ends: dict[str, End], filed: int) -> None:
        """Note the ends of streams after an append; `filed` is the position up to which views are filed."""
        self._young |= ends
        if len(self._young) > MOST:
            unfiled = {stream: end for stream, end in self._old.items() if end[1] > filed}
            self._old, self._young = unfiled | self._young, {}

    def forget(self, streams: Iterable[str] | None, filed: int) -> None:
        """Forget streams that were deleted, or any; not those with events behind the filed views, which began again."""
        for ends in (self._young, self._old):
            for stream in ends.keys() & set(ends if streams is None else streams):
                if ends[stream][1] <= filed:
                    del ends[stream]

    def find(self, events: Sequence[Event]) -> Found:
        """Return what is known of the streams of these events."""
        found = Found({}, [], [])
        young, old = self._young, self._old
        seen: set[str] = set()
        for event in events:
            stream = event.stream
            if stream in seen:
                continue
            seen.add(stream)
            if (end := young.get(stream) or old.get(stream)) is not None:
                found.ends[stream] = end
            else:
                (found.begun if event.version == 1 else found.others).append(stream)
        return found
