"""The loggers of the kernel and of first-party plugins, which job code cannot redirect, silence or break.

They follow the configuration of the program and change none of it: a program that has configured structlog gets their
lines through structlog, every other program through `logging`, where each logger has the name of its module. An
unconfigured structlog would print every line to the standard output of the program.

`gnomon run` fixes their output with `keep_output`: otherwise the kernel's lines would be gone after a body has called
`logging.basicConfig(force=True)`, `logging.config.dictConfig()` or `structlog.configure()`. A line that cannot be
written is written to the standard error of the process instead; writing one raises nothing, because a closed stream or
a filter of a body must not end a kernel.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, NamedTuple, cast

import structlog
from structlog.types import Processor

from gnomon.fork_gate import passing
from gnomon.safe_text import MESSAGE_LIMIT, TRACEBACK_LIMIT, exact, safe_repr, safe_str
from gnomon.text import visible


class Output(NamedTuple):
    """Where the lines go, and the processors that prepare them."""

    handler: logging.Handler
    processors: Sequence[Processor]


_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "exception": logging.ERROR,
}
_WRITING = frozenset({*_LEVELS, "log"})
_TRACES = frozenset({"exception", "traceback"})
"""Facts that are texts of tracebacks."""
_OF_LOGGING = frozenset({"exc_info", "stack_info"})
_CALLERS = 3
"""Frames from `logging` up to the caller of a kernel logger, for the file and line of a record."""
_output: Output | None = None


class OwnLogger(logging.Logger):
    """A stdlib logger outside of the tree of loggers: nothing can disable it or remove its handler."""

    def __init__(self, name: str, handler: logging.Handler) -> None:
        super().__init__(name, handler.level)
        self.addHandler(handler)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name of the standard library
        """Compare with the level of this logger only; `logging.disable()` does not count."""
        return level >= self.level


class KernelLogger:
    """Looks its structlog logger up for every line, so that it follows the configuration of the moment."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return partial(_write, self._name, method) if method in _WRITING else getattr(_find_logger(self._name), method)


class PlainLogger:
    """Writes lines to `logging`, each as one text: the event, and its facts as `name=value`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method == "log":
            return self._log
        if method not in _LEVELS:
            return getattr(logging.getLogger(self._name), method)
        if method == "exception":
            return partial(self._log, _LEVELS[method], exc_info=True)
        return partial(self._log, _LEVELS[method])

    def _log(self, level: int, event: object, *args: Any, exc_info: Any = None, **facts: Any) -> None:
        logger = logging.getLogger(self._name)
        if logger.isEnabledFor(level):
            text = safe_str(event) if not args else safe_str(event) % args
            line = " ".join((text, *(f"{key}={_fact(value)}" for key, value in facts.items())))
            logger.log(level, "%s", line, exc_info=exc_info, stacklevel=_CALLERS)


def _fact(value: object) -> str:
    """Return a plain word as it is, and everything else as Python writes it."""
    is_word = type(value) is str and value.isprintable() and value and " " not in value
    return value if is_word else safe_repr(value)  # type: ignore[return-value]


def _find_logger(name: str) -> Any:
    if _output is not None:
        return _own_logger(name, _output)
    return structlog.stdlib.get_logger(name) if structlog.is_configured() else PlainLogger(name)


def _write(name: str, method: str, /, *args: Any, **facts: Any) -> None:
    try:
        with passing():
            # this also calls what a body has configured
            getattr(_find_logger(name), method)(*args, **{key: _bounded(key, fact) for key, fact in facts.items()})
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - filters, handlers and processors of bodies may raise anything
        _write_to_stderr(name, method, f"{safe_str(args)} {safe_str(facts)}", exc)


def _bounded(name: str, fact: Any) -> Any:
    """Return a fact, or a text in its place where it is long: ids and messages come from outside, without a limit."""
    if name in _OF_LOGGING or fact is None or isinstance(fact, int | float):
        return fact
    if isinstance(fact, str):
        limit = TRACEBACK_LIMIT if name in _TRACES else MESSAGE_LIMIT
        return fact if str.__len__(fact) <= limit else exact(fact, limit)
    text = safe_repr(fact)
    return text if len(text) > MESSAGE_LIMIT else fact


def _write_to_stderr(name: str, method: str, text: str, exc: BaseException) -> None:
    line = f"[{method}] {text} logger={name} (not logged: {safe_repr(exc)})"
    with suppress(OSError):
        os.write(2, visible(line).encode("utf-8", "backslashreplace") + b"\n")


def write_record(
    name: str, level: int, text: str, *, exc: BaseException | None, traceback: str | None, facts: Mapping[str, Any]
) -> None:
    """Write a record to `logging`, whatever structlog is configured to; raises nothing but KeyboardInterrupt.

    `traceback` is the text that formatters print. `exc` is for handlers that want the exception itself. `facts` become
    attributes of the record.
    """
    try:
        logger: logging.Logger = logging.getLogger(name) if _output is None else OwnLogger(name, _output.handler)
        if logger.isEnabledFor(level):
            info: tuple[type[BaseException], BaseException, TracebackType | None] | None = None
            if exc is not None:
                info = (type(exc), exc, exc.__traceback__)
            text = visible(exact(text, 2 * MESSAGE_LIMIT), lines=True)  # it has a message, and ids
            attributes = {key: _bounded(key, fact) for key, fact in facts.items()}
            record = logger.makeRecord(name, level, "(job)", 0, text, (), info, None, attributes)
            record.exc_text = visible(traceback, lines=True).rstrip("\n") if traceback else None
            with passing():
                logger.handle(record)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # noqa: BLE001 - as above
        _write_to_stderr(name, logging.getLevelName(level).lower(), text, problem)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module of the kernel."""
    return cast(structlog.stdlib.BoundLogger, KernelLogger(name))


def keep_output(handler: logging.Handler, processors: Sequence[Processor]) -> None:
    """Send all lines of kernel loggers through these processors to this handler, from now on and in any case."""
    global _output  # noqa: PLW0603 - a process has one output for its kernel
    _output = Output(handler, tuple(processors))


@lru_cache(maxsize=256)
def _own_logger(name: str, output: Output) -> Any:
    logger = OwnLogger(name, output.handler)
    return structlog.wrap_logger(logger, processors=list(output.processors), wrapper_class=structlog.stdlib.BoundLogger)
