"""Thousands of jobs with one fire, added by orders: SIGKILL loses none of them, and finished ones leave nothing."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fault_runs import IS_LONG, rounds
from gnomon import Event
from gnomon.analysis.audit import audit
from gnomon.domain.events import JobAdded, JobRemoved, Scheduled
from gnomon.domain.records import ExecutionQuery
from gnomon.testing import check_store
from gnomon_sqlite import SqliteStore

TASKS = """
from pathlib import Path

def send(number):
    with (Path(__file__).parent / "sent").open("a") as file:
        file.write(f"{number}\\n")

def nothing():
    pass
"""

SERVICE = """
import asyncio, sys
from datetime import timedelta

from gnomon import Job, Kernel
from gnomon_sqlite import SqliteStore

async def handle(kernel, number):
    at = kernel.clock.now() + timedelta(milliseconds=number % 1_500)
    job = await kernel.add_job(Job(id=f"send-{number}", func="one_shot_tasks:send", at=at, args=[number]), actor="web")
    print(job.id, flush=True)  # acknowledged: from here on it must never be lost

async def main(database, first, count):
    async with Kernel(store=SqliteStore(database)) as kernel:
        for start in range(first, first + count, 50):
            await asyncio.gather(*(handle(kernel, number) for number in range(start, start + 50)))
        while await kernel.jobs():
            await asyncio.sleep(0.05)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""

MANY = """
import asyncio, sys

from gnomon import Job, Kernel
from gnomon_sqlite import SqliteStore

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

async def main(database, count):
    async with Kernel(store=SqliteStore(database)) as kernel:
        for start in range(0, count, 500):
            now = kernel.clock.now()
            numbers = range(start, start + 500)
            await kernel.add_jobs([Job(id=f"once-{n}", func="one_shot_tasks:nothing", at=now) for n in numbers])
            while await kernel.jobs() or kernel._journal.jobs:
                await asyncio.sleep(0.01)
            print(resident(), len(kernel._journal.jobs), len(kernel._journal.live), flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one_shot_tasks.py").write_text(TASKS, encoding="utf-8")
    return tmp_path


def service(folder: Path, program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(folder / "gnomon.db"), *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def killed_after(running: subprocess.Popen[str], acknowledged: int) -> list[str]:
    """Kill a service after so many acknowledged orders; return all that it acknowledged."""
    with running:
        assert running.stdout is not None
        ids = [running.stdout.readline() for _ in range(acknowledged)]
        running.kill()
        ids += running.stdout.readlines()
    return [line.strip() for line in ids if line.endswith("\n")]


@pytest.mark.timeout(600)
def test_one_shots_that_were_acknowledged_each_fire_once_and_are_gone(folder: Path) -> None:
    count, chance = 1_000 if IS_LONG else 200, random.Random(11)
    acknowledged: list[str] = []
    lives = rounds(2, 10)
    for life in range(lives):
        acknowledged += killed_after(service(folder, SERVICE, life * count, count), chance.randrange(count // 2, count))
    with service(folder, SERVICE, 0, 0) as last:
        assert last.wait(timeout=300) == 0
    with capture_logs():
        asyncio.run(check(folder, acknowledged))


async def check(folder: Path, acknowledged: list[str]) -> None:
    async with SqliteStore(folder / "gnomon.db") as store:
        log: list[Event] = []
        while page := await store.read(log[-1].position if log else 0):
            log += page
        now = datetime.now(UTC)
        report = await audit(store, now - timedelta(days=1), now)
        left = [state for state in await store.jobs() if not state.removed]
        running = await store.executions(ExecutionQuery(status=("scheduled", "running")))
        await check_store(store)

    added = {event.job_id for event in log if isinstance(event, JobAdded)}
    fires = Counter(event.job_id for event in log if isinstance(event, Scheduled) and event.is_fire)
    sent = Counter((folder / "sent").read_text(encoding="utf-8").split())
    assert set(acknowledged) <= added
    assert fires == Counter(added)
    assert Counter(event.job_id for event in log if isinstance(event, JobRemoved)) == Counter(added)
    assert max(sent.values()) == 1
    assert report.is_proved
    assert (left, running.total) == ([], 0)


@pytest.mark.timeout(600)
def test_finished_one_shots_leave_nothing_in_memory(folder: Path) -> None:
    count = 30_000 if IS_LONG else 3_000
    with service(folder, MANY, count) as running:
        assert running.stdout is not None
        seen = [tuple(map(int, line.split())) for line in running.stdout]
        assert running.wait() == 0

    assert len(seen) == count // 500
    assert {(jobs, live) for _, jobs, live in seen} == {(0, 0)}
    if IS_LONG:  # before, the page cache of SQLite fills to its 32 MB
        warm, last = seen[2 * len(seen) // 3][0], seen[-1][0]
        assert last < warm + 8_000, f"{warm / 1e3:.0f} MB became {last / 1e3:.0f} MB"
