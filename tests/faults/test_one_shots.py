"""Thousands of jobs with one fire, added by orders: SIGKILL loses none of them, and finished ones leave nothing."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
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
import asyncio, socket, sys
from contextlib import asynccontextmanager
from datetime import timedelta

import uvicorn
from fastapi import FastAPI

from gnomon import Kernel
from gnomon_sqlite import SqliteStore
from one_shot_tasks import send

kernel = Kernel(store=SqliteStore("gnomon.db"))

@asynccontextmanager
async def lifespan(app):
    async with kernel:
        yield

app = FastAPI(lifespan=lifespan)

@app.post("/messages/{number}", status_code=201)
async def add(number: int) -> dict[str, str]:
    at = kernel.clock.now() + timedelta(milliseconds=number % 1_500)
    job = await kernel.add_job(send, id=f"send-{number}", at=at, args=[number], actor="web")
    return {"job": job.id}

@app.get("/sent")
async def sent() -> list[str]:
    while await kernel.jobs():
        await asyncio.sleep(0.05)
    return []

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(sockets[0].getsockname()[1], flush=True)

with socket.create_server(("127.0.0.1", 0)) as listening:
    Server(uvicorn.Config(app, log_config=None)).run([listening])
"""

MANY = """
import asyncio, gc, sys

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
            while await kernel.jobs() or kernel._leader._journal.jobs or not kernel.is_idle:
                await asyncio.sleep(0.01)
            kept = len(kernel._leader._journal.jobs) + len(kernel._leader._journal.live)
            gc.collect()
            print(kept, resident(), sys.getallocatedblocks(), len(gc.get_objects()), flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
CACHES_KB = 64_000
"""The page cache of the connection that writes, which fills while the file grows, and as much for what readers fold of
the events that are not in the tables yet: memory that comes and goes, and that Python keeps for the next time."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one_shot_tasks.py").write_text(TASKS, encoding="utf-8")
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    return tmp_path


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, aiohttp.ClientSession]]:
    """Run the application in uvicorn, and connect to it once it accepts requests."""
    command = [sys.executable, "service.py"]
    running = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=subprocess.PIPE, stderr=sys.stderr)
    try:
        assert running.stdout is not None
        port = int(await running.stdout.readline())
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(300)) as client:
            yield running, client
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def add_until_killed(folder: Path, first: int, count: int, killed_after: int) -> list[str]:
    """Add jobs by requests, 50 at a time, and kill the service after some answers; return what it acknowledged."""
    acknowledged: list[str] = []
    numbers = iter(range(first, first + count))
    async with service(folder) as (running, client):

        async def post_all() -> None:
            with suppress(aiohttp.ClientError):  # it was killed
                for number in numbers:
                    async with client.post(f"/messages/{number}") as answer:
                        assert answer.status == 201, await answer.text()
                        acknowledged.append((await answer.json())["job"])
                    if len(acknowledged) == killed_after:
                        running.kill()

        async with asyncio.TaskGroup() as clients:
            for _ in range(50):
                clients.create_task(post_all())
        assert await running.wait() == -signal.SIGKILL
    return acknowledged


@pytest.mark.timeout(600)
async def test_one_shots_that_were_acknowledged_each_fire_once_and_are_gone(folder: Path) -> None:
    count, chance = 1_000 if IS_LONG else 200, random.Random(11)
    acknowledged: list[str] = []
    for life in range(rounds(2, 10)):
        acknowledged += await add_until_killed(folder, life * count, count, chance.randrange(count // 2, count))
    async with service(folder) as (last, client):
        async with client.get("/sent") as answer:
            assert await answer.json() == []
        last.terminate()
        await last.wait()
    with capture_logs():
        await check(folder, acknowledged)


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
    count = 20_000 if IS_LONG else 3_000
    command = [sys.executable, "-c", MANY, str(folder / "gnomon.db"), str(count)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        seen = [tuple(map(int, line.split())) for line in running.stdout]
        assert running.wait() == 0

    assert len(seen) == count // 500
    assert {kept for kept, *_ in seen} == {0}
    if IS_LONG:
        (_, rss, blocks, objects), (_, late_rss, late_blocks, late_objects) = (
            zip(*half, strict=True) for half in (seen[4 : len(seen) // 2], seen[len(seen) // 2 :])
        )
        print(f"RSS {max(rss) / 1e3:.0f} MB, then {max(late_rss) / 1e3:.0f} MB", min(late_blocks) - min(blocks))
        # The lowest, because events on their way to the tables come and go: less than two of each one-shot are left.
        assert min(late_blocks) < min(blocks) + 20_000
        assert min(late_objects) < min(objects) + 5_000
        assert max(late_rss) < max(rss) + CACHES_KB
