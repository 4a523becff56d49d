"""What must be true of a log after a contest, whatever happened to the processes and to the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gnomon.domain.events import Event
from log_contest import Notes, Seen


def check_notes(log: Sequence[Event], notes: Notes) -> None:
    """Check what the processes noted against the log, which several of them wrote."""
    began = Counter(run for _, _, run in notes.began)
    assert [run for run, times in began.items() if times > 1] == []  # no body twice for one execution
    started = {event.stream for event in log if event.type == "started"}
    assert began.keys() <= started
    check_seen(log, notes.acknowledged)
    assert len(notes.acknowledged) > len(started)
    assert len(notes.seen) > 1
    for seen in notes.seen.values():
        check_seen(log, seen)
        positions = [one.position for one in seen]
        assert positions == list(range(positions[0], positions[0] + len(positions)))  # each event once, in every role
    check_terms(log)
    runs = Counter(event.stream for event in log if event.type == "scheduled" and event.job_id == "ordered")
    assert set(notes.ordered.values()) <= runs.keys()  # what was answered is in the log
    assert len(set(notes.ordered.values())) == len(notes.ordered)
    assert len(runs) <= len(notes.orders)  # no order was carried out twice


def check_seen(log: Sequence[Event], seen: Sequence[Seen]) -> None:
    """Check that what a process has seen is what the log has at that position."""
    others = [one for one in seen if (log[one.position - 1].stream, log[one.position - 1].type) != one[2:]]
    assert others == []


def check_terms(log: Sequence[Event]) -> None:
    """Check that nobody writes after another kernel has begun to lead."""
    leader = ""
    for event in log:
        if event.type == "kernel_started":
            leader = event.node
        assert event.node == leader, f"{event.node} wrote event {event.position} in the term of {leader}"
