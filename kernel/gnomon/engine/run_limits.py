"""Enforces the timeout and the silence of runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from gnomon.engine.active_run import ActiveRun, Ending
from gnomon.engine.runner_calls import withdraw
from gnomon.ports import Clock
from gnomon.runners.base import Outcome
from gnomon.stalls import is_stall, longest_pause
from gnomon.tasks import TaskSet

ADOPTION_S = 10.0
"""How long a run that began under an earlier kernel may still report that it has ended within its timeout."""


class RunLimits:
    """Watches runs and ends those that exceed a limit, with `end_by_force`."""

    def __init__(
        self, clock: Clock, tasks: TaskSet, end_by_force: Callable[[ActiveRun, Ending], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._end_by_force = end_by_force

    def watch(self, active: ActiveRun) -> None:
        """Enforce the limits of a run: its grace until its body begins elsewhere, then those of its body."""
        for watcher in active.watchers:
            watcher.end()
        active.watchers = tuple(self._tasks.create_task(limit) for limit in self._limits_of(active))

    def _limits_of(self, active: ActiveRun) -> Iterator[Coroutine[Any, Any, None]]:
        if not active.has_begun:
            if active.begins_before is not None:
                left = (active.begins_before - self._clock.now()).total_seconds()
                yield self._withdraw_after(active, max(left, 0.0))
            return
        if active.job.timeout:
            yield self._watch_timeout(active)
        if active.job.silence:
            yield self._watch_silence(active, active.context.last_sign_of_life)

    async def _withdraw_after(self, active: ActiveRun, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if not (active.has_begun or active.is_over or active.body_has_ended):
            active.is_expired = True
            withdraw(active.runner, active.execution.id)

    async def _watch_timeout(self, active: ActiveRun) -> None:
        assert active.job.timeout is not None  # noqa: S101 - watched only where there is one
        passed = self._clock.monotonic() - active.started_at
        left = active.job.timeout.total_seconds() - passed
        await self._clock.sleep(max(left, ADOPTION_S if active.has_begun_before else 0.0))
        await self._end_by_force(
            active, Ending("timeout", f"the run took longer than its timeout of {active.job.timeout}")
        )

    async def _watch_silence(self, active: ActiveRun, due: float) -> None:
        """Watch from `due` on: the process may be stopped before this task begins."""
        assert active.job.silence is not None  # noqa: S101 - watched only where there is one
        limit = active.job.silence.total_seconds()
        while True:
            # One reading decides both: a pause between two readings would count as silence of the run.
            now = self._clock.monotonic()
            if is_stall(now - due, limit):
                active.context.last_sign_of_life = now
            if (quiet := now - active.context.last_sign_of_life) >= limit:
                break
            pause = min(limit - quiet, longest_pause(limit))
            due = now + pause
            await self._clock.sleep(pause)
        message = f"the run gave no sign of life for {active.job.silence}"
        await self._end_by_force(active, Ending("silence", message))


def overrule_by_timeout(active: ActiveRun, outcome: Outcome) -> None:
    """End a run as failed(timeout) that ended by itself after its timeout, on a loop that was blocked till then."""
    limit = active.job.timeout
    if limit is None or active.ending is not None or (outcome.cancelled and outcome.snooze is None):
        return
    if outcome.execution_time > limit.total_seconds():
        took = f"it ended after {outcome.execution_time:.1f} s"
        active.ending = Ending("timeout", f"the run took longer than its timeout of {limit}: {took}")
