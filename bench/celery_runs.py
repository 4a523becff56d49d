"""Bodies in Celery workers: memory, hand-over at a steady rate, and throughput against bare tasks with their results.

    python bench/celery_runs.py [--runs 100000] [--rate 100] [--seconds 20] [--tasks 2000] [--pairs 5]
                                [--concurrency 2]

First RUNS runs go through as fast as they can, and the memory of the kernel, of the worker with its processes, and of
Redis is read after each tenth. Then jobs are due RATE times a second, and the time is measured from the moment when a
run was due until the broker had its message, and until its worker began it. Then TASKS bodies run, alternately as runs
of Gnomon and as bare tasks, each side with its own Redis and prefork worker: bare Celery sends with `apply_async` and
reads each result with `get`; Gnomon triggers the runs in one call and waits for their ends, with the history of each in
SQLite. Prints one JSON line and one sentence, with the aims.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from celery import Celery
from redis import Redis

from gnomon import Execution, ExecutionQuery, Job, Kernel, RunOrder
from gnomon.conversion import Secret
from gnomon_celery import CeleryConfig, CeleryPlugin, runner
from gnomon_celery.sending import Refused, Sender, TaskMessage
from gnomon_sqlite import SqliteStore
from measure import alternate, arguments, median, percentile, quartiles, ratios, report, short
from sides import triggers, until, with_lead

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/shared"))
from servers import find_redis

BARE = """
import os
from celery import Celery
app = Celery("bare", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.broker_connection_retry_on_startup = True
@app.task(name="bare.body")
def body():
    pass
"""
BODY = "def body():\n    pass\n"
BATCH = 1_000
AIMS: dict[str, float] = {"ratio_gnomon_to_bare": 0.95, "hand_over_p99_ms": 50, "memory_growth_percent": 5}
"""At least so many times the throughput of bare Celery, and at most so much of the others."""
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(*command: str, folder: Path, **environment: str) -> Iterator[int]:
    """Run a program for as long as the block, and yield its process id."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stdin=quiet, stdout=quiet, stderr=quiet
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis, and yield its URL."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "yes", "--dir", str(folder)]
    with running(find_redis(), *options, folder=folder):
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"


def bare(app: Celery, tasks: int) -> Mapping[str, float]:
    """Send tasks one by one, and read the result of each."""
    before = time.perf_counter()
    sent = [app.send_task("bare.body") for _ in range(tasks)]
    for one in sent:
        one.get(timeout=120)
    return {"runs_per_s": tasks / (time.perf_counter() - before)}


@contextlib.asynccontextmanager
async def kernel_of(url: str, folder: Path, *jobs: Job, max_running: int) -> AsyncIterator[Kernel]:
    """Run a kernel with its history in a new SQLite file."""
    plugin = CeleryPlugin(CeleryConfig(broker=Secret(url)))
    with tempfile.TemporaryDirectory(dir=folder) as log:
        store = SqliteStore(Path(log) / "log.db")
        async with Kernel(store=store, jobs=jobs, plugins=[plugin], max_running=max_running) as kernel:
            yield kernel


TASK = Job(id="task", func="bench_bodies:body", runner="celery", overlap="allow")


def gnomon(url: str, folder: Path, tasks: int) -> Mapping[str, float]:
    """Trigger runs in one call, and wait for the end of each."""
    return asyncio.run(_gnomon(url, folder, tasks))


async def _gnomon(url: str, folder: Path, tasks: int) -> Mapping[str, float]:
    async with kernel_of(url, folder, TASK, max_running=tasks) as kernel:
        before, cpu = time.perf_counter(), time.process_time()
        accepted: list[Any] = []
        for start in range(0, tasks, BATCH):
            accepted += await kernel.trigger_many([RunOrder("task")] * min(BATCH, tasks - start))
        await kernel.wait_many([one.execution.id for one in accepted])
        seconds = time.perf_counter() - before
        return {"runs_per_s": tasks / seconds, "cpu_share": (time.process_time() - cpu) / seconds}


# --- memory ---


def processes(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def resident_mb(*pids: int) -> float:
    """Return the memory of processes, in MB."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def memory(url: str, folder: Path, runs: int, worker: int) -> dict[str, Any]:
    """Run as many as can be run at once; read the memory after each tenth of them."""
    found: dict[str, list[float]] = {"kernel_mb": [], "worker_mb": [], "redis_mb": []}
    batch = min(BATCH, max(runs // 10, 1))
    before = time.perf_counter()
    async with kernel_of(url, folder, TASK, max_running=2 * batch) as kernel:
        earlier: list[str] = []
        for done in range(0, runs, batch):
            accepted = [one.execution.id for one in await kernel.trigger_many([RunOrder("task")] * batch)]
            if earlier:
                await kernel.wait_many(earlier)
            earlier = accepted
            if done // batch % max(runs // 10 // batch, 1) == 0 and done:
                _note(found, url, worker)
        await kernel.wait_many(earlier)
        _note(found, url, worker)
    return {
        "runs": runs,
        "runs_per_s": short(runs / (time.perf_counter() - before)),
        **{name: [round(value, 1) for value in values] for name, values in found.items()},
        "growth_percent": {name: growth(values) for name, values in found.items()},
    }


def _note(found: dict[str, list[float]], url: str, worker: int) -> None:
    found["kernel_mb"].append(resident_mb(os.getpid()))
    found["worker_mb"].append(resident_mb(*processes(worker)))
    with Redis.from_url(url) as redis:
        found["redis_mb"].append(redis.info("memory")["used_memory"] / 1e6)


def growth(values: list[float]) -> float:
    """Return by how many percent the last two values exceed the third and the fourth: the first ones fill caches."""
    first, last = (values[2:4] or values), values[-2:]
    return round((sum(last) / len(last)) / (sum(first) / len(first)) * 100 - 100, 1)


# --- hand-over ---


def hand_over(url: str, folder: Path, rate: int, seconds: int) -> Mapping[str, float]:
    """Fire jobs at a steady rate; return how long they took from their times to the broker, and to their worker."""
    return with_lead(rate, lambda due: asyncio.run(_hand_over(url, folder, rate, seconds, due)))


async def _hand_over(url: str, folder: Path, rate: int, seconds: int, due: datetime) -> Mapping[str, float]:
    sent: dict[str, float] = {}

    class TimedSender(Sender):
        def _report(self, message: TaskMessage, refused: Refused | None) -> None:
            sent[message.execution_id] = time.time()
            super()._report(message, refused)

    jobs = [
        Job(id=f"job-{n}", func="bench_bodies:body", runner="celery", overlap="allow", trigger=trigger)
        for n, trigger in enumerate(triggers(rate, due, 1, 1))
    ]
    with patch.object(runner, "Sender", TimedSender):  # it knows when the broker has taken a batch
        async with kernel_of(url, folder, *jobs, max_running=10 * rate) as kernel:
            await until(due)
            await asyncio.sleep(seconds)
            runs = await _ended(kernel)
    handed_over = sorted(sent[run.id] - run.scheduled_time.timestamp() for run in runs)
    begun = sorted(run.delay or 0.0 for run in runs)
    return {
        "runs": len(runs),
        **{
            f"{name}_p{part}_ms": short(percentile(times, part) * 1e3)
            for name, times in (("hand_over", handed_over), ("begun", begun))
            for part in (50, 99)
        },
        "hand_over_max_ms": short(handed_over[-1] * 1e3),
    }


async def _ended(kernel: Kernel) -> list[Execution]:
    query, found = ExecutionQuery(status=("success",), limit=500), list[Execution]()
    while True:
        page = await kernel.executions(query)
        found += page.items
        if page.next is None:
            return found
        query = ExecutionQuery(status=("success",), limit=500, cursor=page.next)


def main() -> None:
    """Measure and print the results."""
    asked = arguments(
        "Bodies in Celery workers.", runs=100_000, rate=100, seconds=20, tasks=2_000, pairs=5, concurrency=2
    )
    python, size = sys.executable, f"--concurrency={asked.concurrency}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "bare.py").write_text(BARE)
        (folder / "bench_bodies.py").write_text(BODY)
        sys.path.insert(0, str(folder))
        for side in ("a", "b"):
            (folder / side).mkdir()
        bare_url = stack.enter_context(redis_server(folder / "a"))
        url = stack.enter_context(redis_server(folder / "b"))
        path = {"PYTHONPATH": str(folder)}
        command = (python, "-m", "celery", "-A", "bare", "worker", size, *QUIET)
        stack.enter_context(running(*command, folder=folder, BENCH_REDIS=bare_url, **path))
        command = (python, "-m", "celery", "-A", "gnomon_celery.worker", "worker", size, *QUIET)
        worker = stack.enter_context(running(*command, folder=folder, GNOMON_CELERY_BROKER=url, **path))
        gnomon(url, folder, 100)  # the worker is there
        held = asyncio.run(memory(url, folder, asked.runs, worker))
        given = hand_over(url, folder, asked.rate, asked.seconds)
        app = Celery("bare", broker=bare_url, backend=bare_url, set_as_current=False)
        bare(app, 100)
        pairs = alternate(lambda: gnomon(url, folder, asked.tasks), lambda: bare(app, asked.tasks), asked.pairs)
        gc.collect()  # the results of Celery talk to Redis once more as they go
    ratio = quartiles(ratios(pairs, "runs_per_s"))
    ours, theirs = (median([pair[side] for pair in pairs], "runs_per_s") for side in (0, 1))
    report(
        "Bodies in Celery workers",
        f"Of {asked.tasks} bodies in a Celery worker with {asked.concurrency} processes, Gnomon runs {ours:,.0f} a "
        f"second with their history, {ratio['median']} times as many as bare `apply_async` and `get` ({theirs:,.0f}); "
        f"at {asked.rate} runs a second the broker has a message {given['hand_over_p50_ms']} ms after its run was due, "
        f"p99 {given['hand_over_p99_ms']}, and the worker has begun it after {given['begun_p50_ms']}, p99 "
        f"{given['begun_p99_ms']}; over {asked.runs:,} runs the kernel grew by "
        f"{held['growth_percent']['kernel_mb']}% and the worker by {held['growth_percent']['worker_mb']}%.",
        pairs=len(pairs),
        ratio_gnomon_to_bare=ratio,
        kernel_cpu_share=median([pair[0] for pair in pairs], "cpu_share"),
        hand_over=given,
        memory=held,
        aims=AIMS,
    )


if __name__ == "__main__":
    main()
