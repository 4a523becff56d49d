"""Standbys of `gnomon run`: they follow, and lead when the leader has died, has stopped or was ended."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from gnomon import ExecutionQuery
from gnomon_process import PATIENCE, Gnomon
from gnomon_sqlite import SqliteStore
from log_checker import check_log

CONFIG = """
[plugins.sqlite]
[[jobs]]
id = "tick"
func = "time:time"
every = "200ms"
"""
FOLLOWS = "following the kernel that leads"
SILENT = "the kernel that holds the log is silent: nothing runs until it goes on or is ended"


@pytest.fixture
def lead(start: Callable[..., Gnomon], tmp_path: Path) -> Callable[..., Gnomon]:
    """Start a kernel that leads, with or without `--standby`."""
    (tmp_path / "gnomon.toml").write_text(CONFIG)

    def begin(*options: str) -> Gnomon:
        kernel = start("run", "--log-format", "json", *options)
        kernel.wait_for("succeeded", job="tick")
        return kernel

    return begin


@pytest.fixture
def stand_by(start: Callable[..., Gnomon]) -> Callable[..., Gnomon]:
    def begin(leader: Gnomon) -> Gnomon:
        kernel = start("run", "--log-format", "json", "--standby")
        kernel.wait_for(FOLLOWS, leader=f"process {leader.process.pid} on {socket.gethostname()}")
        return kernel

    return begin


def holder_of(lock: Path) -> int | None:
    """Return the process that has recorded itself in a lock file, which is empty for a moment at a start."""
    found = re.search(r'"pid":(\d+)', lock.read_text())
    return int(found[1]) if found is not None else None


def stop(kernel: Gnomon) -> None:
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_standby_leads_when_the_leader_has_ended(
    lead: Callable[..., Gnomon], stand_by: Callable[..., Gnomon], tmp_path: Path, ending: signal.Signals
) -> None:
    kernel = lead("--standby")  # nobody holds the log: it leads at once
    for _ in range(2):
        standby = stand_by(kernel)
        kernel.send(ending)
        standby.wait_for("kernel started")
        standby.wait_for("succeeded", job="tick")
        kernel = standby
    stop(kernel)
    check_log(tmp_path / "gnomon.db")


def test_one_of_two_standbys_leads_and_the_other_waits_for_it(
    lead: Callable[..., Gnomon], stand_by: Callable[..., Gnomon], tmp_path: Path
) -> None:
    leader = lead()
    standbys = [stand_by(leader), stand_by(leader)]
    leader.send(signal.SIGKILL)
    pids = [standby.process.pid for standby in standbys]
    while (pid := holder_of(tmp_path / "gnomon.db.lock")) not in pids:
        time.sleep(0.05)
    first, second = standbys if pid == pids[0] else reversed(standbys)
    first.wait_for("kernel started")
    first.send(signal.SIGKILL)
    second.wait_for("kernel started")
    stop(second)
    check_log(tmp_path / "gnomon.db")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_standby_that_waits(
    lead: Callable[..., Gnomon], stand_by: Callable[..., Gnomon], number: signal.Signals
) -> None:
    leader = lead()
    standby = stand_by(leader)
    standby.send(signal.SIGHUP)
    standby.wait_for("reloaded")
    standby.send(number)

    assert standby.ends() == 0, standby.errors
    leader.wait_for("succeeded", job="tick")
    stop(leader)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows whether a process runs")
def test_a_stopped_leader_is_named_and_a_takeover_ends_it(
    lead: Callable[..., Gnomon], stand_by: Callable[..., Gnomon], start: Callable[..., Gnomon], tmp_path: Path
) -> None:
    leader = lead()
    standby = stand_by(leader)
    refused = start("takeover", "--yes")
    assert refused.ends() == 1
    assert f"is led by process {leader.process.pid} on " in refused.errors
    assert "which is active: stop it there instead" in " ".join(refused.errors.split())

    leader.send(signal.SIGSTOP)
    said = standby.wait_for(SILENT)
    assert said["pid"] == leader.process.pid
    assert said["silent_since"]
    leader.send(signal.SIGCONT)
    standby.wait_for("the kernel that holds the log runs again", pid=leader.process.pid)

    leader.send(signal.SIGSTOP)
    standby.wait_for(SILENT)
    takeover = start("takeover", "--yes")
    assert takeover.ends() == 0, takeover.errors
    assert leader.process.wait(PATIENCE) == -signal.SIGKILL
    standby.wait_for("kernel started")
    stop(standby)
    check_log(tmp_path / "gnomon.db")


async def test_a_standby_leads_with_the_definitions_of_the_log(
    lead: Callable[..., Gnomon], stand_by: Callable[..., Gnomon], start: Callable[..., Gnomon], tmp_path: Path
) -> None:
    leader = lead()
    standby = stand_by(leader)
    (tmp_path / "gnomon.toml").write_text(CONFIG.replace("200ms", "300ms"))
    assert start("reload").ends() == 0
    (tmp_path / "gnomon.toml").write_text(CONFIG.replace("200ms", "sometimes"))  # nobody reads it at a take-over
    leader.send(signal.SIGKILL)
    standby.wait_for("kernel started")
    standby.wait_for("succeeded", job="tick")
    stop(standby)

    store = SqliteStore(tmp_path / "gnomon.db")
    await store.open(read_only=True)
    changes = [event for event in await store.read(limit=10_000) if event.type == "job_changed"]
    await store.close()
    assert len(changes) == 1  # by the reload: the standby did not put the old interval back


def test_a_start_without_standby_names_the_leader_and_the_option(
    lead: Callable[..., Gnomon], start: Callable[..., Gnomon]
) -> None:
    leader = lead("--standby")
    refused = start("run", "--log-format", "json")

    assert refused.ends() == 1
    said = " ".join(refused.errors.split())
    assert f"is written by process {leader.process.pid} on " in said
    assert "with --standby, this kernel follows that one, and leads when it ends" in said
    stop(leader)


def test_a_standby_serves_its_web_server_and_is_shown_in_the_status(
    lead: Callable[..., Gnomon], start: Callable[..., Gnomon], tmp_path: Path
) -> None:
    leader = lead()
    (tmp_path / "standby.toml").write_text('[kernel]\nnode = "b"\n' + CONFIG + "[plugins.web]\nport = 0\n")
    standby = start("run", "--log-format", "json", "--standby", "standby.toml")
    url = standby.wait_for("web is listening")["url"].rstrip("/")
    standby.wait_for(FOLLOWS)
    with urllib.request.urlopen(f"{url}/readyz") as answer:
        assert json.load(answer)["role"] == "follower"
    asked = start("pause", "tick", "--url", url)
    assert asked.ends() == 0, asked.errors
    leader.wait_for("job paused", job="tick")
    status = start("status", "--json")
    assert status.ends() == 0, status.errors
    assert status.process.stdout is not None
    (_, second) = json.load(status.process.stdout)["kernels"]
    assert (second["node"], second["role"], second["may_lead"]) == ("b", "follower", True)
    leader.send(signal.SIGKILL)
    standby.wait_for("kernel started")
    with urllib.request.urlopen(f"{url}/readyz") as answer:
        assert json.load(answer)["role"] == "leader"
    stop(standby)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_kernel_that_follows_answers_passes_orders_and_leads_when_the_leader_has_ended(
    start: Callable[..., Gnomon], tmp_path: Path, ending: signal.Signals
) -> None:
    (tmp_path / "gnomon.toml").write_text('[kernel]\nrole = "auto"\n' + CONFIG)
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("succeeded", job="tick")
    follower = start("run", "--log-format", "json")
    follower.wait_for("the kernel follows")
    assert start("pause", "tick").ends() == 0
    kernel.wait_for("job paused", job="tick")
    kernel.send(ending)
    follower.wait_for("the kernel leads now")
    assert start("resume", "tick").ends() == 0
    follower.wait_for("succeeded", job="tick")
    stop(follower)
    check_log(tmp_path / "gnomon.db")


def test_a_follower_that_is_stopped_ends_no_run_of_the_leader(start: Callable[..., Gnomon], tmp_path: Path) -> None:
    rest = '[[jobs]]\nid = "rest"\nfunc = "time:sleep"\nargs = [3600]\n'
    (tmp_path / "gnomon.toml").write_text('[kernel]\nrole = "auto"\ndrain = "0s"\n' + CONFIG + rest)
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("succeeded", job="tick")
    assert start("trigger", "rest").ends() == 0
    kernel.wait_for("started", job="rest")
    follower = start("run", "--log-format", "json")
    follower.wait_for("the kernel follows")
    for _ in range(2):
        follower.send(signal.SIGTERM)
    follower.process.wait(PATIENCE)
    assert asyncio.run(running_jobs(tmp_path / "gnomon.db")) >= {"rest"}
    stop(kernel)


async def running_jobs(log: Path) -> set[str]:
    store = SqliteStore(log)
    await store.open(read_only=True)
    try:
        return {run.job_id for run in (await store.executions(ExecutionQuery(status=("running",)))).items}
    finally:
        await store.close()


def test_a_leader_steps_down_and_follows(
    lead: Callable[..., Gnomon], stand_by: Callable[..., Gnomon], start: Callable[..., Gnomon], tmp_path: Path
) -> None:
    leader = lead("--standby")
    refused = start("lead", "--step-down")
    assert refused.ends() == 1
    assert "start one with `gnomon run --standby` first" in refused.errors
    standby = stand_by(leader)
    asked = start("lead", "--step-down", "--reason", "a new machine")
    assert asked.ends() == 0, asked.errors
    assert asked.process.stdout is not None
    assert asked.process.stdout.read() == f"process {standby.process.pid} on {socket.gethostname()} leads now\n"
    leader.wait_for("stepping down", reason="a new machine")
    leader.wait_for(FOLLOWS, leader=f"process {standby.process.pid} on {socket.gethostname()}")
    standby.wait_for("succeeded", job="tick")
    standby.send(signal.SIGKILL)
    leader.wait_for("kernel started")
    stop(leader)
    check_log(tmp_path / "gnomon.db")
