from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.json_depth import CUT, MAX_DEPTH, cut_text, cut_value, is_text_too_deep, is_too_deep

DATA: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('[]{}"\\a', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\a', max_size=4), inner, max_size=4),
    max_leaves=40,
)


def nested(levels: int, inside: Any = 1) -> Any:
    for _ in range(levels):
        inside = [inside]
    return inside


def depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth, parts), default=0)


@given(DATA, st.integers(0, 6))
def test_depth_is_counted_in_values_and_in_texts(value: Any, limit: int) -> None:
    text = json.dumps(value).encode()

    assert is_too_deep(value, limit) == (depth(value) > limit)
    assert is_text_too_deep(text, limit) == (depth(value) > limit)


@given(DATA, st.integers(1, 6))
def test_what_is_cut_is_valid_json_with_everything_above_the_limit(value: Any, limit: int) -> None:
    cut = json.loads(cut_text(json.dumps(value).encode(), limit))

    assert cut == cut_value(value, limit)
    assert depth(cut) <= limit
    assert cut == value or CUT in json.dumps(cut)


def test_a_text_that_cannot_be_decoded_is_cut_without_recursion() -> None:
    text = b'{"a": %b, "b": 2}' % (b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(RecursionError):
        msgspec.json.decode(text)

    cut = msgspec.json.decode(cut_text(text))

    assert is_text_too_deep(text)
    assert cut["b"] == 2


def test_a_value_that_holds_itself_or_doubles_with_every_level_is_too_deep_at_once() -> None:
    itself: list[Any] = []
    itself.append(itself)
    doubling: Any = []
    for _ in range(MAX_DEPTH + 1):
        doubling = [doubling, doubling]

    assert is_too_deep(itself)
    assert is_too_deep(doubling)
    assert not is_too_deep(nested(MAX_DEPTH))
