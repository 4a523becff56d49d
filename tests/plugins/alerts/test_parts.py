"""Alerts about the parts of a deployment: the store, plugins, queues, the kernel, and that no kernel leads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from gnomon import AlertOpened, Health, PluginHealth, QueueState, WorkerView
from gnomon.testing import VirtualClock
from gnomon.testing.histories import NOON
from gnomon_alerts.parts import PartWatch
from simulated_log import SimulatedLog

MINUTE = timedelta(minutes=1)


def health(**facts: Any) -> Health:
    given: dict[str, Any] = {
        "state": "healthy",
        "problem": None,
        "store": "sqlite",
        "position": 0,
        "backlog": 0,
        "accepts_runs": True,
    }
    given |= {"running": 0, "waiting": 0, "groups": [], "plugins": [], "store_state": "healthy", "store_problem": None}
    return msgspec.convert(given | facts, Health)


class ScriptedKernel:
    """A kernel whose health and workers a test sets."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NOON)
        self.now = health()
        self.view = WorkerView()

    def health(self) -> Health:
        return self.now

    async def workers(self) -> WorkerView:
        return self.view


async def looks(log: SimulatedLog, kernel: ScriptedKernel, parts: PartWatch, minutes: int) -> list[tuple[str, str]]:
    """Decide once a minute, and return the kinds and subjects of the open alerts."""
    for _ in range(minutes):
        log.now += MINUTE
        await kernel.clock.advance(MINUTE)
        log.detector.look(log.now)
        await parts.look(kernel, log.detector, log.now)  # type: ignore[arg-type]
        await log.record()
    return [(alert.kind, alert.subject) for alert in log.open]


async def test_a_store_a_plugin_and_a_component_in_trouble_are_alerts_until_they_recover() -> None:
    log, kernel, parts = SimulatedLog(), ScriptedKernel(), PartWatch()
    sick = PluginHealth("redis", "degraded", 0, 0, 0, 3, "connection refused")
    problems = {"jobs": "jobs cannot run", "hold": "held by ann", "plugin redis": "connection refused"}
    kernel.now = health(store_state="degraded", store_problem="disk full", plugins=[sick], problems=problems)
    first = await looks(log, kernel, parts, 1)
    later = await looks(log, kernel, parts, 1)
    kernel.now = health()
    after = await looks(log, kernel, parts, 1)

    assert first == []
    assert sorted(later) == [("kernel", "jobs"), ("plugin", "redis"), ("store", "sqlite")]
    assert after == []
    assert {alert.resolution for alert in log.alerts} == {"recovered"}
    assert {alert.since for alert in log.alerts} == {NOON + MINUTE}


async def test_a_queue_without_a_worker_in_which_runs_wait_is_an_alert() -> None:
    log, kernel, parts = SimulatedLog(), ScriptedKernel(), PartWatch()
    kernel.view = WorkerView(queues=[QueueState(name="reports", runner="celery", waiting=2)])
    await looks(log, kernel, parts, 2)
    early = log.counts
    found = await looks(log, kernel, parts, 1)
    kernel.view = WorkerView(queues=[QueueState(name="reports", runner="celery", waiting=2, workers=1)])
    after = await looks(log, kernel, parts, 1)

    assert early == (0, 0, 0)
    assert (found, after) == ([("queue", "celery:reports")], [])


async def test_the_alert_of_a_part_is_not_opened_again_by_the_kernel_that_leads_next() -> None:
    log, kernel = SimulatedLog(), ScriptedKernel()
    kernel.now = health(store_state="degraded", store_problem="disk full")
    await looks(log, kernel, PartWatch(), 2)
    log.save()
    log.kill()
    still = await looks(log, kernel, PartWatch(), 3)
    kernel.now = health()
    after = await looks(log, kernel, PartWatch(), 1)

    assert (still, after, len(log.of(AlertOpened))) == ([("store", "sqlite")], [], 1)


async def test_a_process_that_follows_shows_that_no_kernel_leads_and_records_it_when_it_leads() -> None:
    log, kernel, parts = SimulatedLog(), ScriptedKernel(), PartWatch()
    leaderless = health(problems={"leader": "no kernel leads this log"}, role="follower")
    parts.follow(leaderless, NOON)
    early = parts.leaderless(log.detector.rules, NOON + MINUTE / 2)
    shown = parts.leaderless(log.detector.rules, NOON + 2 * MINUTE)
    await looks(log, kernel, parts, 1)
    log.now = NOON + 3 * MINUTE
    await looks(log, kernel, parts, 1)

    assert early is None
    assert shown is not None
    assert (shown.kind, shown.since, shown.severity) == ("leader", NOON, "critical")
    (alert,) = log.alerts
    assert (alert.id, alert.since, alert.resolution) == (shown.id, NOON, "recovered")
