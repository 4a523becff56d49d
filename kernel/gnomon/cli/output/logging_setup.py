"""Logging of the command line: to stderr, coloured for people, as logfmt or JSON for machines."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, ExcInfo, Processor

from gnomon.cli.output.states import format_facts
from gnomon.logs import keep_output
from gnomon.runners.context import find_current
from gnomon.text import visible
from gnomon.threads import plugin_of


class CurrentStderr:
    """Writes to the current sys.stderr, which a live progress bar replaces while it is shown."""

    def write(self, text: str) -> object:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class StderrHandler(logging.StreamHandler[Any]):
    """Gnomon's handler; its class identifies it among the handlers of the root logger."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the standard library
        """Lose a line that cannot be written, perhaps because a body has closed sys.stderr."""


def configure_logging(level: str = "warning", style: str | None = None) -> None:
    """Send log lines of that level or above, from structlog and the standard library, to stderr.

    `style` is "console", "logfmt" or "json"; the default is console on a terminal, else logfmt.
    """
    style = style or ("console" if sys.stderr.isatty() else "logfmt")
    stamp = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False) if style == "console" else _utc_stamp()
    common: list[Processor] = [structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder(), stamp]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = StderrHandler(CurrentStderr())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[
                _add_plugin,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _add_run,
                _make_visible,
                *_renderers(style),
                _hide_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, StderrHandler)] + [handler]
    # The handler filters, not the root logger: lines of a body at level info are stored with its run in any case.
    handler.setLevel(level.upper())
    root.setLevel(min(handler.level, logging.INFO))


def keep_kernel_output() -> None:
    """Keep the output of the kernel's own lines as it is now, whatever the bodies of jobs configure.

    They have their own handler, which no body can find, and their own descriptor: a body may close sys.stderr.
    """
    shared = next(handler for handler in logging.getLogger().handlers if isinstance(handler, StderrHandler))
    stream = open(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace", buffering=1)  # noqa: SIM115, PTH123 - a descriptor, for the life of the process
    own = StderrHandler(stream)
    own.setFormatter(shared.formatter)
    own.setLevel(shared.level)
    keep_output(own, structlog.get_config()["processors"])


def _add_plugin(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the name of the plugin on whose thread a line was logged; the kernel's own lines have their own facts."""
    record: logging.LogRecord = event["_record"]
    plugin = plugin_of(record.threadName)
    return event if plugin is None or record.name.startswith("gnomon.") else {"plugin": plugin, **event}


def _add_run(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the run whose body logged a line."""
    context = find_current()
    return event if context is None else {**event, "job": context.job_id, "run": context.execution_id}


def _make_visible(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write out the control characters of foreign text: a line of the log stays one line and controls no terminal."""
    return {
        visible(name): visible(value, lines=name in {"exception", "stack"}) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _visible_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    stream.write(visible(text.getvalue(), lines=True))


def _hide_secrets(_logger: object, _method: str, line: Any) -> str:
    """Hide the secrets of the run whose body logged a line."""
    context, text = find_current(), str(line)
    return text if context is None or context.mask is None else context.mask.hide(text)


def _for_people(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write times in the zone of this machine, like the timestamp of the line."""
    return format_facts(event, None)


def _for_machines(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write times in ISO 8601 and UTC, like the timestamp of the line."""
    return {name: _iso(value) if isinstance(value, datetime) else value for name, value in event.items()}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _utc_stamp() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _renderers(style: str) -> list[Processor]:
    if style == "console":
        colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=_visible_traceback, sort_keys=False, pad_event_to=14
        )
        return [_for_people, renderer]
    if style == "json":
        return [_for_machines, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    order = ["timestamp", "level", "event", "job", "run"]
    return [
        _for_machines,
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True, bool_as_flag=False),
    ]
