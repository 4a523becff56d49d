"""Metrics about workers elsewhere and their queues, read from the kernel that leads at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gnomon import GnomonError, KernelApi, QueueState, WorkerState, WorkerView
from gnomon.domain.workers import WorkerLife

STATES: tuple[WorkerLife, ...] = ("online", "stopping", "gone")


async def worker_metrics(kernel: KernelApi) -> bytes:
    """Return the metrics in the text format; none where every body runs with the kernel, or where another one leads."""
    if kernel.health().role != "leader":
        return b""
    try:
        view = await kernel.workers()
    except GnomonError:  # it stops
        return b""
    registry = CollectorRegistry()
    registry.register(_WorkerCollector(view, kernel.clock.now()))
    return generate_latest(registry)


class _WorkerCollector(Collector):
    """Describes one view of the workers."""

    def __init__(self, view: WorkerView, now: datetime) -> None:
        self._view = view
        self._now = now

    def collect(self) -> Iterable[Metric]:
        if self._view.workers:
            yield from _workers(self._view.workers)
        if self._view.queues:
            yield from _queues(self._view.queues, self._now)


def _workers(workers: Iterable[WorkerState]) -> Iterable[Metric]:
    present = [worker for worker in workers if worker.state != "gone"]
    states = Counter((worker.runner, worker.state) for worker in workers)
    by_state = GaugeMetricFamily("gnomon_workers", "Workers of a runner, by state", labels=["runner", "state"])
    active = GaugeMetricFamily("gnomon_workers_active", "Bodies that the workers of a runner run", labels=["runner"])
    places = GaugeMetricFamily("gnomon_workers_concurrency", "Bodies that they can run at once", labels=["runner"])
    for runner in dict.fromkeys(worker.runner for worker in workers):
        own = [worker for worker in present if worker.runner == runner]
        for state in STATES:
            by_state.add_metric([runner, state], states[runner, state])
        active.add_metric([runner], sum(worker.active for worker in own))
        places.add_metric([runner], sum(worker.concurrency or 0 for worker in own))
    return by_state, active, places


def _queues(queues: Iterable[QueueState], now: datetime) -> Iterable[Metric]:
    labels = ["runner", "queue"]
    length = GaugeMetricFamily("gnomon_queue_length", "Messages in a queue, of all senders", labels=labels)
    waiting = GaugeMetricFamily("gnomon_queue_waiting", "Executions that wait in a queue for a worker", labels=labels)
    workers = GaugeMetricFamily("gnomon_queue_workers", "Workers that take bodies from a queue", labels=labels)
    oldest = GaugeMetricFamily("gnomon_queue_oldest_seconds", "How long the oldest of them has waited", labels=labels)
    for queue in queues:
        place = [queue.runner, queue.name]
        if queue.length is not None:
            length.add_metric(place, queue.length)
        waiting.add_metric(place, queue.waiting)
        workers.add_metric(place, queue.workers)
        waited = (now - queue.oldest).total_seconds() if queue.oldest is not None else 0.0
        oldest.add_metric(place, max(waited, 0.0))
    return length, waiting, workers, oldest
