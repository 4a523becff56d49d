"""Captures what bodies log and keeps it with their runs, which are found by context variables, never by guessing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog

from gnomon.runners.context import find_current


class CapturingHandler(logging.Handler):
    """Passes the stdlib log records of a run to its context."""

    def emit(self, record: logging.LogRecord) -> None:
        context = find_current()
        if context is None:
            return
        try:
            # structlog's ProcessorFormatter passes its event as a dict.
            text = _sentence(record.msg) if isinstance(record.msg, dict) else record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f"\n{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        except Exception:  # noqa: BLE001 - a user's record may not format; logging must not break the body
            text = str(record.msg)
        at = datetime.fromtimestamp(record.created, UTC)
        context.log_line(str(record.levelname).lower(), text, str(record.name or ""), at)


def capture_event(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Pass a structlog event of a run to its context: a processor that changes nothing."""
    context = find_current()
    if context is not None:
        context.log_line(method, _sentence(event), "")
    return event


def _sentence(event: Mapping[str, Any]) -> str:
    left_out = {"event", "level", "timestamp", "exc_info"}
    rest = (f"{key}={value!r}" for key, value in event.items() if key not in left_out and not key.startswith("_"))
    return " ".join((str(event.get("event", "")), *rest))


_handler = CapturingHandler()
_kernels = 0
_lock = threading.Lock()


@contextmanager
def captured() -> Iterator[None]:
    """Capture the lines of runs, from stdlib logging and from structlog, while the block lasts.

    Several kernels in one process share the capture: each line is found by its context.
    """
    global _kernels  # noqa: PLW0603 - logging is global to the process, and so is the number of its kernels
    with _lock:
        _kernels += 1
        _install()
    try:
        yield
    finally:
        with _lock:
            _kernels -= 1
            if _kernels == 0:
                _uninstall()


def _install() -> None:
    logging.getLogger().addHandler(_handler)  # has no effect the second time
    config = structlog.get_config()
    # If structlog writes through stdlib logging, the handler already sees its lines.
    is_direct = not isinstance(config["logger_factory"], structlog.stdlib.LoggerFactory)
    if is_direct and capture_event not in config["processors"]:
        structlog.configure(processors=[capture_event, *config["processors"]])


def _uninstall() -> None:
    logging.getLogger().removeHandler(_handler)
    processors = structlog.get_config()["processors"]
    if capture_event in processors:
        structlog.configure(processors=[one for one in processors if one is not capture_event])
