"""Tables to Structs: every problem of a table at once, each with its path and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gnomon.durations import Duration
from gnomon.errors import ConfigError
from gnomon.text import close_match

T = TypeVar("T", bound=msgspec.Struct)
Table = Mapping[str, Any]

# How msgspec says it: "Expected `int`, got `str` - at `$.retry.attempts`"; the place is left out at the top.
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)
_FIRST_KEY = re.compile(r"\.([^.\[]+)")
_A_TIME = "a time such as 2026-12-01T18:00:00+08:00"
_PLAIN_WORDS = {"object": "table", "str": "text", "int": "integer", "bool": "true or false", "datetime": _A_TIME}


class Secret(str):
    """Text that is not shown: `str()`, `repr()` and f-strings give `***`. `reveal()` gives what it holds."""

    __slots__ = ()

    def reveal(self) -> str:
        """Return the plain text."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return format("***", format_spec)


# msgspec evaluates the annotations of the Struct each time, 2 ms for a Job: of 10,000 jobs in a config it took 15 s.
_fields = lru_cache(maxsize=256)(msgspec.structs.fields)


def convert(raw: Table, into: type[T], path: str, directory: Path | None = None) -> T:
    """Make a Struct of a table; ConfigError has every problem, its place beginning with `path`.

    Text is taken for a number or a boolean where one is expected, since the environment holds nothing but text. A
    field of type Path is counted from `directory`, one of type Duration is read as text or seconds.
    """
    problems: list[str] = []
    left = _known_keys(raw, into, path, problems)
    missing = [field.encode_name for field in _fields(into) if field.required]
    problems += [f"{path}: {name!r} is missing" for name in missing if name not in raw]
    while True:
        try:
            converted = msgspec.convert(left, into, strict=False, dec_hook=_decoder(directory or Path.cwd()))
        except msgspec.ValidationError as exc:
            # msgspec stops at the first problem: take its key away and look for the next one.
            key = _report(exc, into, path, problems)
            if key not in left:
                break
            del left[key]
        else:
            break
    if problems:
        raise ConfigError(problems)
    return converted


def unknown_key(path: str, key: str, known: Iterable[str]) -> str:
    """Word the problem of a key that nobody knows."""
    names = sorted(known)
    hint = close_match(key, names) or (f"; known are {', '.join(names)}" if names else "; nothing can be set here")
    return f"{path}.{key}: there is no such key{hint}"


def _known_keys(raw: Table, into: type[msgspec.Struct], path: str, problems: list[str]) -> dict[str, Any]:
    """Copy a table without the keys that its Struct does not have, which are problems; nested tables likewise."""
    types = {field.encode_name: field.type for field in _fields(into)}
    known = {}
    for key, value in raw.items():
        if key not in types:
            problems.append(unknown_key(path, key, types))
            continue
        nested = _struct_among(types[key])
        is_table = nested is not None and isinstance(value, Mapping)
        known[key] = _known_keys(value, nested, f"{path}.{key}", problems) if nested and is_table else value
    return known


def _struct_among(expected: Any) -> type[msgspec.Struct] | None:
    """Find the one Struct that a table can become; of several, a tag decides, and that is msgspec's business."""
    members = get_args(expected) if get_origin(expected) in {Union, UnionType} else (expected,)
    structs = [member for member in members if isinstance(member, type) and issubclass(member, msgspec.Struct)]
    return structs[0] if len(structs) == 1 and structs[0].__struct_config__.tag is None else None


def _report(exc: msgspec.ValidationError, into: type[msgspec.Struct], path: str, problems: list[str]) -> str | None:
    """Add what msgspec says to the problems; return the key of the table under which it was found."""
    said = _MESSAGE.fullmatch(str(exc))
    what, place = (said["what"], said["place"]) if said else (str(exc), None)
    if place is None:
        # It is about the table as a whole. What follows from a key that was taken away is no problem of its own.
        if not problems:
            problems.append(f"{path}: {what}")
        return None
    first = _FIRST_KEY.match(place)
    key = first[1] if first else None
    problems.append(f"{path}{place}: {_choices(what, into, place) or _in_plain_words(what)}")
    return key


def _choices(what: str, into: type[msgspec.Struct], place: str) -> str | None:
    """Name the possible words where msgspec only says that the one given is none of them."""
    found = re.fullmatch(r"Invalid enum value ('.*')", what)
    expected = {f".{field.encode_name}": field.type for field in _fields(into)}.get(place)
    literals = [member for member in (expected, *get_args(expected)) if get_origin(member) is Literal]
    if not found or not literals:
        return None
    words = get_args(literals[0])
    return f"expected one of {', '.join(map(repr, words))}, got {found[1]}{close_match(found[1].strip(chr(39)), words)}"


def _in_plain_words(what: str) -> str:
    if what == "Invalid RFC3339 encoded datetime":
        return f"expected {_A_TIME}, without quotes"
    words = re.sub(r"`([^`]*)`", lambda quoted: _plain_types(quoted[1]), what)
    return words[:1].lower() + words[1:]


def _plain_types(quoted: str) -> str:
    """Write types as people do; `null` is left out, for TOML has none."""
    return " or ".join(_PLAIN_WORDS.get(word, word) for word in quoted.split(" | ") if word != "null")


def _decoder(directory: Path) -> Callable[[type, Any], Any]:
    def decode(expected: type, value: Any) -> Any:
        if expected is Duration:
            return Duration.parse(value)
        if isinstance(value, expected):
            return value
        if expected not in {Secret, Path}:
            raise TypeError(f"a setting cannot be a {expected.__name__}")
        if not isinstance(value, str | Path):
            raise TypeError(f'expected text, got {type(value).__name__}; write it in quotes, "..."')
        return Secret(value) if expected is Secret else directory / Path(value).expanduser()

    return decode
