"""Bodies in Celery workers: runs of Gnomon against bare tasks whose results are read.

python bench/celery_runs.py [--tasks 2000] [--pairs 5] [--concurrency 2]

Each side has its own Redis and a prefork worker. Bare Celery sends with `apply_async` and reads each result
with `get`; Gnomon triggers the runs in one call and waits for their ends, with the history of each in SQLite.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from celery import Celery

from gnomon import Job, Kernel, RunOrder
from gnomon.conversion import Secret
from gnomon_celery import CeleryConfig, CeleryPlugin
from gnomon_sqlite import SqliteStore
from measure import alternate, arguments, median, quartiles, ratios, report

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
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(*command: str, folder: Path, **environment: str) -> Iterator[None]:
    """Run a program for as long as the block."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stdin=quiet, stdout=quiet, stderr=quiet
    )
    try:
        yield
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


def gnomon(url: str, folder: Path, tasks: int) -> Mapping[str, float]:
    """Trigger runs in one call, and wait for the end of each."""
    return asyncio.run(_gnomon(url, folder, tasks))


async def _gnomon(url: str, folder: Path, tasks: int) -> Mapping[str, float]:
    job = Job(id="task", func="bench_bodies:body", runner="celery", overlap="allow")
    plugin = CeleryPlugin(CeleryConfig(broker=Secret(url)))
    with tempfile.TemporaryDirectory(dir=folder) as log:
        store = SqliteStore(Path(log) / "log.db")
        async with Kernel(store=store, jobs=[job], plugins=[plugin], max_running=tasks) as kernel:
            before, cpu = time.perf_counter(), time.process_time()
            accepted: list[Any] = []
            for start in range(0, tasks, 1_000):
                accepted += await kernel.trigger_many([RunOrder("task")] * min(1_000, tasks - start))
            await kernel.wait_many([one.execution.id for one in accepted])
            seconds = time.perf_counter() - before
            return {"runs_per_s": tasks / seconds, "cpu_share": (time.process_time() - cpu) / seconds}


def main() -> None:
    """Measure and print the results."""
    asked = arguments("Bodies in Celery workers.", tasks=2_000, pairs=5, concurrency=2)
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
        worker = (python, "-m", "celery", "-A", "bare", "worker", size, *QUIET)
        stack.enter_context(running(*worker, folder=folder, BENCH_REDIS=bare_url, **path))
        worker = (python, "-m", "celery", "-A", "gnomon_celery.worker", "worker", size, *QUIET)
        stack.enter_context(running(*worker, folder=folder, GNOMON_CELERY_BROKER=url, **path))
        app = Celery("bare", broker=bare_url, backend=bare_url, set_as_current=False)
        bare(app, 100)  # both workers are there
        gnomon(url, folder, 100)
        pairs = alternate(lambda: gnomon(url, folder, asked.tasks), lambda: bare(app, asked.tasks), asked.pairs)
    ratio = quartiles(ratios(pairs, "runs_per_s"))
    ours, theirs = (median([pair[side] for pair in pairs], "runs_per_s") for side in (0, 1))
    report(
        f"{asked.tasks} bodies in Celery workers",
        f"Of {asked.tasks} bodies in a Celery worker with {asked.concurrency} processes, Gnomon runs {ours:,.0f} a "
        f"second with their history, {ratio['median']} times as many as bare `apply_async` and `get` ({theirs:,.0f}).",
        pairs=len(pairs),
        ratio_gnomon_to_bare=ratio,
        kernel_cpu_share=median([pair[0] for pair in pairs], "cpu_share"),
    )


if __name__ == "__main__":
    main()
