"""Looks at the parts of the deployment: the store, the plugins, and the queues of workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from gnomon import GnomonError, Health, KernelApi
from gnomon.domain.kernel_health import NEEDS_ATTENTION
from gnomon.domain.statement import Statement, state
from gnomon.durations import Duration
from gnomon.logs import get_logger
from gnomon.wire.alerts import Alert
from gnomon_alerts.conditions import Finding
from gnomon_alerts.detector import Detector
from gnomon_alerts.rules import Kind, Rules

log = get_logger("gnomon.alerts")

NO_WORKERS_PAUSE_S = 300.0
"""Seconds until a kernel whose bodies all run with it is asked again for queues."""
WORKERS_PAUSE_S = 30.0
LEADER = "leader"
OF_OTHERS = frozenset({"hold", "leader", "workers"})
"""Problems of the kernel's health that are what an operator wants, or that another rule is about."""


class PartWatch:
    """What is in trouble, and since when, as this process has seen it."""

    def __init__(self) -> None:
        self._since: dict[tuple[Kind, str], datetime] = {}
        self._leaderless: tuple[datetime, Statement] | None = None
        self._queues_at = float("-inf")

    async def look(self, kernel: KernelApi, detector: Detector, now: datetime) -> None:
        """Decide about all parts, as the kernel that leads."""
        health = kernel.health()
        self._report_leader(detector, now)
        self._decide(detector, "kernel", _kernels(health), now)
        self._decide(detector, "store", _stores(health), now)
        self._decide(detector, "plugin", _plugins(health), now)
        if kernel.clock.monotonic() < self._queues_at or not detector.rules.of_part("queue").enabled:
            return
        try:
            view = await kernel.workers()
        except GnomonError as exc:
            log.warning("the queues could not be looked at", problem=str(exc))
            return
        pause_s = WORKERS_PAUSE_S if view.queues or view.workers else NO_WORKERS_PAUSE_S
        self._queues_at = kernel.clock.monotonic() + pause_s
        troubled = ((f"{one.runner}:{one.name}", one.problem) for one in view.queues)
        queues = {name: state("part", text=problem) for name, problem in troubled if problem is not None}
        self._decide(detector, "queue", queues, now)

    def follow(self, health: Health, now: datetime) -> None:
        """Note whether a kernel leads, as a process that follows."""
        problem = health.problems.get("leader")
        if problem is None:
            self._leaderless = None
        elif self._leaderless is None:
            self._leaderless = now, state("part", text=problem)

    def leaderless(self, rules: Rules, now: datetime) -> Alert | None:
        """Return the alert that no kernel leads, which nobody can record now; None where one does."""
        found = self._leader_finding(rules, now)
        if found is None:
            return None
        setting = rules.of_part("leader")
        return Alert(
            id=found.alert_id(setting.name, "", LEADER),
            rule=setting.name,
            kind="leader",
            severity=setting.severity,
            job_id="",
            subject=LEADER,
            message=found.message,
            said=found.said,
            since=found.since,
            opened_at=now,
            last_at=now,
        )

    def _leader_finding(self, rules: Rules, now: datetime) -> Finding | None:
        setting = rules.of_part("leader")
        if self._leaderless is None or not setting.enabled:
            return None
        since, said = self._leaderless
        if now - since < (setting.limit or Duration()):
            return None
        return Finding(kind="leader", opener=since.isoformat(), since=since, last_at=now, said=said)

    def _report_leader(self, detector: Detector, now: datetime) -> None:
        """Record that no kernel led until this one did: an alert that has ended."""
        found = self._leader_finding(detector.rules, now)
        self._leaderless = None
        if found is not None:
            detector.observe("leader", {LEADER: found}, [LEADER])
        detector.observe("leader", {}, [])

    def _decide(self, detector: Detector, kind: Kind, troubles: Mapping[str, Statement], now: datetime) -> None:
        for key in [one for one in self._since if one[0] == kind and one[1] not in troubles]:
            del self._since[key]
        limit = detector.rules.of_part(kind).limit or Duration()
        found = {}
        for subject, said in troubles.items():
            since = self._since.setdefault((kind, subject), now)
            if now - since >= limit - timedelta(microseconds=1):
                found[subject] = Finding(kind=kind, opener=since.isoformat(), since=since, last_at=now, said=said)
        detector.observe(kind, found, troubles)


def _kernels(health: Health) -> dict[str, Statement]:
    own = {component: text for component, text in health.problems.items() if not component.startswith("plugin ")}
    return {component: state("part", text=text) for component, text in own.items() if component not in OF_OTHERS}


def _stores(health: Health) -> dict[str, Statement]:
    if health.store_state == "healthy":
        return {}
    code = "store" if health.store_problem else "store_quiet"
    return {health.store: state(code, state=health.store_state, text=health.store_problem)}


def _plugins(health: Health) -> dict[str, Statement]:
    return {
        one.name: state("plugin" if one.problem else "plugin_behind", state=one.state, text=one.problem, lag=one.lag)
        for one in health.plugins
        if one.state in NEEDS_ATTENTION
    }
