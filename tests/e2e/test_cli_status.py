"""`gnomon status`: with a running kernel, and without one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon import BackgroundKernel, Job
from gnomon_process import Gnomon
from gnomon_sqlite import SqliteStore

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = '[plugins.sqlite]\n[[jobs]]\nid = "tick"\nfunc = "time:time"\nevery = "1h"\n'


def started(folder: Path, start: Callable[..., Gnomon], config: str = CONFIG) -> Gnomon:
    (folder / "gnomon.toml").write_text(config)
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("next fire")
    return kernel


def status_of(gnomon: Run) -> tuple[int, dict[str, Any]]:
    done = gnomon("status", "--json")
    return done.returncode, json.loads(done.stdout)


def test_the_status_names_the_leading_kernel_and_what_is_wrong(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    code, status = status_of(gnomon)
    assert (code, status["state"], status["kernels"]) == (1, "new", [])

    kernel = started(folder, start)
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
    kernel = started(folder, start)
    kernel.send(signal.SIGKILL)
    kernel.ends()

    code, status = status_of(gnomon)

    assert (code, status["state"]) == (1, "ended")
    (last,) = status["kernels"]
    assert (last["pid"], last["role"], last["stopped"]) == (kernel.process.pid, None, None)


def test_a_log_that_has_lost_events_is_not_new(folder: Path, start: Callable[..., Gnomon], gnomon: Run) -> None:
    kernel = started(folder, start)
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0
    (folder / "gnomon.db").unlink()

    code, status = status_of(gnomon)

    assert (code, status["state"], status["kernels"]) == (1, "ended", [])
    assert "accept the loss: gnomon run --accept-rollback" in status["problem"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows whether a process runs")
def test_the_status_names_a_stopped_leader_and_what_ends_it(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    kernel = started(folder, start)
    kernel.send(signal.SIGSTOP)

    code, status = status_of(gnomon)
    kernel.send(signal.SIGCONT)

    assert (code, status["state"]) == (1, "silent")
    assert f"is held by process {kernel.process.pid} on " in status["problem"]
    assert "`gnomon takeover` ends its term" in status["problem"]


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
        (folder / "other").write_text("not a socket")  # so that the kernel cannot make another one
        (folder / "other").replace(folder / "gnomon.db.sock")
        code, status = status_of(gnomon)

    assert (code, status["state"], status["kernels"][0]["role"]) == (0, "running", "leader")


def test_the_status_names_all_kernels_and_says_when_nobody_leads(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text(CONFIG)
    (folder / "follower.toml").write_text('[kernel]\nrole = "follower"\nnode = "b"\n' + CONFIG)
    leader = start("run", "--log-format", "json")
    leader.wait_for("next fire")
    follower = start("run", "--log-format", "json", "follower.toml")
    follower.wait_for("following the kernel that leads")

    code, status = status_of(gnomon)
    first, second = status["kernels"]
    assert (code, status["state"], status["problem"]) == (0, "healthy", None)
    assert (first["pid"], first["role"], first["lag"], first["may_lead"]) == (leader.process.pid, "leader", 0, True)
    assert (second["pid"], second["role"], second["node"], second["may_lead"]) == (
        follower.process.pid,
        "follower",
        "b",
        False,
    )
    assert second["seen"] >= second["since"]
    assert f"kernel   follower: process {follower.process.pid} on b, version " in gnomon("status").stdout

    leader.send(signal.SIGKILL)
    leader.ends()
    follower.wait_for("this kernel follows, and reaches none that leads")
    code, status = status_of(gnomon)
    first, second = status["kernels"]
    assert (code, status["state"]) == (1, "leaderless")
    assert "1 process follows it, and none of them may lead" in status["problem"]
    assert (first["pid"], first["role"]) == (leader.process.pid, None)
    assert (second["pid"], second["role"]) == (follower.process.pid, "follower")
    said = gnomon("status")
    assert (said.returncode, "state    leaderless: no kernel leads the log" in said.stdout) == (1, True)
    assert f"         {second['state']}: {second['problem']}" in said.stdout

    follower.send(signal.SIGTERM)
    assert follower.ends() == 0
    code, status = status_of(gnomon)
    assert (code, status["state"], len(status["kernels"])) == (1, "ended", 1)


def test_a_follower_that_has_ended_in_order_is_not_listed_any_more(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text('[kernel]\nrole = "auto"\n' + CONFIG)
    leader = start("run", "--log-format", "json")
    leader.wait_for("next fire")
    follower = start("run", "--log-format", "json")
    follower.wait_for("following the kernel that leads")
    assert len(status_of(gnomon)[1]["kernels"]) == 2

    follower.send(signal.SIGTERM)
    assert follower.ends() == 0

    code, status = status_of(gnomon)
    assert (code, [kernel["pid"] for kernel in status["kernels"]]) == (0, [leader.process.pid])


def test_a_log_in_memory_has_the_kernel_that_leads_alone(
    folder: Path, start: Callable[..., Gnomon], gnomon: Run
) -> None:
    kernel = started(folder, start, CONFIG.replace("sqlite", "memory"))

    code, status = status_of(gnomon)

    assert (code, [(one["pid"], one["role"]) for one in status["kernels"]]) == (0, [(kernel.process.pid, "leader")])
