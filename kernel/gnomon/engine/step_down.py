"""The end of a term that nobody has died for: a kernel that leads hands the log over, or finds that it was deposed.

    leading ──► step_down ──► starts nothing more, bodies end as at a clean stop ──► follows
                                                                                       │ another kernel leads
                                                                                       ▼
                                                                       may lead again, when that one is gone

It is refused where no other kernel could lead: nothing would fire until an operator started one. A kernel that has
stepped down campaigns again when another one has led, or none has done so for HAND_OVER_LIMIT_S.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from datetime import timedelta

from gnomon.domain.hand_over import HandOver
from gnomon.domain.kernel_health import Role
from gnomon.domain.kernel_member import is_silent
from gnomon.engine.components import KernelComponents
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.refused_acts import refusable
from gnomon.errors import StepDownError
from gnomon.logs import get_logger
from gnomon.ticks import seconds_to_tick

log = get_logger("gnomon.kernel")

DEPOSED_CHECK_S = 0.25
"""Seconds between two looks whether the kernel was deposed, which may be noticed anywhere."""


class StepDown(KernelComponents):
    """The part of a kernel that leads which ends its term."""

    drain: timedelta
    stop_reason: str
    _role: Role
    _steps_down: asyncio.Event

    @property
    @abstractmethod
    def is_deposed(self) -> bool:
        """Whether another kernel has the log."""

    @abstractmethod
    def _start_nothing_more(self) -> None: ...

    @on_kernel_loop
    @refusable("step_down")
    async def step_down(self, *, actor: str | None = None, reason: str | None = None) -> HandOver:
        able = [one for one in self._members.followers() if one.may_lead and not is_silent(one, self.clock.now())]
        self._expect_successor(len(able))
        running = [active.execution.id for active in self._supervisor.bodies if not active.is_over]
        if not self._steps_down.is_set():
            self.stop_reason = f"it stepped down: {reason}" if reason else "it stepped down"
            self._facts.stopped_by = actor
            self._is_stopping = True
            self._start_nothing_more()
            self._steps_down.set()
            within_s = self.drain.total_seconds()
            log.info("stepping down", actor=actor, reason=reason, waiting_for=len(running), within_s=within_s)
        return HandOver(
            leader=self._facts.leader_name,
            running=running,
            within_s=self.drain.total_seconds(),
            successors=[member.name for member in able],
        )

    async def term_ends(self) -> None:
        """Return when the kernel was deposed, or has stepped down and its bodies have ended, or `drain` is over."""
        while not self.is_deposed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_to_tick(DEPOSED_CHECK_S)):
                    await self._steps_down.wait()
                await self._supervisor.drain(self.drain.total_seconds())
                return

    def _expect_successor(self, able: int) -> None:
        """Raise StepDownError where no other kernel could lead, or this one would not follow."""
        problem = advice = None
        if self._store.orders() is None:
            problem, advice = f"no other process can open the log ({self._store.name})", "stop it instead"
        elif self._role == "leader":
            problem, advice = 'it has the role "leader", so it would not follow', "stop it instead, or start it with "
            advice += '--standby or role = "auto"'
        elif not able:
            problem = 'no kernel with the role "auto" follows it, so nothing would fire'
            advice = "start one with `gnomon run --standby` first"
        if problem is not None:
            raise StepDownError(f"{self._facts.leader_name} does not step down: {problem}; {advice}")
