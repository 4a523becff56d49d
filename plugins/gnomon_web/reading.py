"""Parts of a request become Structs; what does not fit is told with its place and name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, get_args, get_origin

import msgspec
from aiohttp import web

from gnomon_web.problems import ApiError, Culprit, Place, culprit

S = TypeVar("S", bound=msgspec.Struct)
JSON = "application/json"
LONGEST_SHOWN = 80
MOMENT = "expected a time with an offset, such as 2026-01-31T18:00:00Z or 2026-01-31T18:00:00%2B08:00 (a + is a space)"
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)
_KEY = re.compile(r"Object (?P<is>missing required|contains unknown) field `(?P<name>.*)`")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {"true": True, "false": False}


def read_text_fields(into: type[S], place: Place, given: Iterable[tuple[str, str]], *, strict: bool) -> S:
    """Make a Struct of parameters that are text; ApiError 400 names every one that is wrong.

    With `strict`, names that the Struct does not have are wrong too. A list is one text with commas.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(into)}
    values: dict[str, Any] = {}
    problems: list[Culprit] = []
    for name, text in given:
        if name in values:
            problems.append(culprit(place, name, "is given twice"))
        elif name in fields:
            try:
                values[name] = _convert(text, fields[name].type)
            except ValueError as exc:
                problems.append(culprit(place, name, f"{exc}, got {text[:LONGEST_SHOWN]!r}"))
        elif strict:
            problems.append(culprit(place, name, f"there is no such parameter{_hint(name, fields)}"))
    problems += [
        culprit(place, name, "is missing") for name, f in fields.items() if f.required and name not in dict(given)
    ]
    if problems:
        raise _refused(400, problems)
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as exc:  # what only the whole can tell, in its __post_init__
        raise _refused(400, [culprit(place, *_told(exc, into))]) from exc


def _convert(text: str, expected: Any) -> Any:
    """Read one value. Not with msgspec's strict=False: that takes 1 for true, and much else that nobody means."""
    plain = _plain(expected)
    value: Any = text
    if plain is int:
        if not _INTEGER.fullmatch(text):
            raise ValueError("expected an integer")
        value = int(text)
    elif plain is bool:
        if text not in _BOOLEANS:
            raise ValueError("expected true or false")
        value = _BOOLEANS[text]
    elif plain in {tuple, list}:
        value = text.split(",")
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as exc:
        raise ValueError(MOMENT if plain is datetime else _words(exc, expected)) from exc


def _plain(expected: Any) -> Any:
    """Find the one type that a parameter may have: without None, without its constraints."""
    for member in (expected, *get_args(expected)):
        origin = get_origin(member) or member
        if origin in {int, bool, tuple, list, datetime}:
            return origin
        if hasattr(member, "__metadata__"):
            return _plain(get_args(member)[0])
    return str


def _words(exc: msgspec.ValidationError, expected: Any) -> str:
    what = _AT.fullmatch(str(exc))
    said = what["what"] if what else str(exc)
    if said.startswith("Invalid enum value") and (words := _literals(expected)):
        return f"expected one of {', '.join(words)}"
    return said[:1].lower() + said[1:]


def _literals(expected: Any) -> list[str]:
    if isinstance(expected, str):
        return [expected]
    return [word for member in get_args(expected) for word in _literals(member)]


async def read_body(request: web.Request, into: type[S], *, is_needed: bool) -> S | None:
    """Make a Struct of a JSON body: ApiError 415, 413, 400 (no JSON) or 422 (not what was expected)."""
    if not is_needed and not request.can_read_body:
        return None
    if request.content_type != JSON:
        detail = f"the body must be {JSON}, got {request.content_type!r}"
        raise ApiError(415, detail, errors=[culprit("header", "Content-Type", detail)])
    body = await request.read()
    try:
        return msgspec.json.decode(body, type=into)
    except msgspec.ValidationError as exc:
        raise _refused(422, [culprit("body", *_told(exc, into))]) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _refused(400, [culprit("body", "", f"is no JSON: {exc}")]) from exc


async def expect_no_body(request: web.Request) -> None:
    """Accept an empty body or an empty object: some clients always send one."""
    if request.can_read_body and (await request.read()).strip() not in {b"", b"{}", b"null"}:
        raise _refused(422, [culprit("body", "", "expected no body")])


def _told(exc: msgspec.ValidationError, into: type[msgspec.Struct]) -> tuple[str, str]:
    """Return which part is wrong and what is wrong with it; msgspec says of keys only that something has them."""
    said = _AT.fullmatch(str(exc))
    place, what = (said["place"] or "", said["what"]) if said else ("", str(exc))
    if (key := _KEY.fullmatch(what)) is None:
        return place, what[:1].lower() + what[1:]
    name = f"{place}.{key['name']}".lstrip(".")
    if key["is"] == "missing required":
        return name, "is missing"
    known = {} if place else {field.encode_name: field for field in msgspec.structs.fields(into)}
    return name, f"there is no such key{_hint(name, known)}"


def _refused(status: int, problems: list[Culprit]) -> ApiError:
    told = "; ".join(
        f"{problem.place} {problem.name!r}: {problem.detail}" if problem.name else f"{problem.place}: {problem.detail}"
        for problem in problems
    )
    return ApiError(status, told, errors=problems)


def _hint(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}" if known else ""
