"""Convert tables to Structs, and report every problem of a table at once, with its path and a likely correction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gnomon.durations import Duration
from gnomon.errors import ConfigError, JobKeysError, ParameterError
from gnomon.sourced_values import origin_of, typed
from gnomon.text import close_match, is_writable, shorten

T = TypeVar("T", bound=msgspec.Struct)
Table = Mapping[str, Any]

# A message of msgspec: "Expected `int`, got `str` - at `$.retry.attempts`"; it has no place at the top level.
_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)
_FIRST_KEY = re.compile(r"\.([^.\[]+)")
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<number>\d+)\]")
LONGEST_MESSAGE = 2_000
"""Characters of a problem: a wrong value may have megabytes."""
_GOT_TYPE = re.compile(r", got `\w+`$")
LONGEST_SHOWN = 60
"""Characters of a value that a problem shows."""
_A_TIME = "a time such as 2026-12-01T18:00:00+08:00"
_PLAIN_WORDS = {"object": "table", "str": "text", "int": "integer", "bool": "true or false", "datetime": _A_TIME}


class Secret(str):
    """Text that must not be shown: `str()`, `repr()` and f-strings give `***`; `reveal()` returns the text."""

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

    if TYPE_CHECKING:  # a field of a ConfigTable, which takes plain text and has a Secret

        def __get__(self, instance: object, owner: Any = None) -> Secret: ...

        def __set__(self, instance: object, value: str) -> None: ...


# msgspec evaluates the annotations of a Struct at each call, 2 ms for a Job: 15 s of a config with 10,000 jobs.
_fields = lru_cache(maxsize=256)(msgspec.structs.fields)


def convert(raw: Table, into: type[T], path: str, directory: Path | None = None, *, strict: bool = False) -> T:
    """Convert a table to a Struct, or raise ConfigError with every problem; their places begin with `path`.

    Unless `strict`, text is accepted for numbers and booleans. Values from the environment are parsed for the types of
    their keys. A field of type Path is relative to `directory`; one of type Duration is parsed from text or seconds.
    """
    problems: list[str] = []
    remaining = _known_keys(typed(raw, into), into, path, problems)
    _prepare(remaining, into, path, problems)
    missing = [field.encode_name for field in _fields(into) if field.required]
    problems += [f"{path}: {name!r} is missing" for name in missing if name not in raw]
    while True:
        try:
            converted = msgspec.convert(remaining, into, strict=strict, dec_hook=_decoder(directory or Path.cwd()))
        except msgspec.ValidationError as exc:
            # msgspec stops at the first problem: remove its key and convert again.
            key = _report(exc, raw, into, path, problems)
            if key not in remaining:
                break
            del remaining[key]
        except UnicodeEncodeError:
            halves = [key for key, value in remaining.items() if not is_writable(value)]
            problems += [f"{path}.{key}: has half a character (a lone surrogate), which is not text" for key in halves]
            if not halves:
                raise
            for key in halves:
                del remaining[key]
        else:
            break
    if problems:
        raise ConfigError(problems)
    return converted


def convert_given(value: Any, expected: Any, name: str) -> Any:
    """Convert a value that a program passes for a field of a Struct; ParameterError, which does not show it."""
    try:
        return msgspec.convert(value, expected, dec_hook=_decoder(Path.cwd()))
    except msgspec.ValidationError as exc:
        raise ParameterError(name, f"{name}: {_plain(str(exc))}") from None


def unknown_key(path: str, key: str, known: Iterable[str], hints: Mapping[str, str] = {}) -> str:
    """Return the problem of an unknown key; `hints` say what to write in place of keys that other tools have."""
    names = sorted(known)
    if key in hints:
        return f"{path}.{key}: unknown key; {hints[key]}"
    hint = close_match(key, names) or (f"; the keys are {', '.join(names)}" if names else "; it has no keys")
    return f"{path}.{key}: unknown key{hint}"


def _prepare(table: dict[str, Any], into: type[msgspec.Struct], path: str, problems: list[str]) -> None:
    """Put values in the forms that a Struct holds, by its PREPARED; remove those that have none."""
    for key, prepare in getattr(into, "PREPARED", {}).items():
        if table.get(key) is None:
            continue
        try:
            table[key] = prepare(table[key])
        except ValueError as exc:
            problems.append(f"{path}.{key}: {exc}")
            del table[key]


def _known_keys(raw: Table, into: type[msgspec.Struct], path: str, problems: list[str]) -> dict[str, Any]:
    """Return a table, and the tables in it, without keys that the Struct lacks; each of these is a problem."""
    types = {field.encode_name: field.type for field in _fields(into)}
    known = {}
    for key, value in raw.items():
        if key not in types:
            problems.append(unknown_key(path, key, types, getattr(into, "KEY_HINTS", {})))
            continue
        nested = struct_among(types[key])
        is_table = nested is not None and isinstance(value, Mapping)
        known[key] = _known_keys(value, nested, f"{path}.{key}", problems) if nested and is_table else value
    return known


def struct_among(expected: Any) -> type[msgspec.Struct] | None:
    """Return the only Struct that a table can become, or None; with several ones msgspec decides by their tags."""
    members = get_args(expected) if get_origin(expected) in {Union, UnionType} else (expected,)
    structs = [member for member in members if isinstance(member, type) and issubclass(member, msgspec.Struct)]
    return structs[0] if len(structs) == 1 and structs[0].__struct_config__.tag is None else None


def _report(
    exc: msgspec.ValidationError, raw: Table, into: type[msgspec.Struct], path: str, problems: list[str]
) -> str | None:
    """Add msgspec's message to the problems; return the key of the table that it is about."""
    found = _MESSAGE.fullmatch(str(exc))
    problem, place = (found["problem"], found["place"]) if found else (str(exc), None)
    if place is None:
        # The problem of a whole table. After another problem it may only be the consequence of a removed key.
        if not problems:
            cause = exc.__cause__
            found_in = cause.problems if isinstance(cause, JobKeysError) else [("", problem)]
            problems += [f"{path}.{key}: {text}" if key else f"{path}: {text}" for key, text in found_in]
        return None
    first = _FIRST_KEY.match(place)
    key = first[1] if first else None
    origin = origin_of(raw, place)
    finding = _choices(problem, into, place) or _plain(problem)
    if _GOT_TYPE.search(problem):
        finding += _shown(raw, into, place)
    message = f"{finding}{_example(problem, into, place)}"
    message = shorten(message, LONGEST_MESSAGE) + _value_hint(into, place)
    problems.append(f"{path}{place}: {message}" + (f" (from {origin})" if origin is not None else ""))
    return key


def _shown(raw: Table, into: type[msgspec.Struct], place: str) -> str:
    """Return the value at a place, to follow its type: ` '3'`. Secrets are not shown, nor what is long."""
    if origin_of(raw, place) is not None or _may_be_secret(into):
        return ""
    value: Any = raw
    for step in _STEP.finditer(place):
        try:
            value = value[step["key"]] if step["key"] is not None else value[int(step["number"])]
        except (LookupError, TypeError):
            return ""
    text = repr(value) if type(value) in {str, int, float} else ""
    return f" {text}" if 0 < len(text) <= LONGEST_SHOWN else ""


@lru_cache(maxsize=256)
def _may_be_secret(expected: Any) -> bool:
    """Return whether a value of a type may be a secret, or have one in it."""
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return any(_may_be_secret(field.type) for field in _fields(expected))
    return expected is Secret or any(map(_may_be_secret, get_args(expected)))


def _example(problem: str, into: type[msgspec.Struct], place: str) -> str:
    """Return how to write a table, where one is expected and something else was found."""
    nested = {f".{field.encode_name}": struct_among(field.type) for field in _fields(into)}.get(place)
    if nested is None or not problem.startswith("Expected `object"):
        return ""
    return f"; write {place[1:]} = {{ {_fields(nested)[0].encode_name} = … }}"


def _value_hint(into: type[msgspec.Struct], place: str) -> str:
    """Return what a nested Struct says about the values of a key, for a wrong one: `; write bytes as a number`."""
    parent, _, key = place.rpartition(".")
    nested = {f".{field.encode_name}": struct_among(field.type) for field in _fields(into)}.get(parent)
    hint = getattr(nested, "VALUE_HINTS", {}).get(key)
    return f"; {hint}" if hint else ""


def _choices(problem: str, into: type[msgspec.Struct], place: str) -> str | None:
    """Return a problem with the possible words, which msgspec's own message lacks."""
    found = re.fullmatch(r"Invalid enum value ('.*')", problem)
    expected = {f".{field.encode_name}": field.type for field in _fields(into)}.get(place)
    literals = [member for member in (expected, *get_args(expected)) if get_origin(member) is Literal]
    if not found or not literals:
        return None
    words = get_args(literals[0])
    return f"expected one of {', '.join(map(repr, words))}, got {found[1]}{close_match(found[1].strip(chr(39)), words)}"


def _plain(problem: str) -> str:
    if problem == "Invalid RFC3339 encoded datetime":
        return f"expected {_A_TIME}"
    words = re.sub(r"`([^`]*)`", lambda quoted: _plain_types(quoted[1]), problem)
    return words[:1].lower() + words[1:]


def _plain_types(quoted: str) -> str:
    """Translate msgspec's type names for readers of TOML; `null` is left out, because TOML has none."""
    return " or ".join(_PLAIN_WORDS.get(word, word) for word in quoted.split(" | ") if word != "null")


def _decoder(directory: Path) -> Callable[[type, Any], Any]:
    def decode(expected: type, value: Any) -> Any:
        if expected is Duration:
            return Duration.parse(value)
        if isinstance(value, expected):
            return value
        if expected not in {Secret, Path}:
            raise TypeError(f"settings of type {expected.__name__} are not supported")
        if not isinstance(value, str | Path):
            raise TypeError(f'expected text in quotes, "...", got {type(value).__name__}')
        return Secret(value) if expected is Secret else directory / Path(value).expanduser()

    return decode
