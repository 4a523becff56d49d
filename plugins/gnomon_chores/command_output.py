"""One output stream of a command: its newest bytes kept, its lines given to the log."""

import asyncio
from collections.abc import Callable

LINE_LIMIT = (
    8192  # bytes of one line in the log; without a limit a command that writes no line ends would fill the memory
)


class CommandOutput(asyncio.Protocol):
    """Keeps the newest `limit` bytes and passes each line to `log` as it comes.

    asyncio calls it in the context of whoever connected the pipe: by that the log knows to which run a line belongs.
    """

    def __init__(self, limit: int, log: Callable[[str], None]) -> None:
        self._limit, self._log = limit, log
        self._kept, self._total = bytearray(), 0
        self._line = b""
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._kept += data
        self._total += len(data)
        del self._kept[: max(0, len(self._kept) - self._limit)]
        self._log_lines(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        self._log_lines(b"\n")
        self.closed.set()

    def _log_lines(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > LINE_LIMIT:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            if line.strip():
                self._log(line[:LINE_LIMIT].decode(errors="replace").rstrip("\r"))

    def text(self, size: int | None = None) -> str:
        """Return the newest `size` bytes (default: all that are kept) as text; a mark tells how many were dropped."""
        kept = bytes(self._kept[max(0, len(self._kept) - size) :] if size is not None else self._kept)
        if len(kept) == self._total:
            return kept.decode(errors="replace")
        kept = kept.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character whose first byte is gone
        return f"[{self._total - len(kept)} bytes dropped]\n{kept.decode(errors='replace')}"
