"""An independent checker of a log: it imports nothing of Gnomon and reads with sqlite3 or psycopg, and json, only.

It has its own rules of what may follow what, so that a fault in Gnomon's folds cannot hide a fault in its log.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

LogEvent = dict[str, Any]
ENDS = {"succeeded", "failed", "cancelled", "missed"}
MAY_FOLLOW = {
    None: {"scheduled", "missed", "imported"},
    "scheduled": {"handed_over", "warned", "started", "missed", "cancelled", "failed", "cancel_requested"},
    "started": {"progress", "warned", "cancel_requested", *ENDS - {"missed"}},
    "ended": {"late_result", "hidden", "warned"},
}


def read_events(path: Path) -> list[LogEvent]:
    """Return all events of a log that no kernel writes at the moment."""
    with sqlite3.connect(path) as database:
        integrity = database.execute("PRAGMA integrity_check").fetchall()
        assert integrity == [("ok",)], integrity
        rows = database.execute("SELECT events FROM commits ORDER BY first").fetchall()
    database.close()
    return [event for (body,) in rows for event in json.loads(body) if event is not None]


def read_postgres_events(dsn: str) -> list[LogEvent]:
    """Return all events of a log in PostgreSQL that no kernel writes at the moment."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT events FROM gnomon.commits ORDER BY first").fetchall()
    return [event for (body,) in rows for event in json.loads(body) if event is not None]


def check_log(path: Path, *, accepted: Iterable[str] = (), ended: bool = True) -> list[LogEvent]:
    """Assert that a SQLite log is whole, and return its events."""
    return check_events(read_events(path), accepted=accepted, ended=ended)


def check_events(events: list[LogEvent], *, accepted: Iterable[str] = (), ended: bool = True) -> list[LogEvent]:
    """Assert that the events are a whole log, and return them.

    Its positions and versions have no gap, every history is legal, every accepted run is in it, and with `ended` no run
    is left without an end.
    """
    assert [event["position"] for event in events] == list(range(1, len(events) + 1)), "positions have a gap"
    streams: dict[str, list[LogEvent]] = defaultdict(list)
    for event in events:
        streams[event["stream"]].append(event)
    for stream, history in streams.items():
        versions = [event["version"] for event in history]
        assert versions == list(range(1, len(history) + 1)), f"{stream}: versions {versions}"
    runs = {stream: history for stream, history in streams.items() if not stream.startswith(("job:", "kernel:"))}
    states = {stream: _state_after(stream, history) for stream, history in runs.items()}
    lost = set(accepted) - runs.keys()
    assert not lost, f"accepted and lost: {lost}"
    if ended:
        assert set(states.values()) <= {"ended"}, {stream for stream, state in states.items() if state != "ended"}
    return events


def _state_after(stream: str, history: list[LogEvent]) -> str | None:
    state = None
    for event in history:
        kind = event["type"]
        assert kind in MAY_FOLLOW[state], f"{stream}: {kind} after {state}"
        if kind in ENDS:
            state = "ended"
        elif kind in {"scheduled", "started"}:
            state = kind
    return state


def fires(events: list[LogEvent], job_id: str) -> list[datetime]:
    """Return the fires of an interval job that have an outcome, in order; a folded range counts as all its fires."""
    found: list[datetime] = []
    for event in events:
        if event["job_id"] != job_id or event.get("is_manual") or event.get("attempt", 1) > 1:
            continue
        if event["type"] == "scheduled" or (event["type"] == "missed" and event["version"] == 1):
            last, count = _time(event["scheduled_time"]), event.get("count", 1)
            first = _time(event.get("first") or event["scheduled_time"])
            found += [first + n * (last - first) / max(count - 1, 1) for n in range(count)]
    return sorted(found)


def check_interval(events: list[LogEvent], job_id: str, every: timedelta) -> int:
    """Assert that the fires of a job are equally spaced, with one outcome each; return their number."""
    times = fires(events, job_id)
    wrong = [(a, b) for a, b in pairwise(times) if b - a != every]
    assert not wrong, f"{job_id}: {wrong[:3]}"
    return len(times)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
