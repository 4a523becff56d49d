"""The loggers of the kernel and of first-party plugins, which job code cannot redirect, silence or break.

They are structlog loggers and follow the configuration of the program. `gnomon run` fixes their output with
`keep_output`: otherwise the kernel's lines would be gone after a body has called `logging.basicConfig(force=True)`,
`logging.config.dictConfig()` or `structlog.configure()`. A line that cannot be written is written to the standard error
of the process instead; writing one raises nothing, because a closed stream or a filter of a body must not end a kernel.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import structlog
from structlog.types import Processor

from gnomon.safe_text import safe_repr, safe_str
from gnomon.text import visible


class Output(NamedTuple):
    """Where the lines go, and the processors that prepare them."""

    handler: logging.Handler
    processors: Sequence[Processor]


_WRITING = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log"})
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


def _find_logger(name: str) -> Any:
    return structlog.stdlib.get_logger(name) if _output is None else _own_logger(name, _output)


def _write(name: str, method: str, /, *args: Any, **facts: Any) -> None:
    try:
        getattr(_find_logger(name), method)(*args, **facts)  # this also calls what a body has configured
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - filters, handlers and processors of bodies may raise anything
        line = f"[{method}] {safe_str(args)} {safe_str(facts)} logger={name} (not logged: {safe_repr(exc)})"
        with suppress(OSError):
            os.write(2, visible(line).encode("utf-8", "backslashreplace") + b"\n")


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
