"""Executions for lists: long arguments, results and texts are cut, so that a page of them is small.

A list may have 200 executions or more, and the arguments of one may have 256 KiB, in older logs megabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gnomon.domain.execution import Execution
from gnomon.json_depth import MAX_DEPTH, cut_text, cut_value, decode_cut, is_text_too_deep
from gnomon.text import shorten

BRIEF_BYTES: Final = 2 * 1024
"""Bytes of JSON that each of arguments, result and texts may have in a list."""
STEPS_BYTES: Final = 16 * 1024
"""Bytes of JSON that the steps of one execution may have in a list: about 100 steps."""
LIST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a list, about; the executions after that many are cut to SHORTEST_BYTES."""
SHORTEST_BYTES: Final = 256
_EMPTY = {"args": b"[]", "kwargs": b"{}", "return_value": b"null"}
"""The values of an execution, and what they are by default."""
_TEXTS = ("error_message", "traceback", "reason", "detail", "warning", "late_result")
_PROGRESS_TEXTS = ("message", "current_item")
ELLIPSIS: Final = " …"
"""Ends a text of which only the beginning is left."""
RESERVE: Final = 16
"""Bytes for what completes the beginning of a value."""
QUOTE: Final = '"'
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)
_COMPLETE = re.compile(r'"(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Execution).decode


def brief(execution: Execution, limit: int = BRIEF_BYTES) -> Execution:
    """Return an execution for a list: the same one, or a copy with `truncated` whose long parts are cut."""
    changes: dict[str, Any] = {}
    for name in _EMPTY:
        if (value := getattr(execution, name)) and (cut := _cut(value, limit)) is not value:
            changes[name] = cut
    for name in _TEXTS:
        if (text := getattr(execution, name)) is not None and len(text) > limit:
            changes[name] = shorten(text, limit)
    progress: dict[str, Any] = {}
    for name in _PROGRESS_TEXTS:
        if (text := getattr(execution.progress, name)) is not None and len(text) > limit:
            progress[name] = shorten(text, limit)
    if execution.progress.steps and len(_encode(execution.progress.steps)) > STEPS_BYTES * limit // BRIEF_BYTES:
        progress |= {"steps": (), "declared": False}  # without its steps, the percentage cannot be derived from them
    if progress:
        changes["progress"] = msgspec.structs.replace(execution.progress, **progress)
    return msgspec.structs.replace(execution, truncated=True, **changes) if changes else execution


def brief_list(executions: Iterable[Execution]) -> list[Execution]:
    """Return executions for a list of about LIST_BYTES at most."""
    found: list[Execution] = []
    size = 0
    for execution in executions:
        one = brief(execution, BRIEF_BYTES if size < LIST_BYTES else SHORTEST_BYTES)
        size += len(_encode(one))
        found.append(one)
    return found


def decode_brief(body: bytes) -> Execution:
    """Decode an execution as JSON for a list, without building the objects of its long values.

    A megabyte of JSON can be 20 MB of objects.
    """
    if len(body) <= BRIEF_BYTES:
        return brief(decode_cut(_decode, body))
    raw = decode_cut(_decode_raw, body)
    fields = msgspec.structs.asdict(raw)
    texts = {name: bytes(fields[name]) for name in _EMPTY}
    is_long = any(_is_long(text, BRIEF_BYTES) for text in texts.values())
    values = {name: _shortened(text, BRIEF_BYTES) for name, text in texts.items()}
    return brief(Execution(**{**fields, **values, "truncated": is_long}))


def _raw_field(field: Any) -> Any:
    if field.name in _EMPTY:
        return field.name, msgspec.Raw, msgspec.Raw(_EMPTY[field.name])
    if field.required:
        return field.name, field.type
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    return field.name, field.type, field.default


_RawExecution = msgspec.defstruct("_RawExecution", map(_raw_field, msgspec.structs.fields(Execution)), kw_only=True)
"""An execution whose values are not decoded."""
_decode_raw = msgspec.json.Decoder(_RawExecution).decode


def _is_long(text: bytes, limit: int) -> bool:
    return len(text) > limit or is_text_too_deep(text)


def _cut(value: Any, limit: int) -> Any:
    """Return the value itself, or what is left of a long one."""
    try:
        text = _encode(value)
    except RecursionError:
        text = _encode(cut_value(value))
        return _shortened(text, limit)
    return _shortened(text, limit) if _is_long(text, limit) else value


def _shortened(text: bytes, limit: int) -> Any:
    """Return the value of a JSON text; of a long one what its beginning has."""
    kept = text if len(text) <= limit else _beginning(text[: max(limit - RESERVE, 1)])
    return msgspec.json.decode(cut_text(kept, MAX_DEPTH))


def _beginning(head: bytes) -> bytes:
    """Return the valid JSON text that the beginning of one has; it costs the same however long the whole is."""
    closers = kept = b""
    end, is_key = 0, False
    for token in _TOKENS.finditer(head):
        start = token.start()
        match token[0][:1]:
            case b"[" | b"{":
                closers = (b"]" if token[0] == b"[" else b"}") + closers
                kept, end, is_key = closers, token.end(), token[0] == b"{"
            case b"]" | b"}":
                closers = closers[1:]
                kept, end = closers, token.end()
            case b",":
                kept, end, is_key = closers, start, closers[:1] == b"}"
            case b":":
                is_key = False
            case _ if not is_key and token.end() == len(head):  # a text that may go on
                return head[:start] + _begun_text(token[0]) + closers
    return head[:end] + kept if end else b"null"


def _begun_text(text: bytes) -> bytes:
    """Return the beginning of a JSON text of letters as a whole one."""
    found = _COMPLETE.match(text.decode(errors="ignore"))
    return f'{found[0] if found else QUOTE}{ELLIPSIS}"'.encode()
