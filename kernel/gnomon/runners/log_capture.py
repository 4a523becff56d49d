"""Captures what bodies log and keeps it with their runs, which are found by context variables, never by guessing.

The capture wraps two methods, one of stdlib logging and one of structlog, through which every line goes. A handler or a
processor would be gone after `logging.basicConfig(force=True)`, `root.handlers.clear()` or `structlog.configure()` in
any body, and with it the lines of all other runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from gnomon.fork_gate import passing
from gnomon.runners.context import Context, find_current
from gnomon.runners.log_buffer import MAX_LINE_CHARACTERS
from gnomon.safe_text import Hide, exact, safe_repr, safe_str, type_name

TEXT_LIMIT = 4 * MAX_LINE_CHARACTERS
_HIDDEN = frozenset({"event", "level", "timestamp", "exc_info"})
"""Keys of a structlog event that are not facts of the line."""


def capture_record(record: logging.LogRecord) -> None:
    """Keep a stdlib log record with the current run, if any. Never raises, whatever the record contains."""
    context = find_current()
    if context is None:
        return
    try:
        at = datetime.fromtimestamp(record.created, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        at = None
    hide = context.mask.hide if context.mask is not None else None
    context.log_line(_text(record.levelname).lower(), _message(record, hide), _text(record.name or ""), at)


def capture_event(context: Context, method: str, event: Mapping[str, Any]) -> None:
    """Keep a structlog event with a run."""
    context.log_line(method, _sentence(event, context.mask.hide if context.mask is not None else None), "")


def _message(record: logging.LogRecord, hide: Hide | None) -> str:
    # structlog's ProcessorFormatter passes its event as a dict.
    text = _sentence(record.msg, hide) if type(record.msg) is dict else _formatted(record, hide)
    if record.exc_info and record.exc_info[1] is not None:
        exc = record.exc_info[1]
        text += f"\n{type_name(exc)}: {safe_str(exc, TEXT_LIMIT, hide)}"
    return text


def _formatted(record: logging.LogRecord, hide: Hide | None) -> str:
    try:
        return exact(record.getMessage(), TEXT_LIMIT, hide)
    except BaseException:  # noqa: BLE001 - a record of the body may raise anything; logging must not break the body
        return safe_str(record.msg, TEXT_LIMIT, hide)


def _sentence(event: Mapping[str, Any], hide: Hide | None) -> str:
    facts = (
        f"{_text(key)}={safe_repr(value, TEXT_LIMIT, hide)}"
        for key, value in event.items()
        if key not in _HIDDEN and not _text(key).startswith("_")
    )
    return " ".join((safe_str(event.get("event", ""), TEXT_LIMIT, hide), *facts))


def _text(value: object) -> str:
    return safe_str(value, TEXT_LIMIT)


# --- the two wrapped methods ---

_call_handlers = logging.Logger.callHandlers
_process_event: Callable[..., Any] = structlog.BoundLoggerBase._process_event  # noqa: SLF001 - documented for subclasses
_lock = threading.Lock()
_is_installed = False


def install_capture() -> None:
    """Wrap the two methods for as long as the process lasts. Outside of a run they do what they always did."""
    global _is_installed  # noqa: PLW0603 - logging is global to the process
    with _lock:
        if not _is_installed:  # once: other libraries may have wrapped the wrappers since
            logging.Logger.callHandlers = _capturing_call_handlers  # type: ignore[method-assign]
            structlog.BoundLoggerBase._process_event = _capturing_process_event  # type: ignore[method-assign]  # noqa: SLF001
            _is_installed = True


def _capturing_call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    capture_record(record)
    with passing():
        _call_handlers(self, record)


def _capturing_process_event(
    self: structlog.BoundLoggerBase, method_name: str, event: str | None, event_kw: dict[str, Any]
) -> Any:
    if (context := find_current()) is None:
        return _process_event(self, method_name, event, event_kw)
    if not isinstance(self._logger, logging.Logger):
        capture_event(context, method_name, {**self._context, **event_kw, "event": event})
        return _process_event(self, method_name, event, event_kw)
    try:  # structlog writes through stdlib logging, so the line comes to the other method too
        return _process_event(self, method_name, event, event_kw)
    except BaseException:  # unless a processor drops it, which another run may have configured
        level = logging.getLevelNamesMapping().get(method_name.upper(), logging.ERROR)
        if self._logger.isEnabledFor(level):
            capture_event(context, method_name, {**self._context, **event_kw, "event": event})
        raise
