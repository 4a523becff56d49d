from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import Execution
from gnomon.domain.brief import BRIEF_BYTES, LIST_BYTES, SHORTEST_BYTES, brief, brief_list, decode_brief
from gnomon.domain.progress import ProgressView, Step

AT = datetime(2026, 1, 1, tzinfo=UTC)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


def run(**fields: Any) -> Execution:
    common: dict[str, Any] = {"id": "a" * 24, "job_id": "j", "status": "success"}
    times = {"scheduled_time": AT, "timestamp": AT, "updated_at": AT}
    return Execution(**(common | times | fields))


def size(value: Any) -> int:
    return len(msgspec.json.encode(value))


@given(st.lists(JSON, max_size=3), st.dictionaries(st.text(max_size=9), JSON, max_size=3), JSON)
def test_values_in_lists_are_small_and_short_ones_whole(args: Any, kwargs: Any, result: Any) -> None:
    whole = run(args=args, kwargs=kwargs, return_value=result)
    cut = brief(whole)

    for name in ("args", "kwargs", "return_value"):
        before, after = getattr(whole, name), getattr(cut, name)
        assert size(after) <= 2 * BRIEF_BYTES
        assert after == before or (size(before) > BRIEF_BYTES and cut.truncated)
    assert cut.truncated or cut is whole
    assert decode_brief(msgspec.json.encode(whole)) == cut


def test_what_is_left_of_a_long_value_begins_as_it_did() -> None:
    cut = brief(run(kwargs={"name": "x", "rows": [[n, "row"] for n in range(10_000)], "more": 1}, args=["a" * 50_000]))

    assert cut.truncated
    assert cut.kwargs["name"] == "x"
    assert cut.kwargs["rows"][:3] == [[0, "row"], [1, "row"], [2, "row"]]
    assert cut.args[0].startswith("aaaa")
    assert cut.args[0].endswith("a …")


def test_what_a_view_leaves_out_has_its_default_however_long_the_view_is() -> None:
    whole = run(return_value="r" * 10_000)  # its JSON has neither labels nor arguments

    assert decode_brief(msgspec.json.encode(whole)) == brief(whole)


def test_values_that_nest_too_deeply_are_cut() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    whole = run(return_value=deep)

    assert "nested deeper" in str(brief(whole).return_value)
    assert decode_brief(msgspec.json.encode(whole)) == brief(whole)


def test_texts_and_steps_are_cut_too() -> None:
    view = ProgressView(percent=50.0, message="m" * 9000, steps=tuple(Step(name=f"step {n}") for n in range(1000)))
    cut = brief(run(traceback="t" * 30_000, error_message="e" * 4000, progress=view))

    assert cut.truncated
    assert size(cut) < 4 * BRIEF_BYTES
    assert (cut.progress.percent, cut.progress.steps) == (50.0, ())


def test_the_steps_of_a_usual_run_are_whole() -> None:
    usual = run(status="running", progress=ProgressView(steps=tuple(Step(name=f"step {n}") for n in range(50))))

    assert brief(usual) is usual


def test_a_long_list_is_bounded_as_a_whole() -> None:
    view = ProgressView(steps=tuple(Step(name="n" * 90) for _ in range(100)))
    large = run(kwargs={"k": "x" * 2000}, traceback="t" * 2000, error_message="e" * 2000, progress=view)
    found = brief_list([large] * 3000)

    assert len(found) == 3000
    assert size(found) < LIST_BYTES + 3000 * 8 * SHORTEST_BYTES
    assert not found[0].truncated
    assert found[-1].truncated


@given(JSON, st.integers(1, 300))
def test_any_beginning_of_a_text_is_completed(value: Any, limit: int) -> None:
    cut = brief(run(return_value=value), limit).return_value

    assert size(cut) <= limit + 100


@pytest.mark.parametrize("limit", range(1, 40))
def test_keys_are_never_taken_for_texts(limit: int) -> None:
    whole = {"first": ["a", "b"], "second": {"third": 'fourth \\ " é 🦑'}, "fifth": [1, 2, {"sixth": None}]}
    cut = brief(run(kwargs=whole), limit).kwargs

    assert cut.keys() <= whole.keys()
    assert cut.get("second", {}).keys() <= {"third"}


def test_the_beginning_of_a_long_value_costs_no_more_than_that_of_a_short_one() -> None:
    huge = run(kwargs={"value": [[n] for n in range(200_000)]})
    body = msgspec.json.encode(huge)
    tracemalloc.start()
    try:
        cut = decode_brief(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert cut.kwargs["value"][:2] == [[0], [1]]
    assert peak < 3 * len(body)
