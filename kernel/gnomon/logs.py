"""The loggers of the kernel, which job code cannot redirect or silence.

They are structlog loggers and follow the configuration of the program. `gnomon run` fixes their output with
`keep_output`: otherwise the kernel's lines would be gone after a body has called `logging.basicConfig(force=True)`,
`logging.config.dictConfig()` or `structlog.configure()`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import structlog
from structlog.types import Processor


class Output(NamedTuple):
    """Where the lines go, and the processors that prepare them."""

    handler: logging.Handler
    processors: Sequence[Processor]


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
        logger = structlog.stdlib.get_logger(self._name) if _output is None else _own_logger(self._name, _output)
        return getattr(logger, method)


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
