"""A process that was stopped with SIGSTOP for longer than runs may be silent: no live run is ended for that."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_runs import IS_LONG

IF_LONG = pytest.mark.skipif(not IS_LONG, reason="takes a minute")
JOBS = """
import asyncio
import time
from pathlib import Path

from gnomon import Context, current


def lively(ctx: Context):
    while not Path("go").exists():
        ctx.progress(message="alive")
        time.sleep(0.05)


def printing():
    while not Path("go").exists():
        print("alive")
        time.sleep(0.05)


async def waiting():
    while not Path("go").exists():
        current().progress(message="alive")
        await asyncio.sleep(0.05)


async def silent():
    await asyncio.sleep(3600)
"""
CONFIG = """
[plugins.sqlite]
[plugins.reaper]
interval = "1s"
threshold = "{limit}s"
job_id = ""
"""
JOB = """
[[jobs]]
id = "{id}"
func = "paused_jobs:{func}"
{keys}
"""
THREADS = {"silence_thread": "lively", "silence_async": "waiting", "reaper_thread": "lively", "reaper_async": "waiting"}
PROCESSES = {"silence_process": "lively", "silence_printing": "printing", "reaper_process": "lively"}
SILENT = ("silence", "zombie")


def config(live: dict[str, str], limit: int) -> str:
    """Return a config with live runs that begin at once, and silent ones, for the kernel's watch and the reaper's."""
    tables = []
    for job in (*live, *SILENT):
        keys = ["at = 2020-01-01T00:00:00Z"] if job in live else []
        keys += [f'silence = "{limit}s"'] if job.startswith("silence") else []
        keys += ['runner = "process"'] if job in PROCESSES else []
        tables.append(JOB.format(id=job, func=live.get(job, "silent"), keys="\n".join(keys)))
    return CONFIG.format(limit=limit) + "".join(tables)


FORMS = [
    pytest.param(THREADS, 4, id="threads"),
    # A process needs seconds to begin on a busy machine, so its run must be allowed more of silence.
    pytest.param(THREADS | PROCESSES, 20, id="processes", marks=IF_LONG),
]


@pytest.mark.parametrize(("live", "limit"), FORMS)
def test_no_live_run_is_ended_because_the_kernel_was_stopped(
    start: Callable[..., Any], gnomon: Callable[..., Any], folder: Path, live: dict[str, str], limit: int
) -> None:
    (folder / "paused_jobs.py").write_text(JOBS)
    (folder / "gnomon.toml").write_text(config(live, limit))
    kernel = start("run", "--log-format", "json", "--log-level", "debug")
    assert sorted(kernel.wait_for("started")["job"] for _ in live) == sorted(live)

    kernel.send(signal.SIGSTOP)
    time.sleep(limit + 2)  # what is tested is the time that passes
    kernel.send(signal.SIGCONT)

    assert kernel.wait_for("the process of the kernel was paused")["seconds"] >= limit
    for reason in SILENT:  # these show that silent runs are still found, later than any live one would have been
        assert gnomon("trigger", reason).returncode == 0
        kernel.wait_for("failed", job=reason, reason=reason)

    (folder / "go").touch()
    assert sorted(kernel.wait_for("succeeded")["job"] for _ in live) == sorted(live)
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors
