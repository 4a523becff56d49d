"""Lists as CSV or as one JSON object a line: all that match, written page by page, so that memory does not grow."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal, get_args

import msgspec
from aiohttp import hdrs, web
from aiohttp.web_response import ContentCoding

from gnomon.durations import encode_hook
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str
from gnomon.text import visible
from gnomon.wire.problems import INVALID_PARAMETER
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.compression import accepts_gzip
from gnomon_web.http.responses import encode_json
from gnomon_web.http.routes import Answer, Route, Signature

log = get_logger("gnomon.web")

Format = Literal["csv", "ndjson"]
MEDIA_TYPES: Final[dict[Format, str]] = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
FORMAT: Final = "format"
"""Of the query, for links: a browser sends no Accept of its own."""
LISTS: Final = ("items", "history")
"""The fields of a page that hold its entries."""
PAGE_ROWS: Final = 1_000
"""Entries of a page: with 4 KiB each, a few megabytes."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Beginnings of texts that spreadsheets run as formulas: such a text gets an apostrophe in front."""

Read = Callable[[Any], Awaitable[Any]]
"""Returns the answer to a request for a page, given its query."""


def entry_type(signature: Signature) -> type[msgspec.Struct] | None:
    """Return the type of the entries of a list, None where a route answers with anything else."""
    answer = signature.answer
    if (fields := getattr(answer, "__struct_fields__", None)) is not None:
        name = next((name for name in LISTS if name in fields), None)
        answer = next((field.type for field in msgspec.structs.fields(answer) if field.name == name), None)
    entry = next(iter(get_args(answer)), None)
    is_struct = isinstance(entry, type) and issubclass(entry, msgspec.Struct)
    return entry if is_struct and getattr(answer, "__origin__", None) is list else None


def is_list(route: Route, signature: Signature) -> bool:
    """Return whether a route has a list that can be exported."""
    return route.method == "GET" and route.kind == "rest" and entry_type(signature) is not None


def wanted_format(request: web.Request) -> Format | None:
    """Return the format in which a request wants a list; None for JSON. ApiError 400 for an unknown one."""
    if text := request.query.get(FORMAT):
        for name in MEDIA_TYPES:
            if name == text:
                return name
        if text != "json":
            detail = f"expected one of json, {', '.join(MEDIA_TYPES)}, got {text[:80]!r}"
            raise ApiError(INVALID_PARAMETER, detail, errors=[culprit("query", FORMAT, detail)])
        return None
    accepted = request.headers.get(hdrs.ACCEPT, "")
    return next((name for name, media_type in MEDIA_TYPES.items() if media_type in accepted), None)


async def export(
    request: web.Request, signature: Signature, query: Any, wanted: Format, read: Read
) -> web.StreamResponse:
    """Return the response with all entries of a list; its first page is read before it begins, for the errors."""
    first = await read(_first_page(query))
    names = [field.encode_name for field in msgspec.structs.fields(entry_type(signature) or msgspec.Struct)]
    chosen = getattr(query, "fields", ())
    response = Export(_pages(first, _first_page(query), read), wanted, ["id", *chosen] if chosen else names)
    name = request.path.rstrip("/").rpartition("/")[2] or "list"
    response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{name}.{wanted}"'
    response.headers[hdrs.VARY] = f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}"
    if accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
        response.enable_compression(ContentCoding.gzip)
    return response


def _first_page(query: Any) -> Any:
    return msgspec.structs.replace(query, limit=PAGE_ROWS) if hasattr(query, "limit") else query


async def _pages(answer: Any, query: Any, read: Read) -> AsyncIterator[Sequence[Any]]:
    """Yield the entries of all pages: by the `next` of each where there is one, else by offset."""
    seen = 0
    while True:
        body = answer.body if isinstance(answer, Answer) else answer
        entries = body if isinstance(body, list) else next(getattr(body, name) for name in LISTS if hasattr(body, name))
        yield entries
        seen += len(entries)
        following = getattr(body, "next", None)
        if following is not None and hasattr(query, "cursor"):
            query = msgspec.structs.replace(query, cursor=following, offset=0)
        elif following is not None and hasattr(query, "after"):
            query = msgspec.structs.replace(query, after=following)
        elif hasattr(body, "next"):
            return
        elif hasattr(query, "offset") and entries and seen < getattr(body, "total", 0):
            query = msgspec.structs.replace(query, offset=query.offset + len(entries))
        else:
            return
        answer = await read(query)


class Export(web.StreamResponse):
    """A response that reads and writes its pages when its headers are sent: no time limit of a request counts then."""

    def __init__(self, pages: AsyncIterator[Sequence[Any]], wanted: Format, names: Sequence[str]) -> None:
        super().__init__()
        self.content_type = MEDIA_TYPES[wanted]
        self.charset = "utf-8"
        self._pages = pages
        self._write_page = _csv_lines if wanted == "csv" else _json_lines
        self._names = names
        self._is_csv = wanted == "csv"

    async def write_eof(self, data: bytes = b"") -> None:
        """Write all pages. An error in between cuts the connection, which tells the client that the list is cut."""
        try:
            if self._is_csv:
                await self.write(_line(self._names))
            async for entries in self._pages:
                if lines := self._write_page(entries, self._names):
                    await self.write(lines)
        except ConnectionError:
            raise
        except Exception as exc:
            # The headers have been sent, so there is no answer for a problem; without the end of the chunks the client
            # sees that the list is not complete.
            log.error("an export was cut", problem=safe_str(exc), media_type=self.content_type)
            raise ConnectionResetError("the export was cut") from exc
        await super().write_eof(data)


def _json_lines(entries: Sequence[Any], _: Sequence[str]) -> bytes:
    return b"".join(encode_json(entry) + b"\n" for entry in entries)


def _csv_lines(entries: Sequence[Any], names: Sequence[str]) -> bytes:
    rows = (msgspec.to_builtins(entry, builtin_types=(datetime, date), enc_hook=encode_hook) for entry in entries)
    return b"".join(_line([row.get(name) for name in names]) for row in rows)


def _line(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([cell_text(cell) for cell in cells])
    return line.getvalue().encode(errors="replace")


def cell_text(value: Any) -> str:
    """Return a value as the text of a cell; lists and objects are JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if not isinstance(value, str):
        return encode_json(value).decode()
    text = visible(value, lines=True)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
