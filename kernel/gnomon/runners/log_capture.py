"""Whose log line is it? Told by context variables, never by guessing: what a body logs is kept with its run."""

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
    """Hands the stdlib log records of a run to its context."""

    def emit(self, record: logging.LogRecord) -> None:
        context = find_current()
        if context is None:
            return
        try:
            # structlog's ProcessorFormatter hands its event over as a dict.
            text = _sentence(record.msg) if isinstance(record.msg, dict) else record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f"\n{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        except Exception:  # noqa: BLE001 - a user's record may not format; logging must not break the body
            text = str(record.msg)
        at = datetime.fromtimestamp(record.created, UTC)
        context.log_line(record.levelname.lower(), text, record.name, at)


def capture_event(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hand a structlog event of a run to its context: a processor, which changes nothing."""
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
    """Keep the log lines of runs for as long as the block lasts: those of stdlib logging, and those of structlog.

    Several kernels of one process share it: whose line it is, the line's context knows.
    """
    global _kernels  # noqa: PLW0603 - logging is the process's, and so is how many want it
    with _lock:
        _kernels += 1
        _begin()
    try:
        yield
    finally:
        with _lock:
            _kernels -= 1
            if _kernels == 0:
                _end()


def _begin() -> None:
    """Where structlog writes through stdlib logging, the handler sees its lines already."""
    logging.getLogger().addHandler(_handler)  # once, however often it is added
    config = structlog.get_config()
    is_direct = not isinstance(config["logger_factory"], structlog.stdlib.LoggerFactory)
    if is_direct and capture_event not in config["processors"]:
        structlog.configure(processors=[capture_event, *config["processors"]])


def _end() -> None:
    logging.getLogger().removeHandler(_handler)
    processors = structlog.get_config()["processors"]
    if capture_event in processors:
        structlog.configure(processors=[one for one in processors if one is not capture_event])
