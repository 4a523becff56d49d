"""Metrics for Prometheus: counted from the events since the start, or read from the kernel at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gnomon import (
    Cancelled,
    Event,
    Failed,
    HandedOver,
    Health,
    JobAdded,
    JobRemoved,
    KernelApi,
    Missed,
    Started,
    Succeeded,
)
from gnomon_web.app_keys import KERNEL
from gnomon_web.http.routes import Route
from gnomon_web.resources.contributed_metrics import add_contributed_metrics
from gnomon_web.resources.health import parts_of
from gnomon_web.resources.worker_metrics import worker_metrics

MAX_JOBS = 2_000
"""Jobs with their own time series, about 40 each; further jobs share one label."""
OTHERS = "(other)"
STATUS_OF: Final[dict[type[Event], str]] = {
    Succeeded: "success",
    Failed: "failed",
    Missed: "missed",
    Cancelled: "cancelled",
}
EXECUTION_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400)
LATENESS_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 3600)


class Metrics:
    """Counts executions by job and status; removing a job removes its labels."""

    def __init__(self, kernel: KernelApi, job_ids: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._jobs = set(list(job_ids)[:MAX_JOBS])
        self._executions = Counter(
            "gnomon_executions", "Executions that ended, since the start", ["job", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "gnomon_execution_seconds",
            "Duration of the bodies",
            ["job"],
            buckets=EXECUTION_SECONDS,
            registry=self.registry,
        )
        self._lateness = Histogram(
            "gnomon_lateness_seconds",
            "Time between the scheduled time of a run and its start",
            ["job"],
            buckets=LATENESS_SECONDS,
            registry=self.registry,
        )
        self._hand_over = Histogram(
            "gnomon_hand_over_seconds",
            "Time between the moment when a run could start and its hand-over to workers elsewhere",
            ["job"],
            buckets=LATENESS_SECONDS,
            registry=self.registry,
        )
        self._queued = Histogram(
            "gnomon_queued_seconds",
            "Time between the hand-over of a run and its start by a worker",
            ["job"],
            buckets=LATENESS_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_KernelCollector(kernel))
        add_contributed_metrics(kernel, self.registry)

    def apply(self, events: Sequence[Event]) -> None:
        """Count these events."""
        for event in events:
            match event:
                case JobAdded(job_id=job_id) if len(self._jobs) < MAX_JOBS:
                    self._jobs.add(job_id)
                case JobRemoved(job_id=job_id):
                    self._forget(job_id)
                case HandedOver(delay=delay):
                    self._hand_over.labels(self._label(event)).observe(max(delay, 0.0))
                case Started(delay=delay, queued=queued):
                    self._lateness.labels(self._label(event)).observe(max(delay, 0.0))
                    if queued is not None:
                        self._queued.labels(self._label(event)).observe(max(queued, 0.0))
                case Succeeded() | Failed() | Missed() | Cancelled():
                    self._count_end(event)

    def _count_end(self, event: Succeeded | Failed | Missed | Cancelled) -> None:
        job = self._label(event)
        fires = event.count if isinstance(event, Missed) else 1
        is_snoozed = isinstance(event, Cancelled) and event.snoozed_until is not None
        self._executions.labels(job, "snoozed" if is_snoozed else STATUS_OF[type(event)]).inc(fires)
        if not isinstance(event, Missed) and event.execution_time is not None:
            self._seconds.labels(job).observe(event.execution_time)

    def _label(self, event: Event) -> str:
        return event.job_id if event.job_id in self._jobs else OTHERS

    def _forget(self, job_id: str) -> None:
        self._jobs.discard(job_id)
        for metric in (self._executions, self._seconds, self._lateness, self._hand_over, self._queued):
            metric.remove_by_labels({"job": job_id})


class _KernelCollector(Collector):
    """Reads the kernel's health at each scrape."""

    def __init__(self, kernel: KernelApi) -> None:
        self._kernel = kernel

    def collect(self) -> Iterable[Metric]:
        health = self._kernel.health()
        yield _gauge("gnomon_leading", "Whether the process leads its log", health.role == "leader")
        yield _gauge("gnomon_running", "Executions in progress", health.running)
        yield _gauge("gnomon_waiting", "Executions that wait for a slot", health.waiting)
        yield _gauge("gnomon_log_position", "Highest position of the log", health.position)
        yield _gauge("gnomon_store_lag", "Events that are not durable in the store yet", health.backlog)
        yield _gauge("gnomon_store_up", "Whether the store is healthy", health.store_state == "healthy")
        yield _gauge("gnomon_store_append_seconds", "Mean duration of the latest appends", health.append_s)
        yield _gauge("gnomon_accepts_runs", "Whether new runs start", health.accepts_runs)
        yield _gauge("gnomon_start_lateness_seconds", "How late the latest starts were, at most", health.lateness_s)
        yield _counter("gnomon_loop_stalls", "Times that a run blocked the event loop", health.loop_stalls)
        yield _counter("gnomon_loop_stalled_seconds", "Time that the event loop was blocked", health.loop_stalled_s)
        yield _gauge("gnomon_clock_behind_seconds", "How far the clock is behind the log", health.clock_behind_s)
        yield _problems(health)
        yield from _groups(health)
        lag = GaugeMetricFamily("gnomon_plugin_lag", "Events that a plugin lags behind", labels=["plugin"])
        failures = GaugeMetricFamily("gnomon_plugin_failures", "Hook calls of a plugin that failed", labels=["plugin"])
        for plugin in health.plugins:
            lag.add_metric([plugin.name], plugin.lag)
            failures.add_metric([plugin.name], plugin.failures)
        yield lag
        yield failures


METRICS = web.AppKey("metrics", Metrics)


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(method="GET", path="/metrics", handler=get_metrics, role="viewer", tag="metrics", media_type="text/plain")
    ]


async def get_metrics(request: web.Request) -> web.Response:
    """Return the metrics in the Prometheus text format."""
    body = generate_latest(request.app[METRICS].registry) + await worker_metrics(request.app[KERNEL])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _problems(health: Health) -> GaugeMetricFamily:
    """Return a series for each part of the kernel, so that an alert rule can name the part."""
    family = GaugeMetricFamily("gnomon_component_up", "Whether a part of the kernel works", labels=["component"])
    for part in parts_of(health):
        family.add_metric([part.name], float(part.state == "ok"))
    return family


def _counter(name: str, documentation: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, value=float(value))


def _groups(health: Health) -> Iterable[Metric]:
    taken = GaugeMetricFamily("gnomon_group_running", "Executions that take slots of a group", labels=["group"])
    waiting = GaugeMetricFamily("gnomon_group_waiting", "Jobs that wait for a slot of a group", labels=["group"])
    for group in health.groups:
        taken.add_metric([group.name], len(group.running))
        waiting.add_metric([group.name], group.waiting)
    return (taken, waiting) if health.groups else ()


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=float(value))
