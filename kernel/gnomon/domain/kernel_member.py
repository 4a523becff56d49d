"""A process with a kernel on the log, as the kernel that leads knows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gnomon.domain.kernel_health import KernelRole
from gnomon.domain.records import JournalState
from gnomon.text import length

REPORT_INTERVAL_S = 15.0
"""Time between two reports of a process that follows."""
SILENT_AFTER_S = 20.0
"""Time without a report after which a process that follows counts as silent."""
LATE_AFTER_S = 5.0
"""Age of an event that a process that follows should have read; it looks for new ones ten times a second."""


class KernelMember(msgspec.Struct, frozen=True, kw_only=True):
    """A process with a kernel on the log. The kernel that leads has itself first, then those that follow.

    `since` is the start of its present role, `position` the last event that it has, `lag` the number of events behind
    the leader, and `lag_s` the age of the first of them. `seen` is the time of its last report: a follower reports
    every 15 s, and is left out after 45 s without one. `state` and `problem` are those of its health. `may_lead`: it
    has the role "auto" or "leader", so it leads where no other kernel does. `id` is drawn by each kernel at its start.
    `revision` is that of its program, None where it has none.
    """

    id: str
    node: str
    pid: int
    role: KernelRole
    since: datetime
    seen: datetime
    position: int
    lag: int = 0
    lag_s: float = 0.0
    state: JournalState = "healthy"
    problem: str | None = None
    may_lead: bool = False
    revision: str | None = None
    versions: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The process, for people."""
        return f"process {self.pid} on {self.node}"


def leader_of(members: Sequence[KernelMember]) -> KernelMember | None:
    """Return the kernel that leads, None where nobody does."""
    return next((member for member in members if member.role == "leader"), None)


def is_silent(member: KernelMember, now: datetime) -> bool:
    """Return whether a process has missed a report; `now` is the time of the clock that has noted the last one."""
    return (now - member.seen).total_seconds() > SILENT_AFTER_S


def member_problems(members: Sequence[KernelMember]) -> list[str]:
    """Return a sentence for each process that follows and needs attention: it is silent, lags, or reports a problem."""
    if (leader := leader_of(members)) is None:
        return []
    found = []
    for member in members:
        if member is leader:
            continue
        if is_silent(member, leader.seen):
            silence = length((leader.seen - member.seen).total_seconds())
            found.append(f"{member.name} follows, and has not reported for {silence}")
        elif member.lag_s > LATE_AFTER_S:
            behind = f"{member.lag:,} events behind, the first of them {length(member.lag_s)} old"
            found.append(f"{member.name} follows, and is {behind}")
        elif member.problem is not None:
            found.append(f"{member.name} follows, and is {member.state}: {member.problem}")
    return found
