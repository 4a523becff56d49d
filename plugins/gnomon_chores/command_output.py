"""One output stream of a command: its newest bytes are kept, its lines go to the log."""

from collections.abc import Callable

from gnomon.subprocesses.lines import LineReader

LINE_LIMIT = 8192  # bytes of one line in the log


class CommandOutput(LineReader):
    """Keeps the newest `limit` bytes and passes each line that is not blank to `log` as it arrives."""

    def __init__(self, limit: int, log: Callable[[str], None]) -> None:
        super().__init__(self._log_line, LINE_LIMIT)
        self._limit_kept, self._log = limit, log
        self._kept, self._total = bytearray(), 0

    def data_received(self, data: bytes) -> None:
        self._kept += data
        self._total += len(data)
        del self._kept[: max(0, len(self._kept) - self._limit_kept)]
        super().data_received(data)

    def _log_line(self, line: bytes) -> None:
        if line.strip():
            self._log(line.decode(errors="replace").rstrip("\r"))

    def text(self, size: int | None = None) -> str:
        """Return the newest `size` bytes (default: all that are kept) as text; a mark tells how many were dropped."""
        kept = bytes(self._kept[max(0, len(self._kept) - size) :] if size is not None else self._kept)
        if len(kept) == self._total:
            return kept.decode(errors="replace")
        kept = kept.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character whose first byte was dropped
        return f"[{self._total - len(kept)} bytes dropped]\n{kept.decode(errors='replace')}"
