from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 100.0
"""Seconds until a test gives up waiting: far more than a slow machine needs, for nothing waits that long otherwise."""

JOBS = """
import logging
import time
from pathlib import Path

from gnomon import Context


async def tick():
    return "tock"


def slow():
    time.sleep(600)


def steps(ctx: Context, rows: int = 4):
    ctx.step("fetch")
    ctx.step("store")
    for row in ctx.track(range(rows)):
        pass
    return {"rows": rows}


def until_cancelled(ctx: Context):
    while True:
        time.sleep(0.01)
        ctx.progress(message="waiting")


def broken():
    raise ValueError("no such table: prices")


def logging_one():
    logging.getLogger("my_jobs").info("42 rows are new")


def counts():
    for number in range(1, 6):
        logging.getLogger("counts").info(number)
        time.sleep(0.05)


def talkative():
    print("this is not the result")
    return "this is"
"""


class Gnomon:
    """`gnomon ...` as its own process; its log lines are read as JSON while it runs."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gnomon.cli", *arguments],
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
            line = self._fresh.get(timeout=max(deadline - time.monotonic(), 0.01))
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


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_taken() -> Iterator[None]:
    """A shell lets what it starts in the background ignore Ctrl-C, and so does everything that is started by that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of the processes, without what would change their deployment or their look."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    return {name: value for name, value in kept.items() if name not in {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a module of jobs, `my_jobs`."""
    (tmp_path / "my_jobs.py").write_text(JOBS)
    return tmp_path


@pytest.fixture
def start(folder: Path, environment: dict[str, str]) -> Iterator[Callable[..., Gnomon]]:
    """Start `gnomon ARGUMENTS` in the folder; what still runs at the end is killed."""
    started: list[Gnomon] = []

    def start_one(*arguments: str, **variables: str) -> Gnomon:
        started.append(Gnomon(folder, arguments, environment | variables))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


@pytest.fixture
def gnomon(folder: Path, environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `gnomon ARGUMENTS` in the folder to its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gnomon.cli", *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return run


@pytest.fixture
def configure(folder: Path) -> Callable[..., Path]:
    """Write a gnomon.toml: jobs of `my_jobs` by id, each with the text of its other keys."""

    def write(kernel: str = 'drain = "5s"', **jobs: str) -> Path:
        tables = [f'[[jobs]]\nid = "{name}"\nfunc = "my_jobs:{name}"\n{keys}\n' for name, keys in jobs.items()]
        path = folder / "gnomon.toml"
        path.write_text(f"[kernel]\n{kernel}\n[plugins.sqlite]\npath = 'gnomon.db'\n" + "".join(tables))
        return path

    return write
