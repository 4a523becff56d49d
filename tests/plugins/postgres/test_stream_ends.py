"""The memory for ends of streams is bounded, and has all ends behind the filed views, of which no table knows."""

from __future__ import annotations

import pytest

from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_postgres import stream_ends
from gnomon_postgres.stream_ends import StreamEnds


def test_an_end_is_forgotten_when_there_are_many_and_its_view_is_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_ends, "MOST", 3)
    ends = StreamEnds()
    history = numbered(*(succeeded("sync", NOON + number * SECOND) for number in range(5)))

    for event in history:
        ends.note({event.stream: (event.version, event.position)}, filed=6)

    assert [position for _, position in ends.of(history).values()] == [9, 12, 15]
    assert ends.unknown(history[:1]) == ([history[0].stream], [])
    assert ends.unknown(history[1:2]) == ([], [history[1].stream])
    for event in history:
        ends.note({event.stream: (event.version, event.position)}, filed=0)
    assert len(ends.of(history)) == 5


def test_a_deleted_stream_is_forgotten_unless_it_has_begun_again() -> None:
    ends = StreamEnds()
    old, again, new = numbered(*(succeeded("sync", NOON + number * SECOND)[:1] for number in range(3)))
    ends.note({event.stream: (1, event.position) for event in (old, again, new)}, filed=1)

    ends.forget([old.stream, again.stream], filed=1)

    assert set(ends.of([old, again, new])) == {again.stream, new.stream}
    ends.forget(None, filed=2)
    assert set(ends.of([old, again, new])) == {new.stream}
