"""`gnomon run` with jobs that would end its process: by their tasks, by cancelling all, by taking its signals."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
JSON_LOG = ("--log-format", "json", "--log-level", "debug")
JOBS = """
import argparse
import asyncio
import gc
import signal
import sys
import time


async def child():
    await asyncio.sleep(0)
    argparse.ArgumentParser().parse_args(["--unknown"])


async def wait_for():
    await asyncio.wait_for(child(), 60)


async def call_soon():
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(0.01)


async def finalizer():
    async def numbers():
        try:
            yield 1
        finally:
            raise SystemExit(4)

    generator = numbers()
    await anext(generator)
    cycle = [generator]
    cycle.append(cycle)
    asyncio.get_running_loop().call_soon(gc.collect)


async def cancel_all():
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await asyncio.sleep(0.01)


async def saturate():
    for _ in range(64):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)


async def take_signals():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


async def neighbour():
    return "done"
"""
HOSTILE = {
    "wait_for": "failed",
    "call_soon": "succeeded",
    "finalizer": "succeeded",
    "cancel_all": "succeeded",
    "saturate": "succeeded",
}


@pytest.fixture
def kernel(start: Start, folder: Path) -> Callable[..., Any]:
    """Start a kernel with these jobs, which have no schedule."""
    (folder / "hostile_jobs.py").write_text(JOBS)

    def start_with(*jobs: str) -> Any:
        tables = "".join(f'[[jobs]]\nid = "{job}"\nfunc = "hostile_jobs:{job}"\n' for job in jobs)
        (folder / "gnomon.toml").write_text(f'[kernel]\ndrain = "200ms"\n[plugins.sqlite]\n{tables}')
        kernel = start("run", *JSON_LOG)
        kernel.wait_for("kernel started")
        return kernel

    return start_with


def test_the_kernel_survives_its_jobs_and_stops_in_time(kernel: Callable[..., Any], gnomon: Callable[..., Any]) -> None:
    running = kernel(*HOSTILE, "neighbour")

    for job, end in HOSTILE.items():
        assert gnomon("trigger", job).returncode == 0
        running.wait_for(end, job=job)
    assert gnomon("trigger", "neighbour", "--follow").returncode == 0

    running.send(signal.SIGTERM)
    running.wait_for("kernel stopped")
    assert running.ends() == 0, running.errors
    assert gnomon("audit").returncode == 0


def test_a_job_cannot_take_the_signals_that_stop_the_kernel(
    kernel: Callable[..., Any], gnomon: Callable[..., Any]
) -> None:
    running = kernel("take_signals")
    assert gnomon("trigger", "take_signals").returncode == 0

    named = running.wait_for("a job replaced the handlers of stop signals: they are installed again")
    running.send(signal.SIGTERM)

    assert named["signals"] == ["SIGTERM", "SIGINT"]
    assert running.ends() == 0, running.errors
