"""Standbys of `gnomon run` on one log on a server."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fault_runs import variants
from gnomon_process import Gnomon
from log_places import config_section, make_database, place_on, server_of

JOBS = """
[[jobs]]
id = "tick"
func = "time:time"
every = "200ms"
"""
RUN = ("run", "--log-format", "json", "--standby")
FOLLOWS = "following the kernel that leads"


@pytest.fixture(params=variants("postgres", long=["mongo"]))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with server_of(request.param, tmp_path / "server") as server:
        make_database(server, "standbys")
        yield place_on(server, "standbys")


@pytest.fixture
def start_in(place: str, start: Callable[..., Gnomon], tmp_path: Path) -> Callable[..., Gnomon]:
    """Start a command in a folder of the test, which has its own spool."""

    def begin(name: str, *arguments: str) -> Gnomon:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        section = config_section(place, folder / "spool.db", lease="2s", timeout="1s")
        (folder / "gnomon.toml").write_text(section + JOBS, encoding="utf-8")
        return start(*arguments, folder=folder)

    return begin


@pytest.mark.parametrize("ending", variants(signal.SIGKILL, signal.SIGSTOP, long=[signal.SIGTERM]))
def test_a_standby_leads_when_the_leader_has_ended(start_in: Callable[..., Gnomon], ending: signal.Signals) -> None:
    leader = start_in("first", *RUN)
    leader.wait_for("succeeded", job="tick")
    standby = start_in("second", *RUN)
    standby.wait_for(FOLLOWS)
    leader.wait_for("succeeded", job="tick")

    status = start_in("second", "status", "--json")
    assert status.ends() in {0, 1}, status.errors  # 1: on a busy machine the leader may be late with something
    assert status.process.stdout is not None
    kernels = json.load(status.process.stdout)["kernels"]
    assert [kernel["role"] for kernel in kernels] == ["leader", "follower"]
    assert [kernel["pid"] for kernel in kernels] == [leader.process.pid, standby.process.pid]

    leader.send(ending)
    standby.wait_for("kernel started")
    standby.wait_for("succeeded", job="tick")
    assert sum(FOLLOWS in line for line in standby.lines) == 1
    standby.send(signal.SIGTERM)
    assert standby.ends() == 0, standby.errors


def test_a_leader_steps_down_and_follows(start_in: Callable[..., Gnomon]) -> None:
    first = start_in("first", *RUN)
    first.wait_for("succeeded", job="tick")
    second = start_in("second", *RUN)
    second.wait_for(FOLLOWS)

    for leader, follower in ((first, second), (second, first)):
        asked = start_in("third", "lead", "--step-down", "--reason", "a new machine")
        assert asked.ends() == 0, asked.errors
        leader.wait_for("stepping down", reason="a new machine")
        follower.wait_for("kernel started")
        leader.wait_for(FOLLOWS)
        follower.wait_for("succeeded", job="tick")
    for kernel in (first, second):
        kernel.send(signal.SIGTERM)
        assert kernel.ends() == 0, kernel.errors
