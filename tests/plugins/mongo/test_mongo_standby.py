"""Standbys of `gnomon run` on one MongoDB."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gnomon.threads import in_thread
from gnomon_mongo.drivers import Driver
from gnomon_process import Gnomon

CONFIG = """
[plugins.mongo]
uri = "{uri}"
database = "{database}"
lease = "2s"
timeout = "1s"
spool = "{spool}.db"
[[jobs]]
id = "tick"
func = "time:time"
every = "200ms"
"""
FOLLOWS = "following the kernel that leads"


@pytest.fixture
def driver() -> Driver:
    """Nothing here is about the driver."""
    return Driver("pymongo")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_a_standby_leads_when_the_leader_has_ended(
    server_uri: str, database: Any, tmp_path: Path, ending: signal.Signals
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    kernels: list[Gnomon] = []

    def start(name: str) -> Gnomon:
        folder = tmp_path / name
        folder.mkdir()
        text = CONFIG.format(uri=server_uri, database=database.name, spool=name)
        (folder / "gnomon.toml").write_text(text, encoding="utf-8")
        kernels.append(Gnomon(folder, ("run", "--log-format", "json", "--standby"), environment))
        return kernels[-1]

    def command(name: str, *arguments: str) -> Any:
        kernels.append(one := Gnomon(tmp_path / name, arguments, environment))
        assert one.ends() == 0, one.errors
        assert one.process.stdout is not None
        return json.load(one.process.stdout)

    def take_turns() -> Gnomon:
        leader = start("first")
        leader.wait_for("succeeded", job="tick")
        standby = start("second")
        standby.wait_for(FOLLOWS)
        leader.wait_for("succeeded", job="tick")
        status = command("second", "status", "--json")
        assert [kernel["role"] for kernel in status["kernels"]] == ["leader", "follower"]
        assert [kernel["pid"] for kernel in status["kernels"]] == [leader.process.pid, standby.process.pid]
        leader.send(ending)
        standby.wait_for("kernel started")
        standby.wait_for("succeeded", job="tick")
        assert sum(FOLLOWS in line for line in standby.lines) == 1
        standby.send(signal.SIGTERM)
        assert standby.ends() == 0, standby.errors
        return leader

    try:
        leader = await in_thread(take_turns, "standbys")
        leader.process.kill()
    finally:
        for kernel in kernels:
            kernel.close()


async def test_a_leader_steps_down_and_follows(server_uri: str, database: Any, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    kernels: list[Gnomon] = []

    def start(name: str, *arguments: str) -> Gnomon:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        text = CONFIG.format(uri=server_uri, database=database.name, spool=name)
        (folder / "gnomon.toml").write_text(text, encoding="utf-8")
        kernels.append(Gnomon(folder, arguments, environment))
        return kernels[-1]

    def take_turns() -> None:
        first = start("first", "run", "--log-format", "json", "--standby")
        first.wait_for("succeeded", job="tick")
        second = start("second", "run", "--log-format", "json", "--standby")
        second.wait_for(FOLLOWS)
        for leader, follower in ((first, second), (second, first)):
            asked = start("third", "lead", "--step-down", "--reason", "a new machine")
            assert asked.ends() == 0, asked.errors
            leader.wait_for("stepping down", reason="a new machine")
            follower.wait_for("kernel started")
            leader.wait_for(FOLLOWS)
            follower.wait_for("succeeded", job="tick")
        for kernel in (first, second):
            kernel.send(signal.SIGTERM)
            assert kernel.ends() == 0, kernel.errors

    try:
        await in_thread(take_turns, "standbys")
    finally:
        for kernel in kernels:
            kernel.close()
