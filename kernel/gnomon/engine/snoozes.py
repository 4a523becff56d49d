"""The end of a run whose body snoozed: one event, with the time and the id of the run that takes its place."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gnomon.domain.execution import Execution, later_execution_id
from gnomon.durations import Duration
from gnomon.logs import get_logger
from gnomon.runners.base import Snooze

log = get_logger("gnomon.engine.snoozes")

CONSPICUOUS = frozenset({100, 1_000, 10_000, 100_000, 1_000_000})
"""Numbers of snoozes of one fire or request that are logged: nothing else ends a run that snoozes for ever."""


def snooze_facts(execution: Execution, snooze: Snooze, now: datetime) -> dict[str, Any]:
    """Return what the `cancelled` event of a snoozed run says about the snooze."""
    count = execution.snoozes + 1
    if count in CONSPICUOUS:
        log.warning("a run snoozes again and again", job=execution.job_id, run=execution.id, snoozes=count)
    delay = Duration(seconds=snooze.seconds)
    return {
        "reason": f"snoozed for {delay}" + (f": {snooze.reason}" if snooze.reason else ""),
        "snoozed_until": now + delay,
        "snoozed_to": later_execution_id(execution),
    }
