"""A `gnomon` command in its own process, for tests that watch its log, send it signals and wait for its end."""

from __future__ import annotations

import json
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 100.0
"""Seconds until a test gives up waiting: far more than a slow machine needs, for nothing waits that long otherwise."""


class Gnomon:
    """`gnomon ...` as its own process; its log lines are read as JSON while it runs."""

    def __init__(
        self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str], descriptors: int | None = None
    ) -> None:
        """Start it; `descriptors` is the number of files that it may open, as set by `ulimit -n`."""
        limit = descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)))
        self.process = subprocess.Popen(
            preexec_fn=limit or None,  # noqa: PLW1509 - it calls the system only
            args=[sys.executable, "-m", "gnomon.cli", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._fresh.put(line)
        self._fresh.put(None)

    def wait_for(self, what: str, **facts: Any) -> dict[str, Any]:
        """Wait for a log line that says this."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._fresh.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(
                    f"it did not say {what!r} {facts} within {PATIENCE:g} s:\n{''.join(self.lines)}"
                ) from None
            assert line is not None, f"it ended before it said {what!r} {facts}:\n{''.join(self.lines)}"
            self.lines.append(line)
            said: dict[str, Any] = json.loads(line) if line.startswith("{") else {"event": line.rstrip()}
            if said["event"] == what and facts.items() <= said.items():
                return said

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end and return its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._fresh.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return code

    @property
    def errors(self) -> str:
        return "".join(self.lines)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
