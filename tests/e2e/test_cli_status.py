"""`gnomon status`: with a running kernel, and without one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnomon import BackgroundKernel, Job
from gnomon_process import Gnomon
from gnomon_sqlite import SqliteStore

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = '[plugins.sqlite]\n[[jobs]]\nid = "tick"\nfunc = "time:time"\nevery = "1h"\n'


def status_of(gnomon: Run) -> tuple[int, dict[str, Any]]:
    done = gnomon("status", "--json")
    return done.returncode, json.loads(done.stdout)


def test_the_status_names_the_leading_kernel_and_what_is_wrong(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    code, status = status_of(gnomon)
    assert (code, status["state"], status["kernels"]) == (1, "new", [])

    kernel = start("run", "--log-format", "json")
    kernel.wait_for("next fire")
    code, status = status_of(gnomon)
    assert (code, status["state"], status["problem"]) == (0, "healthy", None)
    (leader,) = status["kernels"]
    assert (leader["pid"], leader["role"], leader["stopped"]) == (kernel.process.pid, "leader", None)
    assert leader["versions"]["zone data"]
    assert (status["store"]["name"], status["store"]["state"]) == ("sqlite", "healthy")
    assert {plugin["name"]: plugin["state"] for plugin in status["plugins"]} == {"console": "healthy"}

    assert gnomon("hold", "--reason", "maintenance").returncode == 0
    said = gnomon("status")
    assert said.returncode == 1
    assert "state    degraded: no job fires: the kernel is held" in said.stdout
    assert f"kernel   leader: process {kernel.process.pid} on " in said.stdout
    assert gnomon("release").returncode == 0

    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0
    code, status = status_of(gnomon)
    assert (code, status["state"]) == (1, "stopped")
    (last,) = status["kernels"]
    assert (last["pid"], last["role"], last["reason"]) == (kernel.process.pid, None, "SIGTERM")
    assert "stopped at " in gnomon("status").stdout


def test_the_status_of_a_killed_kernel_says_that_it_did_not_stop(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("next fire")
    kernel.send(signal.SIGKILL)
    kernel.ends()

    code, status = status_of(gnomon)

    assert (code, status["state"]) == (1, "ended")
    (last,) = status["kernels"]
    assert (last["pid"], last["role"], last["stopped"]) == (kernel.process.pid, None, None)


def test_a_kernel_of_another_program_answers(folder: Path, gnomon: Run) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    with BackgroundKernel(store=SqliteStore(folder / "gnomon.db"), jobs=[Job(id="tick", func=print)]):
        code, status = status_of(gnomon)
        paused = gnomon("pause", "tick")

    assert (code, status["state"], status["kernels"][0]["role"]) == (0, "healthy", "leader")
    assert paused.returncode == 0, paused.stderr


def test_a_kernel_without_a_socket_is_seen_by_its_lock(folder: Path, gnomon: Run) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    with BackgroundKernel(store=SqliteStore(folder / "gnomon.db")):
        (folder / "gnomon.db.sock").unlink()
        code, status = status_of(gnomon)

    assert (code, status["state"], status["kernels"][0]["role"]) == (0, "running", "leader")
