"""Starts waiting runs when the rate of their group allows it: no event says so, time does."""

from __future__ import annotations

from collections.abc import Callable

from gnomon.engine.admission import Admission
from gnomon.errors import DeposedError
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.tasks import ProtectedTask, TaskSet

log = get_logger("gnomon.engine.rate_timer")


class RateTimer:
    """One timer for all groups, set to the first moment at which a rate lets a run start."""

    def __init__(self, clock: Clock, tasks: TaskSet, admission: Admission, start_waiting: Callable[[], None]) -> None:
        self._clock = clock
        self._tasks = tasks
        self._admission = admission
        self._start_waiting = start_waiting
        self._task: ProtectedTask[None] | None = None
        self._due = 0.0

    def set(self) -> None:
        """Set the timer, where a run waits for a rate."""
        if (wait := self._admission.opens_in()) is None:
            return
        due = self._clock.monotonic() + wait
        if self._task is not None:
            if self._due <= due:
                return  # it will be set again then
            self._task.end()
        self._due = due
        self._task = self._tasks.create_task(self._wait(wait))

    def stop(self) -> None:
        """End the timer."""
        if self._task is not None:
            self._task.end()
            self._task = None

    async def _wait(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._task = None
        try:
            self._start_waiting()
        except DeposedError as exc:
            log.error("waiting runs are no longer started", problem=str(exc))
