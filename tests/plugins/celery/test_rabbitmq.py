"""Workers with RabbitMQ as the broker: other acknowledgements, other queues, and messages that outlive the broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed

from celery_kernels import celery_job, celery_kernel, run_of
from celery_workers import CeleryWorker, KernelEnd, has_lines, until
from gnomon.conversion import Secret
from gnomon.domain import events
from gnomon.testing import RecordingStore
from gnomon_celery.messages import Begun
from servers import RabbitServer, RedisServer, eventually, find_rabbitmq, find_redis


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer(find_rabbitmq(), tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.clean_up()


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.clean_up()


@pytest.fixture
def kernel(broker: RabbitServer, channel: RedisServer) -> Iterator[KernelEnd]:
    kernel = KernelEnd(broker.url, channel.url)
    yield kernel
    kernel.close()


@pytest.fixture
def worker(broker: RabbitServer, channel: RedisServer, tmp_path: Path) -> Iterator[CeleryWorker]:
    """Provide a worker that is not started yet."""
    worker = CeleryWorker(tmp_path / "worker", broker.url, channel.url)
    yield worker
    worker.clean_up()


def test_bodies_run_and_copies_of_their_messages_do_not(
    kernel: KernelEnd, worker: CeleryWorker, tmp_path: Path
) -> None:
    worker.start("--concurrency=2")
    path = tmp_path / "witness"
    assignment = kernel.assignment("witness", {"path": str(path)})
    for _ in range(3):
        kernel.send(assignment)
    kernel.ended(assignment.execution.id)
    assert [kernel.run("add", {"a": n}).value for n in range(4)] == [0, 1, 2, 3]
    assert len(path.read_text().splitlines()) == 1
    assert worker.stop() == 0


def test_a_quorum_queue_is_declared_alike_by_both_sides(
    broker: RabbitServer, channel: RedisServer, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {"queue": "replicated", "queue_type": "quorum"}
    kernel = KernelEnd(broker.url, channel.url, **keys)
    more = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
    worker = CeleryWorker(tmp_path / "worker", broker.url, channel.url, more=more)
    try:
        worker.start("--concurrency=1", "--queues=replicated,further")
        assert kernel.run("add", {"a": 1}).value == 1
        assert kernel.ended(kernel.send(kernel.assignment("add", {"a": 2}), queue="further")).value == 2
        for queue in ("replicated", "further"):
            with kernel.app.connection_for_read() as connection, pytest.raises(PreconditionFailed, match="quorum"):
                connection.default_channel.queue_declare(queue, durable=True, auto_delete=False)
    finally:
        kernel.close()
        worker.clean_up()


def test_the_highest_priority_is_preferred(broker: RabbitServer, channel: RedisServer, tmp_path: Path) -> None:
    kernel = KernelEnd(broker.url, channel.url, queue="ranked", max_priority=9)
    more = 'queue = "ranked"\nmax_priority = 9'
    worker = CeleryWorker(tmp_path / "worker", broker.url, channel.url, more=more)
    path = tmp_path / "witness"
    try:
        runs = {
            priority: kernel.send(
                kernel.assignment("witness", {"path": str(path), "word": str(priority)}), priority=priority
            )
            for priority in (1, 5, 9)
        }
        worker.start("--concurrency=1")
        for run in runs.values():
            kernel.ended(run)
        assert [line.split()[0] for line in path.read_text().splitlines()] == ["9", "5", "1"]
    finally:
        kernel.close()
        worker.clean_up()


async def test_a_kernel_waits_for_the_broker_and_says_so(
    broker: RabbitServer, channel: RedisServer, worker: CeleryWorker
) -> None:
    worker.start("--concurrency=1")
    job = celery_job(func="worker_bodies:add", kwargs={"a": 1, "b": 2})
    config, store = {"channel": Secret(channel.url)}, RecordingStore()
    async with celery_kernel(broker.url, job, config=config, store=store) as kernel:
        assert (await kernel.end_of(await run_of(kernel))).return_value == 3
        broker.kill()
        run = await run_of(kernel)
        await eventually(lambda: store.recorded.of(events.QueueStalled))
        (stalled,) = store.recorded.of(events.QueueStalled)
        assert stalled.reason.startswith(f"the broker amqp://127.0.0.1:{broker.port} cannot be reached")
        assert (await kernel.execution(run)).status == "scheduled"
        broker.start()
        ended = await kernel.end_of(run)
        assert (ended.return_value, ended.worker) == (3, worker.name)


def test_a_killed_broker_loses_no_message_and_its_workers_consume_again(
    kernel: KernelEnd, worker: CeleryWorker, broker: RabbitServer, tmp_path: Path
) -> None:
    worker.start("--concurrency=1", "--queues=kept")
    go, path = tmp_path / "go", tmp_path / "witness"
    running = kernel.send(kernel.assignment("hold_deaf", {"path": str(go)}), queue="kept")
    until(lambda: has_lines(Path(f"{go}.began")), "the body to begin")
    waiting = [
        kernel.send(kernel.assignment("witness", {"path": str(path), "word": str(n)}), queue="kept") for n in range(5)
    ]
    broker.kill()
    go.touch()
    assert kernel.ended(running).value == "held"  # over the channel, which is another server
    broker.start()
    for run in waiting:
        kernel.ended(run)
    assert sorted(line.split()[0] for line in path.read_text().splitlines()) == ["0", "1", "2", "3", "4"]
    assert len(kernel.of(running, Begun)) == 1
    assert kernel.ended(kernel.send(kernel.assignment("add", {"a": 1}), queue="kept")).value == 1
