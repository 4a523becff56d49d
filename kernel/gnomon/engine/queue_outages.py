"""Records that the runs in a queue elsewhere do not begin, once for all of them, and when they do again."""

from __future__ import annotations

from datetime import datetime

from gnomon.domain.events import QueueResumed, QueueStalled
from gnomon.engine.active_run import ActiveRun
from gnomon.engine.kernel_facts import KernelFacts
from gnomon.ports import Clock


class QueueOutages:
    """The queues in which runs wait for a reason, each with these runs."""

    def __init__(self, facts: KernelFacts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock
        self._open: dict[tuple[str, str, str], tuple[datetime, dict[str, ActiveRun]]] = {}

    def note(self, active: ActiveRun, reason: str) -> None:
        """Note that a run waits in its queue for this reason, and record the first one."""
        runner, queue = active.runner.name, active.execution.queue or ""
        if (found := self._open.get((runner, queue, reason))) is None:
            found = self._open[runner, queue, reason] = (self._clock.now(), {})
            self._facts.record(QueueStalled, runner=runner, queue=queue, reason=reason)
        found[1][active.execution.id] = active

    def settle(self) -> None:
        """Record which queues have resumed: no run waits in them any more for their reason."""
        for key, (since, runs) in list(self._open.items()):
            runner, queue, reason = key
            for gone in [one for one, active in runs.items() if not _waits(active, reason)]:
                del runs[gone]
            if not runs:
                del self._open[key]
                seconds = round((self._clock.now() - since).total_seconds(), 3)
                self._facts.record(QueueResumed, runner=runner, queue=queue, reason=reason, seconds=seconds)


def _waits(active: ActiveRun, reason: str) -> bool:
    return active.waits_because == reason and not (active.has_begun or active.is_over)
