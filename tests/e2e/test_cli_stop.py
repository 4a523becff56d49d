"""`gnomon run` and `gnomon exec` end in time, whatever the bodies of jobs have left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from log_checker import read_events

Start = Callable[..., Any]
JSON_LOG = ("--log-format", "json", "--log-level", "debug")
JOBS = """
import asyncio
import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

KEPT = []


def thread():
    threading.Thread(target=time.sleep, args=[3600], name="left-thread", daemon=False).start()


def executor():
    pool = concurrent.futures.ThreadPoolExecutor(1)
    KEPT.append((pool, pool.submit(time.sleep, 3600)))


async def default_executor():
    KEPT.append(asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600))


def child():
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=[3600])
    process.start()
    KEPT.append(process)
    Path("child.pid").write_text(str(process.pid))


def process_pool():
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    KEPT.append((pool, pool.submit(time.sleep, 3600)))


def subprocess_child():
    code = "import time; time.sleep(3600)"
    KEPT.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    Path("subprocess.pid").write_text(str(KEPT[-1].pid))


async def saturated_executor():
    loop = asyncio.get_running_loop()
    KEPT.extend(loop.run_in_executor(None, time.sleep, 3600) for _ in range(64))


async def task():
    KEPT.append(asyncio.create_task(swallow()))
    await asyncio.sleep(0)


async def swallow():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
LEFT_BEHIND = (
    "thread",
    "executor",
    "default_executor",
    "child",
    "process_pool",
    "subprocess_child",
    "saturated_executor",
    "task",
)


@pytest.fixture
def leaving(start: Start, folder: Path) -> Callable[..., Any]:
    """Start a kernel whose jobs, triggered once, leave something behind or never stop."""
    (folder / "left_jobs.py").write_text(JOBS)

    def start_with(*jobs: str, kernel: str = 'drain = "200ms"') -> Any:
        tables = "".join(
            f'[[jobs]]\nid = "{job}"\nfunc = "left_jobs:{job}"\nat = 2020-01-01T00:00:00Z\ncancel_grace = "100ms"\n'
            for job in jobs
        )
        (folder / "gnomon.toml").write_text(f"[kernel]\n{kernel}\n[plugins.sqlite]\n{tables}")
        return start("run", *JSON_LOG)

    return start_with


def test_nothing_that_bodies_leave_behind_keeps_the_process_alive(leaving: Callable[..., Any], folder: Path) -> None:
    kernel = leaving(*LEFT_BEHIND)
    for _ in LEFT_BEHIND:
        kernel.wait_for("succeeded")
    kernel.send(signal.SIGTERM)

    kernel.wait_for("kernel stopped")
    named = kernel.wait_for("jobs left something behind: the process ends without waiting for it")

    assert kernel.ends() == 0, kernel.errors
    (stopped,) = [event for event in read_events(folder / "gnomon.db") if event["type"] == "kernel_stopped"]
    assert stopped["reason"] == "SIGTERM"
    assert "left-thread" in named["threads"]
    wait_until_gone(int((folder / "child.pid").read_text()))
    os.kill(int((folder / "subprocess.pid").read_text()), signal.SIGKILL)  # its own program may outlive the kernel


def test_a_task_that_never_stops_does_not_keep_the_kernel_from_stopping(leaving: Callable[..., Any]) -> None:
    kernel = leaving("swallow")
    kernel.wait_for("started")
    kernel.send(signal.SIGTERM)

    kernel.wait_for("failed", job="swallow", reason="lost")

    assert kernel.ends() == 0, kernel.errors


@pytest.mark.usefixtures("leaving")
@pytest.mark.parametrize("job", ["executor", "task"])
def test_exec_ends_with_its_result_whatever_the_body_leaves_behind(
    job: str, folder: Path, gnomon: Callable[..., Any]
) -> None:
    (folder / "gnomon.toml").write_text(f'[plugins.sqlite]\n[[jobs]]\nid = "{job}"\nfunc = "left_jobs:{job}"\n')

    done = gnomon("exec", job, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "success"
    assert "jobs left something behind" in done.stderr


def wait_until_gone(pid: int) -> None:
    """Wait until a killed process is gone: until it is reaped, its id is still taken."""
    with contextlib.suppress(ProcessLookupError):
        while True:  # the limit for a test bounds it
            os.kill(pid, 0)
            time.sleep(0.01)
