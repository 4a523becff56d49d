"""Where log lines go and how they look: always to stderr; coloured for people, logfmt or JSON for machines."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

import structlog
from structlog.types import EventDict, Processor

from gnomon.cli.output.states import written_facts
from gnomon.runners.context import find_current
from gnomon.threads import plugin_of

FORMATS = ("console", "logfmt", "json")
LEVELS = ("debug", "info", "warning", "error", "critical")


class CurrentStderr:
    """Whatever sys.stderr is by now: a live progress bar puts itself in its place for a while."""

    def write(self, text: str) -> object:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class StderrHandler(logging.StreamHandler[CurrentStderr]):
    """The one handler of ours, known by its class."""


def begin_log(level: str = "warning", style: str | None = None) -> None:
    """Send what is logged through structlog, and through the standard library, to stderr from that level on.

    `style` is one of FORMATS; by default console on a terminal, else logfmt. Calling it again changes both.
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
                *_renderers(style),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, StderrHandler)] + [handler]
    # The handler is the one who leaves out: what a body logs at info is kept with its run, shown here or not.
    handler.setLevel(level.upper())
    root.setLevel(min(handler.level, logging.INFO))


def _add_plugin(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say which plugin has logged a line on its own thread; our own lines say by themselves what they are about."""
    record: logging.LogRecord = event["_record"]
    plugin = plugin_of(record.threadName)
    return event if plugin is None or record.name.startswith("gnomon.") else {"plugin": plugin, **event}


def _add_run(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say to which run a line belongs that its body has logged."""
    context = find_current()
    return event if context is None else {**event, "job": context.job_id, "run": context.execution_id}


def _for_people(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write times in the zone of this machine, as the line's own is."""
    return written_facts(event, None)


def _for_machines(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write times as the line's own is: ISO 8601, in UTC."""
    return {name: _iso(value) if isinstance(value, datetime) else value for name, value in event.items()}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _utc_stamp() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _renderers(style: str) -> list[Processor]:
    if style == "console":
        colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=plain, sort_keys=False, pad_event_to=14
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
