"""Writes the body of a request, and names what in it JSON does not have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gnomon.errors import ParameterError
from gnomon.safe_text import type_name
from gnomon.text import is_writable


def encoded(body: Any) -> bytes:
    """Return a body as JSON. ParameterError for numbers, texts and objects that would arrive as something else."""
    try:
        for place, problem in _problems(body, ""):
            raise ParameterError(place.partition(".")[0].partition("[")[0] or "body", f"{place or 'body'}: {problem}")
        return msgspec.json.encode(body)
    except RecursionError:
        raise ParameterError("body", "it is nested too deep, or contains itself: flatten it") from None


def _problems(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield what cannot be sent as it is, with its place, such as `kwargs.day`."""
    if (parts := _parts(value)) is None:
        if (problem := _problem_of(value)) is not None:
            yield place, problem
        return
    for key, nested in parts:
        if isinstance(key, str) and not is_writable(key):
            yield place, f"the key {key!r} has half a character (a lone surrogate), which is not text"
        elif not _has_json({key: None}):
            yield place, f"JSON has no key of type {type_name(key)}; use text"
        name = f"[{key}]" if isinstance(key, int) else f".{key}" if place else str(key)
        yield from _problems(nested, f"{place}{name}")


def _problem_of(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"JSON has no {value}, which would arrive as null; pass a finite number, a text, or None"
    if isinstance(value, str) and not is_writable(value):
        return "has half a character (a lone surrogate), which is not text"
    if not _has_json(value):
        return f"JSON has nothing for an object of type {type_name(value)}; pass text, numbers, lists or objects"
    return None


def _parts(value: Any) -> Iterable[tuple[object, Any]] | None:
    """Return what a value consists of, by key or by number; None for one that has no parts."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple | set | frozenset):
        return enumerate(value)
    if isinstance(value, msgspec.Struct):
        return ((name, getattr(value, name)) for name in value.__struct_fields__)
    return None


def _has_json(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True
