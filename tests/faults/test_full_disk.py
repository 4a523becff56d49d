"""A disk that is full: the kernel goes on, nothing acknowledged is lost, and it stops in time and says what it lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_runs import IS_LONG
from full_disks import fill
from log_checker import check_log

CONFIG = """
[kernel]
drain = "200ms"
[plugins.sqlite]
path = "{folder}/gnomon.db"
[[jobs]]
id = "tick"
func = "disk_jobs:tick"
every = "100ms"
cancel_grace = "100ms"
kwargs = {{ text = "{text}" }}
"""
FILE_SYSTEMS = [("tmpfs", 4), *([("ext4", 16)] if IS_LONG else [])]


@pytest.fixture(params=FILE_SYSTEMS, ids=[kind for kind, _ in FILE_SYSTEMS])
def disk(request: pytest.FixtureRequest, mounted: Callable[..., Path], tmp_path: Path) -> Path:
    folder = mounted(*request.param)
    (tmp_path / "disk_jobs.py").write_text("async def tick(text):\n    return text\n")
    (tmp_path / "gnomon.toml").write_text(CONFIG.format(folder=folder, text="x" * 1000))
    return folder


@pytest.mark.timeout(300)
def test_runs_go_on_after_a_full_disk_has_room_again(disk: Path, start: Callable[..., Any]) -> None:
    kernel = start("run", "--log-format", "json")
    accepted = {kernel.wait_for("succeeded")["run"] for _ in range(3)}

    filler = fill(disk)
    problem = kernel.wait_for("store unavailable")["problem"]
    filler.unlink()
    kernel.wait_for("store available again")
    accepted |= {kernel.wait_for("succeeded")["run"] for _ in range(3)}
    kernel.send(signal.SIGTERM)

    assert kernel.ends() == 0, kernel.errors
    assert "full" in problem
    check_log(disk / "gnomon.db", accepted=accepted)


@pytest.mark.timeout(300)
def test_a_stop_on_a_full_disk_ends_in_time_and_reports_the_loss(disk: Path, start: Callable[..., Any]) -> None:
    kernel = start("run", "--log-format", "json")
    accepted = {kernel.wait_for("succeeded")["run"] for _ in range(3)}
    fill(disk)
    kernel.wait_for("store unavailable")
    kernel.send(signal.SIGTERM)

    lost = kernel.wait_for("events could not be written")

    assert kernel.ends() == 1, kernel.errors
    assert lost["lost_events"] > 0
    assert "the kernel did not stop in time" not in kernel.errors
    assert f"{lost['lost_events']} events were lost" in kernel.errors
    (disk / "filler").unlink()
    check_log(disk / "gnomon.db", accepted=accepted, ended=False)
