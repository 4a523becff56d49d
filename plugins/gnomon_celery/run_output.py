"""Captures what bodies print and keeps it with their runs, as the lines of the streams `stdout` and `stderr`.

Everything is written to the worker's own stream as well: there it is where users of Celery look for it.
"""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO

from gnomon.runners.context import Context, enter, find_current, leave
from gnomon_celery.hosted_run import HostedContext

LONGEST_LINE = 8 * 1024
"""Characters of a line without an end that are kept until it ends."""
_LOGGERS = frozenset({"logging", "structlog._output"})
"""Modules that write what is captured where it is logged."""


class RunStream(io.TextIOBase):
    """A text stream that belongs to the run that writes to it; outside of a run it is the stream that was there."""

    def __init__(self, name: str, original: TextIO) -> None:
        self.stream_name = name
        self.original = original

    def write(self, text: str, /) -> int:
        context = find_current()
        caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001
        if isinstance(context, HostedContext) and caller not in _LOGGERS:
            self._keep(context, text)
        else:
            self._pass_on(text)
        return len(text)

    def flush(self) -> None:
        self.original.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self.original.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream that was there."""
        return getattr(self.original, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def _keep(self, context: HostedContext, text: str) -> None:
        *lines, rest = (context.partial_lines.get(self.stream_name, "") + text).split("\n")
        if len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest], ""
        context.partial_lines[self.stream_name] = rest
        for line in lines:
            self.end_line(context, line)

    def end_line(self, context: HostedContext, line: str) -> None:
        """Keep a line with its run, and write it to the stream that was there."""
        context.log_line(self.stream_name, line.rstrip("\r"), self.stream_name)
        self._pass_on(f"{line}\n")

    def _pass_on(self, text: str) -> None:
        # Celery may log what is printed: in the log of the run it would appear twice.
        token = enter(None)
        try:
            self.original.write(text)
        finally:
            leave(token)


def capture_output() -> None:
    """Capture the standard streams of this process; does nothing for those that are captured already."""
    if not isinstance(sys.stdout, RunStream):
        sys.stdout = RunStream("stdout", sys.stdout)
    if not isinstance(sys.stderr, RunStream):
        sys.stderr = RunStream("stderr", sys.stderr)


def flush_output(context: Context) -> None:
    """Keep the lines that a body has left without an end."""
    if not isinstance(context, HostedContext):
        return
    for name, rest in list(context.partial_lines.items()):
        stream = sys.stdout if name == "stdout" else sys.stderr
        if rest and isinstance(stream, RunStream):
            stream.end_line(context, rest)
    context.partial_lines.clear()
