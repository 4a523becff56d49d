"""Parses the parts of a request into Structs, and reports every invalid part with its place and name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, get_args, get_origin

import msgspec
from aiohttp import web

from gnomon.json_depth import MAX_DEPTH, is_text_too_deep
from gnomon.moments import relative_moment
from gnomon.scheduling.timezones import expect_within_calendar
from gnomon.wire.problems import (
    INVALID_BODY,
    INVALID_PARAMETER,
    MALFORMED_REQUEST,
    UNSUPPORTED_MEDIA_TYPE,
    Culprit,
    Place,
    ProblemKind,
)
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.responses import JSON

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")
MERGE_PATCH = "application/merge-patch+json"
MAX_SHOWN = 80
"""Characters of an invalid value that an error message repeats."""
GOT = ", got "
MOMENT = (
    "expected a time with an offset, such as 2026-01-31T18:00:00Z or 2026-01-31T18:00:00%2B08:00 (a + is a space), "
    "or one relative to now, such as -7d"
)
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)
_KEY = re.compile(r"Object (?P<is>missing required|contains unknown) field `(?P<name>.*)`")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
NO_BODY = frozenset({b"", b"{}", b"null"})
"""What clients send in place of no body."""
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
"""Words for booleans, in any case."""


def read_text_fields(
    into: type[S], place: Place, given: Iterable[tuple[str, str]], *, strict: bool, now: datetime | None = None
) -> S:
    """Parse text parameters into a Struct; ApiError 400 names every invalid one.

    With `strict`, names that the Struct does not have are invalid too. A list is one text with commas. Times may be
    relative to `now`, such as `-7d`.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(into)}
    values: dict[str, Any] = {}
    errors: list[Culprit] = []
    for name, text in given:
        if name in values:
            errors.append(culprit(place, name, "is given twice"))
        elif name in fields:
            try:
                values[name] = _convert(text, fields[name].type, now)
            except ValueError as exc:
                said = str(exc)
                errors.append(culprit(place, name, said if GOT in said else f"{said}{GOT}{text[:MAX_SHOWN]!r}"))
        elif strict:
            errors.append(culprit(place, name, f"unknown parameter{_hint(name, fields)}"))
    errors += [
        culprit(place, name, "is missing") for name, f in fields.items() if f.required and name not in dict(given)
    ]
    if errors:
        raise _refused(INVALID_PARAMETER, errors)
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as exc:  # from the Struct's __post_init__, which checks fields together
        raise _refused(INVALID_PARAMETER, [culprit(place, *_located(exc, into))]) from exc


def _convert(text: str, expected: Any, now: datetime | None = None) -> Any:
    """Convert one value. msgspec's strict=False is not used: it has surprises, such as null for a number."""
    plain = _plain(expected)
    if plain is datetime:
        return _moment(text, expected, now)
    value: Any = text
    if plain is int:
        if not _INTEGER.fullmatch(text):
            raise ValueError("expected an integer")
        value = int(text)
    elif plain is bool:
        if text.lower() not in BOOLEANS:
            raise ValueError("expected true or false")
        value = BOOLEANS[text.lower()]
    elif plain in {tuple, list}:
        value = text.split(",")
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as exc:
        raise ValueError(_message(exc, expected)) from exc


def _moment(text: str, expected: Any, now: datetime | None) -> datetime:
    """Convert a time, to one around which every time zone has dates: what is computed from it needs them."""
    if now is None or (moment := relative_moment(text, now)) is None:
        try:
            moment = msgspec.convert(text, expected)
        except msgspec.ValidationError as exc:
            raise ValueError(MOMENT) from exc
    expect_within_calendar(moment)
    return moment


def _plain(expected: Any) -> Any:
    """Return the type of a parameter without None and without its constraints."""
    for member in (expected, *get_args(expected)):
        origin = get_origin(member) or member
        if origin in {int, bool, tuple, list, datetime}:
            return origin
        if hasattr(member, "__metadata__"):
            return _plain(get_args(member)[0])
    return str


def _message(exc: msgspec.ValidationError, expected: Any) -> str:
    found = _AT.fullmatch(str(exc))
    message = found["what"] if found else str(exc)
    if "matching regex" in message and (described := _description(expected)):
        return f"expected {described}"
    if message.startswith("Invalid enum value") and (choices := _literals(expected)):
        return f"expected one of {', '.join(choices)}"
    return message[:1].lower() + message[1:]


def _description(expected: Any) -> str | None:
    """Return the description of a text with a pattern: the pattern itself is for programs."""
    for member in (expected, *get_args(expected)):
        for meta in getattr(member, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return None


def _literals(expected: Any) -> list[str]:
    if isinstance(expected, str):
        return [expected]
    return [word for member in get_args(expected) for word in _literals(member)]


async def read_body(
    request: web.Request, into: type[T], *, is_needed: bool, is_lenient: bool = False, text: bytes | None = None
) -> T | None:
    """Parse a JSON body; ApiError 415, 413, 400 (not valid JSON) or 422 (not the expected keys).

    It becomes a Struct, or a dict of which the handler checks the keys. `text` is the body where a part was taken out.
    With `is_lenient`, keys that the Struct does not have are ignored, and values are read as parameters are.
    """
    if not is_needed and text is None and not request.can_read_body:
        return None
    if request.content_type not in {JSON, MERGE_PATCH if request.method == "PATCH" else JSON}:
        detail = f"the body must be {JSON}, got {request.content_type!r}"
        raise ApiError(UNSUPPORTED_MEDIA_TYPE, detail, errors=[culprit("header", "Content-Type", detail)])
    body = await request.read() if text is None else text
    if not is_needed and body.strip() in {b"", b"null"}:
        return None
    if is_lenient and hasattr(into, "__struct_fields__"):
        body = _as_parameters(body, into)
    try:
        decoded = msgspec.json.decode(body, type=into)
        if is_text_too_deep(body):
            raise RecursionError
        return decoded
    except RecursionError as exc:
        detail = f"nested deeper than {MAX_DEPTH} levels: flatten it"
        raise _refused(MALFORMED_REQUEST, [culprit("body", "", detail)]) from exc
    except msgspec.ValidationError as exc:
        raise _refused(INVALID_BODY, [culprit("body", *_located(exc, into))]) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _refused(MALFORMED_REQUEST, [culprit("body", "", f"not valid JSON: {exc}")]) from exc


async def expect_no_body(request: web.Request, text: bytes | None = None) -> None:
    """Accept an empty body or an empty object: some clients always send one. `text` is what a reason left of it."""
    if text is None:
        text = await request.read() if request.can_read_body else b""
    if text.strip() not in NO_BODY:
        raise _refused(INVALID_BODY, [culprit("body", "", "expected no body, or an act's reason alone")])


def _as_parameters(body: bytes, into: Any) -> bytes:
    """Leave out the keys that a Struct does not have, and read values that it refuses like parameters.

    Null and empty text count as absent, and words as booleans. What is still wrong is left to the parser.
    """
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(into):
        name = field.encode_name
        if name in given and not (
            _is_refused(given[name], field.type) and _is_empty(given[name]) and not field.required
        ):
            known[name] = _reread(given[name], field.type)
    return msgspec.json.encode(known)


def _is_empty(value: msgspec.Raw) -> bool:
    return bytes(value).strip() in {b"null", b'""'}


def _is_refused(value: msgspec.Raw, expected: Any) -> bool:
    try:
        msgspec.json.decode(value, type=expected)
    except msgspec.ValidationError:
        return True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # the parser reports it
    return False


def _reread(value: msgspec.Raw, expected: Any) -> Any:
    if not _is_refused(value, expected):
        return value
    plain = msgspec.json.decode(value)
    if isinstance(plain, str) or type(plain) is int:
        try:
            return _convert(str(plain), expected)
        except ValueError:
            pass
    return value


def _located(exc: msgspec.ValidationError, into: Any) -> tuple[str, str]:
    """Return the invalid part and what is wrong with it; for a key, msgspec names only the object that contains it."""
    found = _AT.fullmatch(str(exc))
    place, what = (found["place"] or "", found["what"]) if found else ("", str(exc))
    if (key := _KEY.fullmatch(what)) is None:
        return place, what[:1].lower() + what[1:]
    name = f"{place}.{key['name']}".lstrip(".")
    if key["is"] == "missing required":
        return name, "is missing"
    known = {} if place else {field.encode_name: field for field in msgspec.structs.fields(into)}
    return name, f"unknown key{_hint(name, known)}"


def _refused(kind: ProblemKind, errors: list[Culprit]) -> ApiError:
    detail = "; ".join(
        f"{error.place} {error.name!r}: {error.detail}" if error.name else f"{error.place}: {error.detail}"
        for error in errors
    )
    return ApiError(kind, detail, errors=errors)


def _hint(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(known)}" if known else ""
