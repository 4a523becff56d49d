"""The memory for ends of streams is bounded, and has all ends behind the filed views, of which no table knows."""

from __future__ import annotations

import pytest

from gnomon.domain.events import JobPaused
from gnomon.testing.histories import NOON, SECOND, extend, job_added, numbered, succeeded
from gnomon_postgres.log import stream_ends
from gnomon_postgres.log.stream_ends import StreamEnds


def test_ends_are_forgotten_when_there_are_many_and_their_views_are_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_ends, "MOST", 2)
    ends = StreamEnds()
    history = numbered(*(succeeded("sync", NOON + number * SECOND) for number in range(9)))

    for event in history:
        ends.note({event.stream: (event.version, event.position)}, filed=event.position - 20)

    found = ends.find(history)
    known = {position for _, position in found.ends.values()}
    assert {9, 12, 15, 18, 21, 24, 27} <= known  # 27 - 20 = 7
    assert 3 not in known
    assert list(found.others) == [history[0].stream]


def test_a_deleted_stream_is_forgotten_unless_it_has_begun_again() -> None:
    ends = StreamEnds()
    old, again, new = numbered(*(succeeded("sync", NOON + number * SECOND)[:1] for number in range(3)))
    ends.note({event.stream: (1, event.position) for event in (old, again, new)}, filed=1)

    ends.forget([old.stream, again.stream], filed=1)

    assert set(ends.find([old, again, new]).ends) == {again.stream, new.stream}
    ends.forget(None, filed=2)
    assert set(ends.find([old, again, new]).ends) == {new.stream}


def test_a_stream_that_is_there_is_looked_up_although_an_event_begins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_ends, "MOST", 0)
    ends = StreamEnds()
    stored, running, over = numbered(*(succeeded("sync", NOON + number * SECOND)[:1] for number in range(3)))
    ends.note_names([stored.stream])
    for event in (running, over):
        ends.note({event.stream: (1, event.position)}, filed=event.position)
    ends.note_over([over.stream])
    ends.forget(None, filed=over.position)

    assert ends.find([stored, running, over]) == ({}, {stored.stream: stored, running.stream: running})
    ends.forget([stored.stream], filed=over.position)
    assert list(ends.find([stored, running, over]).others) == [running.stream]


def test_only_a_run_that_may_have_been_deleted_goes_on_without_an_end() -> None:
    ends = StreamEnds()
    live, deleted = (succeeded("sync", NOON + number * SECOND)[1] for number in range(2))
    job = extend(job_added(), JobPaused)[-1]
    ends.note_names([live.stream])

    for event, is_deletable in ((live, False), (deleted, True), (job, False)):
        found = ends.find([event])
        assert ends.find_unlinked(found.others, {}) == (None if is_deletable else event)
        assert ends.find_unlinked(found.others, {event.stream: (event.version - 1, 7)}) is None
        assert ends.find_unlinked(found.others, {event.stream: (event.version - 2, 7)}) == event
