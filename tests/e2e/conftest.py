from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gnomon_process import PATIENCE, Gnomon
from servers import Port

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


def naps(ctx: Context, delay: str = "100ms"):
    if ctx.snoozes < 2:
        ctx.snooze(delay, "not ready")
    return ctx.snoozes


def talkative():
    print("this is not the result")
    return "this is"
"""


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

    def start_one(*arguments: str, descriptors: int | None = None, **variables: str) -> Gnomon:
        started.append(Gnomon(folder, arguments, environment | variables, descriptors))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


@pytest.fixture
def port() -> Iterator[int]:
    """Provide a port that nobody else gets before the end of the test."""
    kept = Port()
    yield kept.number
    kept.release()


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
