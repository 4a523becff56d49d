"""Reports a process that follows to the kernel that leads, and knows from the answers who that is."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from datetime import datetime

from gnomon.domain.kernel_health import Health
from gnomon.domain.kernel_member import REPORT_INTERVAL_S, KernelMember
from gnomon.errors import GnomonError
from gnomon.logs import get_logger
from gnomon.orders.submitting import submit_call
from gnomon.ports import Clock, OrderChannel
from gnomon.stores.schedule_versions import software_versions

log = get_logger("gnomon.following")

ANSWER_LIMIT_S = 3.0
"""Seconds that a report, or a question about the members, waits for a kernel that leads."""
NOBODY_RETRY_S = 1.0
"""Seconds until the next report where nobody leads."""


class MemberReports:
    """The reports of one process that follows. `leader` names the kernel that leads, None where nobody does."""

    def __init__(self, channel: OrderChannel, clock: Clock, node: str, health: Callable[[], Health]) -> None:
        self.leader: str | None = None
        self.problem: str | None = None
        self._channel = channel
        self._clock = clock
        self._node = node
        self._health = health
        self._id = ""
        self._since: datetime = clock.now()
        self._versions: dict[str, str] = {}

    async def run(self) -> None:
        """Report until cancelled: every 15 s, and every second while nobody leads."""
        self._id, self._since, self._versions = secrets.token_hex(12), self._clock.now(), software_versions()
        while True:
            # In real time: the other process has another clock, where a test moves this one.
            pause_s = REPORT_INTERVAL_S if await self._report() else NOBODY_RETRY_S
            await asyncio.sleep(pause_s)

    async def members(self) -> list[KernelMember]:
        """Return the processes on the log, as the kernel that leads knows them; this one alone where nobody leads."""
        try:
            found: list[KernelMember] = await submit_call(self._channel, "kernels", limit_s=ANSWER_LIMIT_S)
        except GnomonError:
            return [self._own()]
        return found if any(member.id == self._id for member in found) else [*found, self._own()]

    async def _report(self) -> bool:
        try:
            await submit_call(self._channel, "report_member", self._own(), limit_s=ANSWER_LIMIT_S)
            first, *_ = await submit_call(self._channel, "kernels", limit_s=ANSWER_LIMIT_S)
        except GnomonError as exc:
            if self.problem is None:
                log.warning("no kernel leads the log", problem=str(exc))
            self.leader, self.problem = None, f"no kernel leads the log, so nothing fires and orders wait: {exc}"
            return False
        self.leader, self.problem = f"process {first.pid} on {first.node}", None
        return True

    def _own(self) -> KernelMember:
        health = self._health()
        return KernelMember(
            id=self._id,
            node=self._node,
            pid=os.getpid(),
            role="follower",
            since=self._since,
            seen=self._clock.now(),
            position=health.position,
            state=health.state,
            problem=health.problem,
            versions=self._versions,
        )
