"""Values that a config takes from environment variables and files, and how they become the types of their keys.

An environment holds text only. What a text means depends on the key: `360` is a number of seconds for `every`, and a
name for `node`. So the text is kept beside the value until the type of the key is known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from gnomon.durations import Duration

Place = tuple[str | int, ...]
"""The keys and indexes that lead to a value in a table."""

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_COLLECTIONS = (list, tuple, set, frozenset)


class Source(NamedTuple):
    """A text and where it comes from, such as `the environment variable PORT`."""

    text: str
    origin: str


class SourcedTable(dict[str, Any]):
    """A table of the config. `sources` has those of its values by their places in it."""

    def __init__(self, table: Mapping[str, Any], sources: dict[Place, Source]) -> None:
        super().__init__(table)
        self.sources = sources

    def part(self, keys: Mapping[str, Any]) -> SourcedTable:
        """Return a table of these values, with the sources of those that are from this table."""
        kept = {place: one for place, one in self.sources.items() if place[0] in keys}
        return SourcedTable(keys, kept)


def sources_of(table: Mapping[str, Any]) -> dict[Place, Source]:
    """Return the sources of the values in a table."""
    return table.sources if isinstance(table, SourcedTable) else {}


def origin_of(table: Mapping[str, Any], place: str) -> str | None:
    """Return where the value at a place of a problem comes from, such as `.retry.attempts`; None for the config."""
    for keys, source in sources_of(table).items():
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        if place == path or place.startswith((f"{path}.", f"{path}[")):
            return source.origin
    return None


def parse_toml(text: str) -> Any:
    """Parse a TOML value; anything else is text, so that text needs no second pair of quotes."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def typed(table: Mapping[str, Any], into: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Return a table in which the values from the environment have the types of a Struct, as far as they fit."""
    for place, source in sources_of(table).items():
        table = _replaced(table, place, source.text, into)
    return table


def parse(text: str, value: Any, expected: Any) -> Any:
    """Return what a text means for a type; `value` is what it means as TOML, and is returned if the type is open."""
    kinds = _members(expected)
    if not kinds or any(kind is Any for kind in kinds) or (type(value) is not str and type(value) in kinds):
        return value
    for kind in kinds:
        found = _as(kind, text)
        if found is not None:
            return found
    return text


def _as(kind: Any, text: str) -> Any:
    """Return what a text means for one type, None where it cannot be of that type."""
    origin = get_origin(kind) or kind
    word = text.strip()
    if origin is bool:
        return _WORDS.get(word.lower())
    if origin in {int, float} or (origin is Duration and _is_number(word)):
        return _number(word, int if origin is int else float)
    if origin in _COLLECTIONS:
        return _as_list(kind, word)
    written_as = dict if isinstance(origin, type) and issubclass(origin, msgspec.Struct) else origin
    if written_as in {datetime, date, time, dict}:
        parsed = parse_toml(word)
        return parsed if isinstance(parsed, written_as) else None
    return text


def _as_list(kind: Any, word: str) -> list[Any] | None:
    parsed = parse_toml(word)
    if isinstance(parsed, list):
        return parsed
    item = next(iter(get_args(kind)), Any)
    if any(isinstance(one, type) and issubclass(one, msgspec.Struct) for one in _members(item)) and "{" in word:
        return None
    words = [one.strip() for one in word.split(",")]
    return [parse(one, parse_toml(one), item) for one in words if one]


def _replaced(value: Any, place: Place, text: str, expected: Any) -> Any:
    """Return a value in which the value at a place is what the text means for the type there."""
    if not place:
        return parse(text, value, expected)
    key, *rest = place
    kinds = _members(expected)
    if isinstance(key, str) and isinstance(value, Mapping) and key in value:
        inner = next((found for kind in kinds if (found := _type_of_key(kind, key)) is not None), Any)
        return {**value, key: _replaced(value[key], tuple(rest), text, inner)}
    if isinstance(key, int) and isinstance(value, list) and key < len(value):
        inner = next((get_args(kind)[0] for kind in kinds if get_origin(kind) in _COLLECTIONS), Any)
        return [_replaced(one, tuple(rest), text, inner) if i == key else one for i, one in enumerate(value)]
    return value


def _type_of_key(kind: Any, key: str) -> Any:
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return next((field.type for field in msgspec.structs.fields(kind) if field.encode_name == key), None)
    return None


def _members(expected: Any) -> list[Any]:
    """Return the types that a value may have, without None, and the values' types for a Literal."""
    origin = get_origin(expected)
    if origin is Annotated:
        return _members(get_args(expected)[0])
    if origin in {Union, UnionType}:
        return [kind for member in get_args(expected) for kind in _members(member)]
    if origin is Literal:
        return list(dict.fromkeys(type(word) for word in get_args(expected)))
    return [] if expected in {None, NoneType} else [expected]


def _is_number(word: str) -> bool:
    return _number(word, float) is not None


def _number(word: str, kind: type[int | float]) -> float | None:
    try:
        return kind(word)
    except ValueError:
        return None
