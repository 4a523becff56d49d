"""The processes that follow the kernel: they report themselves, and are kept in memory."""

from __future__ import annotations

import threading

import msgspec

from gnomon.domain.kernel_member import REPORT_INTERVAL_S, KernelMember
from gnomon.ports import Clock

EXPIRY_S = 3 * REPORT_INTERVAL_S
"""Time after which a follower that does not report is left out."""
MOST_MEMBERS = 1_000
"""Followers that are kept; a further one replaces the one that has been silent for longest."""


class MemberTable:
    """The followers of one term. A new leader starts with none: they report within `REPORT_INTERVAL_S`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reports: dict[str, tuple[float, KernelMember]] = {}

    def report(self, member: KernelMember, head: int, lag_s: float = 0.0) -> None:
        """Note what a follower reports about itself; `seen` is the time of this clock, its lag that behind `head`."""
        now = self._clock.monotonic()
        noted = msgspec.structs.replace(
            member, role="follower", seen=self._clock.now(), lag=max(head - member.position, 0), lag_s=lag_s
        )
        with self._lock:
            self._reports.pop(member.id, None)
            self._reports[member.id] = (now, noted)  # the newest report is the last entry
            while len(self._reports) > MOST_MEMBERS or self._is_expired(next(iter(self._reports)), now):
                del self._reports[next(iter(self._reports))]

    def remove(self, member_id: str) -> None:
        """Remove a follower, which has ended in order."""
        with self._lock:
            self._reports.pop(member_id, None)

    def followers(self) -> list[KernelMember]:
        """Return the followers that have reported lately, by node and process."""
        now = self._clock.monotonic()
        with self._lock:
            found = [member for key, (_, member) in self._reports.items() if not self._is_expired(key, now)]
        return sorted(found, key=lambda member: (member.node, member.pid, member.id))

    def _is_expired(self, key: str, now: float) -> bool:
        return now - self._reports[key][0] > EXPIRY_S
