"""What the log says, as far as alerts need it: the facts of every job, and of the term of the kernel. A pure fold."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from gnomon.domain.events import (
    Event,
    KernelEvent,
    KernelHeld,
    KernelLed,
    KernelReleased,
    KernelStarted,
    KernelStopped,
    Missed,
)
from gnomon_alerts.job_facts import STEPS, JobFacts

SHORT_STOP: Final = timedelta(minutes=15)
"""A kernel that was stopped in order and is back within this time was deployed: what it missed opens nothing."""


class Watch(msgspec.Struct):
    """The facts up to `position`; `now` is the time of the newest event or look.

    `term_since` is when the kernel that leads began to. While `held_since` is set, an operator holds all fires;
    `released` is when that ended last. With `is_deploy` the latest downtime was a short stop in order.
    """

    position: int = 0
    now: datetime | None = None
    jobs: dict[str, JobFacts] = {}
    term_since: datetime | None = None
    held_since: datetime | None = None
    released: datetime | None = None
    stopped: datetime | None = None
    is_deploy: bool = False

    def apply(self, event: Event) -> JobFacts | None:
        """Fold an event; return the facts of the job that it changes."""
        self.position = event.position
        if isinstance(event, KernelEvent):
            self._apply_term(event)
            return None
        step = STEPS.get(type(event))
        if step is None or not event.job_id:
            return None
        job = self.jobs.get(event.job_id)
        if job is None:
            job = self.jobs[event.job_id] = JobFacts()
        if isinstance(event, Missed) and event.reason == "downtime" and self.is_deploy:
            job.runs.pop(event.stream, None)
            return job
        step(job, event)
        return job

    def _apply_term(self, event: KernelEvent) -> None:
        match event:
            case KernelStopped():
                self.stopped = event.at
            case KernelStarted():
                self.is_deploy = self.stopped is not None and event.at - self.stopped <= SHORT_STOP
                self.stopped, self.term_since = None, event.at
                self.held_since = event.hold.since if event.hold is not None else None
            case KernelLed():
                self.term_since = event.at
            case KernelHeld():
                self.held_since = event.at
            case KernelReleased():
                self.held_since, self.released = None, event.at

    def forget_removed(self) -> None:
        """Forget jobs that were removed and have no run any more."""
        gone = [job_id for job_id, job in self.jobs.items() if not job.exists and not job.runs]
        for job_id in gone:
            del self.jobs[job_id]
