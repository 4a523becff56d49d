"""Coalescing progress must not change the final state that a viewer sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gnomon import Event, Progress, Started, Succeeded
from gnomon.domain.events import DeclaredStep
from gnomon.domain.progress import ProgressView, advance
from gnomon_web.live.coalescing import coalesce_progress

AT = datetime(2026, 1, 1, tzinfo=UTC)

told = st.fixed_dictionaries(
    {},
    optional={
        "percent": st.none() | st.floats(0, 100),
        "message": st.none() | st.sampled_from(["a", "b"]),
        "current_item": st.none() | st.sampled_from(["x", "y"]),
        "processed_items": st.none() | st.integers(0, 10),
        "total_items": st.none() | st.integers(0, 10),
        "step": st.none() | st.sampled_from(["fetch", "store"]),
        "steps": st.none() | st.just([DeclaredStep("fetch"), DeclaredStep("store", 3.0)]),
        "skipped": st.none() | st.just(["store"]),
    },
)


def progress(position: int, stream: str = "run", **fields: Any) -> Progress:
    at = AT + timedelta(seconds=position)
    return Progress(position=position, stream=stream, version=position, at=at, node="a", job_id="job", **fields)


def fold(events: list[Event], stream: str) -> ProgressView:
    view = ProgressView()
    for event in events:
        if isinstance(event, Progress) and event.stream == stream:
            view = advance(view, event)
    return view


@given(st.lists(st.tuples(st.sampled_from(["one", "other"]), told), max_size=12))
def test_a_fold_over_coalesced_events_equals_a_fold_over_all(told_by: list[tuple[str, dict[str, Any]]]) -> None:
    events: list[Event] = [progress(i, stream, **fields) for i, (stream, fields) in enumerate(told_by, 1)]

    left = coalesce_progress(events)

    assert {stream: fold(left, stream) for stream in ("one", "other")} == {
        stream: fold(events, stream) for stream in ("one", "other")
    }
    assert [event.position for event in left] == sorted(event.position for event in left)


def test_only_the_newest_of_many_percentages_is_left() -> None:
    events = [progress(i, processed_items=i, total_items=100, current_item=f"row {i}") for i in range(1, 51)]

    assert coalesce_progress(events) == events[-1:]


def test_only_progress_is_left_out() -> None:
    common: dict[str, Any] = {"stream": "run", "at": AT, "node": "a", "job_id": "job"}
    started = Started(position=1, version=1, runner="async", **common)
    ended = Succeeded(position=4, version=4, execution_time=1.0, **common)
    events = [started, progress(2, percent=1.0), progress(3, percent=2.0), ended]

    assert coalesce_progress(events) == [started, events[2], ended]


def test_a_value_that_only_an_older_event_holds_is_kept() -> None:
    events = [progress(1, message="half of it"), progress(2, percent=50.0), progress(3, percent=60.0)]

    assert coalesce_progress(events) == [events[0], events[2]]
