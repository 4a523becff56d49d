"""Workers whose processes are killed, whose Redis is away, or that are stopped, and their bodies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celery_workers import SHARED, CeleryWorker, KernelEnd, has_lines, until
from gnomon_celery.messages import Begun, Died, Ended
from servers import RedisServer, find_redis


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.clean_up()


@pytest.fixture
def make_worker(tmp_path: Path, broker: RedisServer) -> Iterator[Callable[..., CeleryWorker]]:
    workers: list[CeleryWorker] = []

    def make(*options: str, channel: str | None = None, more: str = "") -> CeleryWorker:
        worker = CeleryWorker(tmp_path / f"worker{len(workers)}", broker.url, channel, more=more)
        workers.append(worker)
        worker.start(*options)
        return worker

    try:
        yield make
    finally:
        for worker in workers:
            worker.clean_up()


@pytest.fixture(scope="module")
def prefork(broker: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryWorker]:
    """Provide a worker with two processes; tests kill those, and not the worker."""
    worker = CeleryWorker(tmp_path_factory.mktemp("worker"), broker.url, more='queue = "prefork"')
    try:
        worker.start("--concurrency=2")
        yield worker
    finally:
        worker.clean_up()


@pytest.fixture
def kernel(broker: RedisServer) -> Iterator[KernelEnd]:
    kernel = KernelEnd(broker.url)
    yield kernel
    kernel.close()


def begin(kernel: KernelEnd, body: str, path: Path, queue: str = "gnomon", **given: object) -> str:
    """Start a body that runs until the file is there, and wait until it has begun."""
    run = kernel.send(kernel.assignment(body, {"path": str(path)}, **given), queue=queue)
    until(lambda: has_lines(Path(f"{path}.began")), f"{body} to begin")
    kernel.begun(run)
    return run


# --- children of a pool ---


def test_the_death_of_a_child_is_reported_at_once_and_the_worker_goes_on(
    kernel: KernelEnd, prefork: CeleryWorker, tmp_path: Path
) -> None:
    run = begin(kernel, "hold_deaf", tmp_path / "never", "prefork")
    child = kernel.process_of(run)
    os.kill(child, signal.SIGKILL)
    died = kernel.died(run)
    assert (died.n, died.worker, died.had_begun) == (0, prefork.name, True)
    assert f"(pid {child})" in died.message
    assert "SIGKILL" in died.message
    assert kernel.redis.zscore(kernel.channel.alive, run) is None
    other = kernel.send(kernel.assignment("add", {"a": 1}), queue="prefork")
    assert kernel.ended(other).value == 1
    assert not kernel.of(run, Ended)


def test_a_body_that_does_not_stop_after_its_timeout_is_killed_with_its_process(
    kernel: KernelEnd, prefork: CeleryWorker, tmp_path: Path
) -> None:
    run = begin(kernel, "hold_and_swallow", tmp_path / "never", "prefork", timeout=0.5, cancel_grace=0.5)
    ended = kernel.ended(run)
    assert (ended.reason, ended.killed) == ("timeout", True)
    assert "it did not stop within 0.5 s, so its process was killed" in (ended.error_message or "")
    until(lambda: not Path(f"/proc/{kernel.process_of(run)}").exists(), "the process to be gone")
    other = kernel.send(kernel.assignment("add", {"a": 1}), queue="prefork")  # its parent has noticed
    assert kernel.ended(other).value == 1
    assert not kernel.of(run, Died)


def test_a_terminated_body_cleans_up_and_counts_as_cancelled(
    kernel: KernelEnd, prefork: CeleryWorker, tmp_path: Path
) -> None:
    path = tmp_path / "never"
    run = begin(kernel, "hold_on", path, "prefork")
    kernel.cancel(run)
    until(lambda: has_lines(Path(f"{path}.asked")), "the request to arrive")
    kernel.app.control.revoke(run, terminate=True)
    ended = kernel.ended(run)
    assert (ended.cancelled, ended.reason, ended.error_type) == (True, None, "gnomon.RunCancelled")
    assert path.read_text().startswith("cleaned")
    other = kernel.send(kernel.assignment("add", {"a": 1}), queue="prefork")
    assert kernel.ended(other).value == 1
    assert not kernel.of(run, Died)


def test_a_body_that_is_terminated_without_its_kernel_is_lost(
    kernel: KernelEnd, prefork: CeleryWorker, tmp_path: Path
) -> None:
    run = begin(kernel, "hold_on", tmp_path / "never", "prefork")
    kernel.app.control.revoke(run, terminate=True)
    ended = kernel.ended(run)
    assert (ended.cancelled, ended.reason, ended.error_type) == (False, "lost", "WorkerStopped")
    assert "the worker was stopped without waiting for its bodies, or the task was revoked" in (
        ended.error_message or ""
    )


def test_a_message_that_is_delivered_again_after_its_child_died_begins_nothing(
    kernel: KernelEnd, broker: RedisServer, tmp_path: Path
) -> None:
    """With these settings of the operator, Celery puts the message back into the queue."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_app.py").write_text(
        "from gnomon_celery.worker import app\n"
        "task = app.tasks['gnomon.run']\n"
        "task.acks_late = task.reject_on_worker_lost = True\n"
    )
    worker = CeleryWorker(folder, broker.url)
    environ = {
        "GNOMON_CELERY_BROKER": broker.url,
        "GNOMON_CELERY_QUEUE": "late",
        "PYTHONPATH": os.pathsep.join([str(folder), str(SHARED)]),
    }
    command = [sys.executable, "-m", "celery", "-A", "own_app", "worker", "-c", "1", "-n", worker.name]
    try:
        worker.start_command(command, environ)
        run = begin(kernel, "hold_deaf", tmp_path / "never", "late")
        os.kill(kernel.process_of(run), signal.SIGKILL)
        kernel.died(run)
        until(lambda: "does not begin" in worker.log.read_text(), "the message to come again")
        assert kernel.ended(kernel.send(kernel.assignment("add", {"a": 1}), queue="late")).value == 1
        assert len(kernel.of(run, Begun)) == 1
        assert len((tmp_path / "never.began").read_text().splitlines()) == 1
    finally:
        worker.clean_up()


# --- stopping a worker ---


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_warm_shutdown_lets_bodies_end_and_delivers_their_results(
    kernel: KernelEnd, make_worker: Callable[..., CeleryWorker], tmp_path: Path, pool: str
) -> None:
    path = tmp_path / "go"
    worker = make_worker(f"--pool={pool}", "--concurrency=2", more=f'queue = "warm-{pool}"\nheartbeat = "200ms"')
    run = begin(kernel, "hold_deaf", path, f"warm-{pool}")
    worker.send(signal.SIGTERM)
    until(lambda: (info := worker.info()) is not None and info.state == "stopping", "the worker to be stopping")
    path.touch()
    assert kernel.ended(run).value == "held"
    assert worker.wait() == 0
    assert worker.info() is None
    assert kernel.redis.zscore("gnomon:workers", worker.name) is None


def test_a_cold_shutdown_reports_the_bodies_that_it_interrupts_as_lost(
    kernel: KernelEnd, make_worker: Callable[..., CeleryWorker], tmp_path: Path
) -> None:
    path = tmp_path / "never"
    worker = make_worker("--concurrency=1", more='queue = "cold"')
    run = begin(kernel, "hold_deaf", path, "cold")
    worker.send(signal.SIGQUIT)
    worker.wait()
    ended = kernel.ended(run)
    assert (ended.reason, ended.cancelled) == ("lost", False)
    assert path.read_text().startswith("cleaned")


def test_the_bodies_of_a_killed_worker_end_with_it(
    kernel: KernelEnd, make_worker: Callable[..., CeleryWorker], tmp_path: Path
) -> None:
    worker = make_worker("--concurrency=1", more='queue = "killed"')
    run = begin(kernel, "hold_deaf", tmp_path / "never", "killed")
    child = kernel.process_of(run)
    worker.kill()
    until(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")
    assert not kernel.of(run, Ended)


ORPHAN = """
import os, sys, time
from billiard import Process
from gnomon_celery.worker_app import end_without_parent

def child(parent):
    while os.getppid() == parent:
        time.sleep(0.01)
    end_without_parent()
    open(sys.argv[1], "w").close()

process = Process(target=child, args=(os.getpid(),))
process.start()
print(process.pid, flush=True)
os._exit(0)
"""


def test_a_child_ends_whose_parent_died_before_the_system_was_told_to_end_it(tmp_path: Path) -> None:
    witness = tmp_path / "goes on"
    with subprocess.Popen([sys.executable, "-c", ORPHAN, witness], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
    until(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")
    assert not witness.exists()


# --- Redis is away ---


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[RedisServer]:
    """Provide a Redis for the channel alone, which a test may kill."""
    (tmp_path / "channel").mkdir()
    server = RedisServer(find_redis(), tmp_path / "channel")
    server.start()
    yield server
    server.clean_up()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_result_waits_until_redis_is_back(
    broker: RedisServer, channel: RedisServer, make_worker: Callable[..., CeleryWorker], tmp_path: Path, pool: str
) -> None:
    path, queue = tmp_path / "go", f"away-{pool}"
    worker = make_worker(f"--pool={pool}", "--concurrency=1", channel=channel.url, more=f'queue = "{queue}"')
    kernel = KernelEnd(broker.url, channel.url)
    try:
        run = kernel.send(kernel.assignment("talk_then_hold", {"path": str(path), "lines": 50}), queue=queue)
        until(lambda: len(kernel.lines(run)) == 50, "the lines")
        channel.kill()
        path.touch()
        until(lambda: "the channel cannot be reached" in worker.log.read_text(), "the worker to notice")
        worker.send(signal.SIGTERM)  # waits for the result, too
        channel.start()  # empty: it forgets everything when it ends
        kernel.messages.clear()
        kernel._read = "0"
        assert kernel.ended(run).value == "held"
        assert worker.wait() == 0
    finally:
        kernel.close()


def test_a_body_does_not_begin_before_its_run_is_claimed(
    broker: RedisServer, channel: RedisServer, make_worker: Callable[..., CeleryWorker], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    worker = make_worker("--concurrency=1", channel=channel.url, more='queue = "claims"')
    kernel = KernelEnd(broker.url, channel.url)
    try:
        channel.kill()
        run = kernel.send(kernel.assignment("witness", {"path": str(path)}), queue="claims")
        until(lambda: f"run {run} waits" in worker.log.read_text(), "the worker to notice")
        assert not path.exists()
        channel.start()
        kernel.ended(run)
        assert len(path.read_text().splitlines()) == 1
    finally:
        kernel.close()


# --- a worker that has stopped consuming ---


@pytest.mark.parametrize(
    "fault", ["c.task_consumer.consume = lambda *a, **k: None", "c.timer.call_after(0.1, hang)"], ids=["deaf", "hangs"]
)
def test_a_worker_that_no_longer_consumes_ends_so_that_it_is_started_again(
    kernel: KernelEnd, broker: RedisServer, tmp_path: Path, fault: str
) -> None:
    """Its consumer was taken off the queue, as after some reconnections to a broker, or its loop hangs."""
    folder = tmp_path / "deaf"
    worker = CeleryWorker(folder, broker.url, more='queue = "deaf"\nheartbeat = "200ms"')
    (folder / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "from time import sleep\n"
        "from celery.worker.consumer.tasks import Tasks\n"
        "start = Tasks.start\n"
        "def hang():\n"
        f"    Path({str(folder / 'faulty')!r}).touch()\n"
        "    sleep(99)\n"
        "def faulty(self, c):\n"
        "    start(self, c)\n"
        f"    {fault}\n"
        "Tasks.start = faulty\n"
    )
    try:
        worker.start("--concurrency=1", "--deaf-after=1", environ={"PYTHONPATH": str(folder)})
        if "hang" in fault:
            until((folder / "faulty").exists, "the loop to hang")
        # Redis gives the first to a consumer that asked for it and hangs since.
        _, run = (kernel.send(kernel.assignment("add", {"a": n}), queue="deaf") for n in range(2))
        assert worker.wait() == 75
        assert "it has stopped consuming, and exits with code 75" in worker.log.read_text()
        assert not kernel.of(run, Begun)
    finally:
        kernel.redis.delete("deaf")
        worker.clean_up()


def test_a_worker_whose_loop_hangs_ends_after_its_bodies(
    kernel: KernelEnd, broker: RedisServer, tmp_path: Path
) -> None:
    folder, path = tmp_path / "deaf", tmp_path / "go"
    worker = CeleryWorker(folder, broker.url, more='queue = "hanging"\nheartbeat = "200ms"')
    (folder / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "from time import sleep\n"
        "from celery.worker.consumer.tasks import Tasks\n"
        "start = Tasks.start\n"
        "def look():\n"
        f"    if Path({str(tmp_path / 'hang')!r}).exists():\n"
        "        sleep(99)\n"
        "def faulty(self, c):\n"
        "    start(self, c)\n"
        "    c.timer.call_repeatedly(0.05, look)\n"
        "Tasks.start = faulty\n"
    )
    try:
        worker.start("--concurrency=1", "--deaf-after=1", environ={"PYTHONPATH": str(folder)})
        run = begin(kernel, "hold_deaf", path, "hanging")
        kernel.send(kernel.assignment("add", {"a": 1}), queue="hanging")
        kernel.send(kernel.assignment("add", {"a": 1}), queue="hanging")  # one is fetched in advance
        (tmp_path / "hang").touch()
        until(lambda: "it ends when its 1 bodies have ended" in worker.log.read_text(), "the worker to notice")
        path.touch()
        assert kernel.ended(run).value == "held"
        assert worker.wait() == 75
    finally:
        worker.clean_up()


def test_a_busy_worker_does_not_count_as_one_that_has_stopped_consuming(
    kernel: KernelEnd, make_worker: Callable[..., CeleryWorker], tmp_path: Path
) -> None:
    path = tmp_path / "go"
    worker = make_worker("--concurrency=1", "--deaf-after=1", more='queue = "busy"\nheartbeat = "200ms"')
    run = begin(kernel, "hold_deaf", path, "busy")
    waiting = [kernel.send(kernel.assignment("add", {"a": n}), queue="busy") for n in range(5)]
    first = kernel.redis.zscore("gnomon:workers", worker.name) or 0
    until(
        lambda: (kernel.redis.zscore("gnomon:workers", worker.name) or 0) > first + 3000, "three seconds of heartbeats"
    )
    path.touch()
    assert kernel.ended(run).value == "held"
    assert [kernel.ended(one).value for one in waiting] == [0, 1, 2, 3, 4]
