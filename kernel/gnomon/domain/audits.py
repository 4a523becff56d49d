"""What an audit of the log found: whether every fire has exactly one outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.rollback import Rollback

Problem = Literal["no_outcome", "two_outcomes", "not_named", "wrong_count"]
Openness = Literal["paused", "held", "undecided", "forgotten"]


class Finding(msgspec.Struct, frozen=True):
    """A contradiction to the promise: `count` fires from `first` to `last`, and the executions concerned."""

    problem: Problem
    first: datetime
    last: datetime
    count: int
    detail: str
    executions: list[str] = []


class OpenFires(msgspec.Struct, frozen=True):
    """Fires without an outcome that do not contradict the promise, for the reason in `detail`.

    paused: held back until the job is resumed. held: held back until the whole kernel is released. undecided: nothing
    proves that a kernel has decided later fires. forgotten: from a period of which the log was pruned.
    """

    reason: Openness
    first: datetime
    last: datetime
    count: int
    detail: str


class Unproved(msgspec.Struct, frozen=True):
    """A period whose fires cannot be computed; its `entries`, the outcomes in the log, were not compared."""

    since: datetime
    until: datetime | None
    entries: int
    reason: str

    def covers(self, moment: datetime) -> bool:
        """Return whether a moment lies in the period."""
        return self.since <= moment and (self.until is None or moment < self.until)


class JobAudit(msgspec.Struct, kw_only=True):
    """The result for one job: `fires` have exactly one outcome each, `missed` of them did not run."""

    job_id: str
    fires: int = 0
    missed: int = 0
    findings: list[Finding] = []
    more_findings: int = 0
    open: list[OpenFires] = []
    unproved: list[Unproved] = []


class AuditReport(msgspec.Struct, frozen=True):
    """The audit of the fires in since <= fire <= until, against the log up to `position`."""

    since: datetime
    until: datetime
    position: int
    jobs: list[JobAudit]
    lost: Rollback | None = None
    """What the log has lost, if a kernel would refuse it for that."""

    @property
    def is_proved(self) -> bool:
        """Whether nothing in the log contradicts the promise, and the log is whole."""
        return self.lost is None and not any(job.findings for job in self.jobs)
