"""Many processes change one job at once, and some are killed: one order of all that they did explains every answer.

Each process asks and orders in the role that it has: most follow, and their questions are answered from the store.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import order_issuer
from fault_runs import rounds, seed, variants
from gnomon.testing.log_checks import check_store
from job_model import ModelJob, job_model
from linearizability import Operation, check_linearizable
from log_checker import check_log
from log_places import make_database, place_on, server_of, store_of
from order_issuer import JOB

PATIENCE = 100.0
PROCESSES = 4
OPERATIONS = rounds(short=60, long=400)
"""Of each process."""
KILLS = rounds(short=3, long=40)
ACTS = {"added": "add", "changed": "change", "removed": "remove", "paused": "pause", "resumed": "resume"}


class Issuers:
    """The processes, and the notes that they share."""

    def __init__(self, place: str, folder: Path) -> None:
        self._place, self._folder, self._count = place, folder, 0
        self._notes = folder / "notes"
        self._notes.touch()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one more process."""
        self._count += 1
        name = self._folder / f"process-{self._count}"
        values = (self._place, name, self._notes, OPERATIONS)
        with name.with_suffix(".log").open("wb") as output:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, order_issuer.__file__, *map(str, values)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )

    def notes(self) -> list[dict[str, Any]]:
        """Return what was noted so far; the last line of a killed process is whole, or it is not there."""
        return [json.loads(line) for line in self._notes.read_text().split("\n")[:-1]]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true while all processes run."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            for process in self._running:
                assert process.poll() is None, f"process {process.pid} ended:\n{self._said()}"
            assert time.monotonic() < deadline, f"it did not go on:\n{self._said()}"
            time.sleep(0.02)

    def kill(self, chance: random.Random) -> None:
        """Kill the leader, or another process in a third of the cases, in the middle of its operations."""
        leaders = [note["pid"] for note in self.notes() if note.get("role") == "leader"]
        chosen = [one for one in self._running if one.pid in leaders[-1:]]
        process = chosen[0] if chosen and chance.random() < 2 / 3 else chance.choice(self._running)
        self._running.remove(process)
        end(process)

    def are_done(self) -> bool:
        """Return whether each process that was not killed has issued all its operations."""
        return self._said().count("done\n") == len(self._running)

    def stop(self) -> None:
        """Stop every kernel in order."""
        for process in self._running:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._running:
            assert process.wait(PATIENCE) == 0, self._said()

    def close(self) -> None:
        for process in self._running:
            end(process)

    def _said(self) -> str:
        return "".join(file.read_text() for file in sorted(self._folder.glob("process-*.log")))


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(PATIENCE)
    assert process.stdin is not None
    process.stdin.close()


@pytest.fixture(params=variants("sqlite", "postgres", long=["mongo"]))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Provide the place of a log."""
    if request.param == "sqlite":
        yield str(tmp_path / "gnomon.db")
        return
    with server_of(request.param, tmp_path / "server") as server:
        make_database(server, "orders")
        yield place_on(server, "orders")


@pytest.fixture
def issuers(place: str, tmp_path: Path) -> Iterator[Issuers]:
    found = Issuers(place, tmp_path)
    yield found
    found.close()


def history_of(notes: list[dict[str, Any]]) -> list[Operation]:
    """Return the operations; those that have no answer may have been done."""
    facts: dict[str, dict[str, Any]] = {}
    for note in notes:
        facts[note["id"]] = facts.get(note["id"], {}) | note
    return [
        Operation(one, fact["call"], one, fact["invoked"], fact.get("answered"), answer_of(fact))
        for one, fact in facts.items()
    ]


def answer_of(fact: dict[str, Any]) -> Any:
    answer = fact.get("answer")
    return ModelJob(*answer) if fact["call"] == "read" and answer is not None else answer


@pytest.mark.timeout(1800)
async def test_the_orders_of_many_processes_are_linearizable(issuers: Issuers, place: str, tmp_path: Path) -> None:
    chance = random.Random(seed())
    for _ in range(PROCESSES):
        issuers.start()
    for number in range(1, KILLS + 1):
        enough = number * OPERATIONS * 2
        issuers.wait_for(lambda enough=enough: len(issuers.notes()) > enough or issuers.are_done())  # type: ignore[misc]
        issuers.kill(chance)
        issuers.start()
    issuers.wait_for(issuers.are_done)
    issuers.stop()

    notes = issuers.notes()
    by_followers = [note for note in notes if note.get("role") == "follower"]
    assert len(by_followers) > OPERATIONS  # so the answers were not those of one kernel to itself
    history = history_of(notes)
    check_linearizable(history, job_model, None)
    check_that_the_log_agrees(history, await acts_in(place, tmp_path))


async def acts_in(place: str, folder: Path) -> Counter[str]:
    """Check a log, and return how often the job was changed by each operation."""
    if not place.startswith("/"):
        async with store_of(place, folder / "reader.db") as store:
            log = [(event.job_id, event.type, getattr(event, "actor", None)) for event in await check_store(store)]
    else:
        log = [(event["job_id"], event["type"], event.get("actor")) for event in check_log(Path(place))]
    return Counter(str(actor) for job, name, actor in log if job == JOB and name.removeprefix("job_") in ACTS)


def check_that_the_log_agrees(history: list[Operation], done: Counter[str]) -> None:
    """Assert that each order that was answered as done is in the log once, each other order at most once."""
    for one in history:
        if one.call == "read":
            continue
        if one.answer in ("done", True):
            assert done[one.id] == 1, one
        elif one.is_certain:
            assert done[one.id] == 0, one
        else:
            assert done[one.id] <= 1, one
