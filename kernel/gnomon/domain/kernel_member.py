"""A process with a kernel on the log, as the kernel that leads knows it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon.domain.kernel_health import KernelRole
from gnomon.domain.records import JournalState

REPORT_INTERVAL_S = 15.0
"""Time between two reports of a process that follows."""


class KernelMember(msgspec.Struct, frozen=True, kw_only=True):
    """A process with a kernel on the log. The kernel that leads has itself first, then those that follow.

    `since` is the start of its present role, `position` the last event that it has, and `lag` the number of events
    behind the leader. `seen` is the time of its last report: a follower reports every 15 s, and is left out after 45 s
    without one. `state` and `problem` are those of its health. `id` is drawn by each kernel at its start.
    """

    id: str
    node: str
    pid: int
    role: KernelRole
    since: datetime
    seen: datetime
    position: int
    lag: int = 0
    state: JournalState = "healthy"
    problem: str | None = None
    versions: dict[str, str] = {}
