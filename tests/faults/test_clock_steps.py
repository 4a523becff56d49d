"""A wall clock that is set forth and back under a running kernel, with Debian's libfaketime."""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_runs import rounds
from log_checker import check_log, fires
from servers import missing

CONFIG = """
[kernel]
drain = "2s"
[plugins.sqlite]
[[jobs]]
id = "tick"
func = "clock_jobs:tick"
every = "200ms"
[[jobs]]
id = "minutes"
func = "clock_jobs:tick"
cron = "* * * * *"
"""


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which the wall clock is what the file `clock` says."""
    if shutil.which("faketime") is None:
        missing("faketime", "Debian's faketime is not installed")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        missing("faketime", "libfaketime.so.1 was not found below /usr/lib")
    (tmp_path / "clock").write_text("+0")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


@pytest.mark.timeout(900)
def test_an_interval_goes_on_whatever_the_clock_does(
    clock: dict[str, str], start: Callable[..., Any], tmp_path: Path
) -> None:
    chance = random.Random(3)
    (tmp_path / "clock_jobs.py").write_text("async def tick():\n    pass\n")
    (tmp_path / "gnomon.toml").write_text(CONFIG)
    kernel = start("run", "--log-format", "json", **clock)
    kernel.wait_for("succeeded", job="tick")

    for step in ["-3600", "+90000", "-7200", *(f"{chance.randint(-9000, 9000):+d}" for _ in range(rounds(1, 60)))]:
        (tmp_path / "clock").write_text(step)
        for _ in range(3):
            kernel.wait_for("succeeded", job="tick")

    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors
    events = check_log(tmp_path / "gnomon.db")
    for job_id in ("tick", "minutes"):
        twice = [fire for fire, count in Counter(fires(events, job_id)).items() if count > 1]
        assert not twice, f"{job_id} has two outcomes for {twice[:3]}"
