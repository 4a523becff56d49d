"""Read the output of a child process line by line, with a bound on the length of a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LineReader(asyncio.Protocol):
    """Passes each line of a pipe, without its line end, to `on_line` as it arrives.

    A line longer than `limit` bytes comes in pieces: a child that writes no line ends must not fill the memory. asyncio
    calls the reader in the context of the code that connected the pipe.
    """

    def __init__(self, on_line: Callable[[bytes], None], limit: int) -> None:
        self._on_line, self._limit = on_line, limit
        self._rest = b""
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Pass on the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        while len(self._rest) > self._limit:
            self._on_line(self._rest[: self._limit])
            self._rest = self._rest[self._limit :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        """Pass on a last line without a line end."""
        if self._rest:
            self._pass_on(self._rest)
        self._rest = b""
        self.closed.set()

    def _pass_on(self, line: bytes) -> None:
        for start in range(0, len(line) or 1, self._limit):
            self._on_line(line[start : start + self._limit])
