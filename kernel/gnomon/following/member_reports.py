"""Reports a process that follows to the kernel that leads, and knows from the answers who that is.

While nobody answers, the process announces itself beside the log: `gnomon status` names it from there.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from gnomon.domain.kernel_health import Health
from gnomon.domain.kernel_member import REPORT_INTERVAL_S, KernelMember, leader_of
from gnomon.engine.kernel_settings import KernelSettings
from gnomon.errors import GnomonError, NoLeaderError
from gnomon.logs import get_logger
from gnomon.orders.submitting import submit_call
from gnomon.ports import OrderChannel
from gnomon.stores.schedule_versions import software_versions

log = get_logger("gnomon.following")

ANSWER_LIMIT_S = 3.0
"""Seconds that a report, or a question about the members, waits for a kernel that leads."""
KNOWN_LIMIT_S = 0.3
"""Seconds that a question about the members waits where it is known that no kernel leads."""
SILENCE_LIMIT_S = 5.0
"""Seconds after which a kernel that has received a report and does not answer counts as silent."""
NOBODY_RETRY_S = 1.0
"""Seconds until the next report where nobody leads, and the wait of a report after the log was found free."""
LEAVE_LIMIT_S = 1.0
"""Seconds in which a process that ends reports that."""


class MemberReports:
    """The reports of one process that follows. `leader` names the kernel that leads, None where nobody does."""

    def __init__(self, channel: OrderChannel, settings: KernelSettings, health: Callable[[], Health]) -> None:
        self.leader: str | None = None
        self.problem: str | None = None
        self._channel = channel
        self._clock = settings.clock
        self._node = settings.node
        self._may_lead = settings.role == "auto"
        self._revision = str(settings.revision) if settings.revision is not None else None
        self._health = health
        self._id = ""
        self._since: datetime = self._clock.now()
        self._versions: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._limit_s = ANSWER_LIMIT_S
        self._is_announced = False

    async def run(self) -> None:
        """Report until cancelled: every 15 s, when `wake` is called, and every second while nobody leads."""
        self._id, self._since, self._versions = secrets.token_hex(12), self._clock.now(), software_versions()
        try:
            while True:
                # In real time: the other process has another clock, where a test moves this one.
                pause_s = REPORT_INTERVAL_S if await self._report() else NOBODY_RETRY_S
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
        finally:
            if self._is_announced:
                with suppress(GnomonError, OSError):
                    await self._channel.retract(self._id)

    def wake(self, limit_s: float = ANSWER_LIMIT_S) -> None:
        """Report now: another kernel leads, or the log is free. Nobody leads where none answers within `limit_s`."""
        self._limit_s = limit_s
        self._wake.set()

    async def leave(self) -> None:
        """Report that this process ends."""
        if self.leader is None:
            return
        with suppress(GnomonError, TimeoutError):
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await submit_call(self._channel, "remove_member", self._id, limit_s=LEAVE_LIMIT_S)

    async def members(self) -> list[KernelMember]:
        """Return the processes on the log, as the kernel that leads knows them.

        Where nobody leads, return those that have announced that they follow, and this one.
        """
        found: list[KernelMember] = []
        limit_s = ANSWER_LIMIT_S if self.problem is None else KNOWN_LIMIT_S
        try:
            async with asyncio.timeout(SILENCE_LIMIT_S):
                found = await submit_call(self._channel, "kernels", limit_s=limit_s)
        except (GnomonError, TimeoutError):
            with suppress(GnomonError):
                found = await self._channel.announced()
        others = [member for member in found if member.id != self._id]
        return found if len(others) < len(found) else [*found, self._own()]

    async def _report(self) -> bool:
        limit_s, self._limit_s = self._limit_s, ANSWER_LIMIT_S
        self._wake.clear()
        try:
            async with asyncio.timeout(max(limit_s, SILENCE_LIMIT_S)):
                await submit_call(self._channel, "report_member", self._own(), limit_s=limit_s)
                members: list[KernelMember] = await submit_call(self._channel, "kernels", limit_s=limit_s)
        except TimeoutError:
            silent = self.leader or "the kernel that leads"
            await self._note_problem(f"{silent} has not answered for {SILENCE_LIMIT_S:g} s, so orders wait")
            return False
        except GnomonError as exc:
            self.leader = None
            is_led = isinstance(exc, NoLeaderError) and exc.leader is not None
            waiting = "orders wait" if is_led else "no kernel leads the log, so nothing fires and orders wait"
            await self._note_problem(f"{waiting}: {exc}")
            return False
        leader = leader_of(members)
        name = leader.name if leader is not None else None
        if name != self.leader or self.problem is not None:
            log.info("following the kernel that leads", leader=name)
        self.leader, self.problem = name, None
        if self._is_announced:
            self._is_announced = False
            with suppress(GnomonError):  # it is too old to be shown soon
                await self._channel.retract(self._id)
        return True

    async def _note_problem(self, problem: str) -> None:
        if self.problem is None:
            log.warning("this kernel follows, and reaches none that leads", problem=problem)
        self.problem = problem
        self._is_announced = True
        with suppress(GnomonError):
            await self._channel.announce(self._own())

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
            may_lead=self._may_lead,
            revision=self._revision,
            versions=self._versions,
        )
