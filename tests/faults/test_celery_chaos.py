"""Bodies in Celery workers while workers, their children, the kernel and Redis are killed at random, and jobs move."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from celery_workers import SHARED, CeleryWorker, until
from fault_runs import rounds
from gnomon import Duration, Execution, ExecutionQuery
from gnomon_sqlite import SqliteStore
from log_checker import LogEvent, check_interval, check_log
from servers import PATIENCE, RedisServer, find_redis

JOBS = 10
EVERY = Duration(milliseconds=200)
KILLS = rounds(short=6, long=90)
ENDS_BETWEEN_KILLS = 60
"""Bodies that end before something is killed again: there is always work under way."""
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Redis as a kernel needs it: what it has answered survives its end."""
CONFIG = """
[kernel]
python_path = ["{shared}"]
drain = "1s"

[plugins.sqlite]
path = "gnomon.db"

[plugins.celery]
broker = "{url}"
heartbeat = "1s"
"""
JOB = """
[[jobs]]
id = "tick{number}"
func = "worker_bodies:report_and_witness"
kwargs = {{ folder = "{folder}" }}
every = "200ms"
runner = "{runner}"
overlap = "allow"
max_instances = 50
"""


class Deployment:
    """A Redis, a kernel and two workers, each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = RedisServer(find_redis(), folder)
        self.redis.start(*DURABLE)
        self.config = folder / "gnomon.toml"
        self.write_config(["celery"] * JOBS)
        more = 'heartbeat = "1s"'
        self.workers = [CeleryWorker(folder / name, self.redis.url, more=more) for name in ("forks", "threads")]
        self.options = (("--pool=prefork", "--concurrency=4"), ("--pool=threads", "--concurrency=4"))
        for worker, options in zip(self.workers, self.options, strict=True):
            worker.start(*options)
        self.kernel: subprocess.Popen[bytes] | None = None
        self.start_kernel()

    def write_config(self, runners: list[str]) -> None:
        jobs = (JOB.format(number=n, folder=self.folder, runner=runner) for n, runner in enumerate(runners))
        self.config.write_text(CONFIG.format(shared=SHARED, url=self.redis.url) + "".join(jobs))

    def start_kernel(self) -> None:
        with (self.folder / "kernel.log").open("ab") as output:
            self.kernel = subprocess.Popen(
                [sys.executable, "-m", "gnomon.cli", "run", str(self.config)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def kill(self, what: str, chance: random.Random) -> None:
        """Kill something with SIGKILL, and start it again after a while, as a supervisor does; or move jobs."""
        pause = chance.choice((0.0, 0.3, 1.5))
        if what == "redis":
            self.redis.kill()
            time.sleep(pause)
            self.redis.start(*DURABLE)
        elif what == "kernel":
            assert self.kernel is not None
            self.kernel.kill()
            self.kernel.wait(PATIENCE)
            time.sleep(pause)
            self.start_kernel()
        elif what == "move":
            self.write_config(chance.sample(["celery", "thread"], JOBS, counts=[JOBS - 3, 3]))
            until(lambda: self.does("reload"), lambda: f"the kernel to reload:\n{self.said()}", 4 * PATIENCE)
        elif what == "child":
            if children := _children(self.workers[0].pid):
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(children), signal.SIGKILL)
        else:
            number = ("forks", "threads").index(what)
            worker = self.workers[number]
            worker.kill()
            time.sleep(pause)
            worker.start(*self.options[number])

    def gnomon(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "gnomon.cli", *arguments, "--config", str(self.config)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def does(self, order: str) -> bool:
        """Send the kernel an order; False where it is still starting."""
        command = [sys.executable, "-m", "gnomon.cli", order, "--config", str(self.config)]
        return (
            subprocess.run(command, cwd=self.folder, capture_output=True, timeout=PATIENCE, check=False).returncode == 0
        )

    def has_ended(self, count: int) -> bool:
        """Whether so many bodies have ended; starts workers again that have ended themselves, as a supervisor does."""
        for worker, options in zip(self.workers, self.options, strict=True):
            if worker.has_ended:
                worker.start(*options)
        return len(self.lines("ended")) > count

    def said(self) -> str:
        """Return the last words of all processes, for the message of a failed test."""
        logs = [self.folder / "kernel.log", *(worker.log for worker in self.workers)]
        return "\n".join(f"--- {log}\n{log.read_text()[-3000:]}" for log in logs)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        if self.kernel is not None and self.kernel.poll() is None:
            self.kernel.kill()
            self.kernel.wait(PATIENCE)
        for worker in self.workers:
            worker.clean_up()
        self.redis.clean_up()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    yield made
    made.close()


async def _unended(path: Path) -> int:
    store = SqliteStore(path)
    await store.open(read_only=True)
    try:
        query = ExecutionQuery(status=("scheduled", "running"), limit=500, hidden=True)
        return len((await store.executions(query)).items)
    finally:
        await store.close()


async def _executions(path: Path) -> dict[str, tuple[Execution, list[str]]]:
    """Return all runs of the log that began, with their log lines."""
    store, found = SqliteStore(path), dict[str, tuple[Execution, list[str]]]()
    await store.open(read_only=True)
    try:
        query = ExecutionQuery(status=("success", "failed", "cancelled"), limit=500, hidden=True)
        while True:
            page = await store.executions(query)
            for execution in page.items:
                lines = [line.text for line in await store.log(execution.id)]
                found[execution.id] = execution, lines
            if page.next is None:
                return found
            query = ExecutionQuery(status=("success", "failed", "cancelled"), limit=500, hidden=True, cursor=page.next)
    finally:
        await store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the children of a worker are found in /proc")
@pytest.mark.timeout(3600)
def test_no_body_begins_twice_and_no_result_is_lost_whatever_is_killed(deployment: Deployment) -> None:
    chance, folder = random.Random(17), deployment.folder
    victims = ["child", "kernel", "forks", "redis", "threads", "move"]
    order = [victims[number % len(victims)] for number in range(KILLS)]
    chance.shuffle(order)
    for what in [*order, "nothing"]:
        before = len(deployment.lines("ended"))
        until(
            lambda before=before: deployment.has_ended(before + ENDS_BETWEEN_KILLS),  # type: ignore[misc]
            lambda what=what: f"bodies to end before {what} is killed:\n{deployment.said()}",  # type: ignore[misc]
            4 * PATIENCE,
        )
        if what != "nothing":
            deployment.kill(what, chance)

    until(lambda: deployment.does("hold"), "the kernel to hold its fires back", 4 * PATIENCE)
    until(lambda: asyncio.run(_unended(folder / "gnomon.db")) == 0, "all runs to end", 4 * PATIENCE)
    kernel = deployment.kernel
    assert kernel is not None
    kernel.send_signal(signal.SIGTERM)
    assert kernel.wait(PATIENCE) == 0, (folder / "kernel.log").read_text()[-4000:]

    events = check_log(folder / "gnomon.db")
    assert sum(check_interval(events, f"tick{number}", EVERY) for number in range(JOBS)) > 0
    assert "proved" in deployment.gnomon("audit")
    _check_bodies(deployment, events)


def _check_bodies(deployment: Deployment, events: list[LogEvent]) -> None:
    began, ended = Counter(deployment.lines("began")), set(deployment.lines("ended"))
    assert max(began.values()) == 1, [run for run, times in began.items() if times > 1]
    runs = asyncio.run(_executions(deployment.folder / "gnomon.db"))
    never = {event["stream"] for event in events if event["type"] == "missed"}
    assert not never & began.keys(), "a run that was missed began"
    unknown = began.keys() - runs.keys()
    assert not unknown, unknown
    successes = {run for run, (execution, _) in runs.items() if execution.status == "success"}
    assert successes <= ended, "a run succeeded whose body did not end"
    for run in successes:
        execution, lines = runs[run]
        assert execution.return_value == run
        if execution.runner == "thread":  # its last lines end with a kernel that is killed
            continue
        assert lines == [f"line {number} of 3" for number in (1, 2, 3)], (run, lines)
        assert [(step.name, step.status) for step in execution.progress.steps] == [
            (name, "completed") for name in ("one", "two", "three")
        ], execution.progress
    reasons = Counter((execution.status, execution.reason) for execution, _ in runs.values())
    assert set(reasons) <= {("success", None), ("failed", "lost"), ("failed", "killed")}, reasons
    places = dict(Counter(execution.runner for execution, _ in runs.values()))
    assert len(places) == 2, "jobs were moved, and ran in one place alone"
    print(f"{len(began)} bodies began, {len(ended)} ended; {dict(reasons)}; {places}")
