"""Finds the run that blocks the event loop of the kernel, and records a warning about it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from gnomon.domain.events import BLOCKED_LOOP
from gnomon.engine.active_run import ActiveRun
from gnomon.engine.loop_watchdog import Stall
from gnomon.engine.run_recorder import RunRecorder
from gnomon.errors import DeposedError
from gnomon.runners.context import context_of_task


class StalledRuns:
    """The live runs, by their ids, as the watchdog of the loop sees them."""

    def __init__(self, active: Mapping[str, ActiveRun], recorder: RunRecorder) -> None:
        self._active = active
        self._recorder = recorder

    def note_stall(self, task: asyncio.Task[Any] | None, stall: Stall) -> None:
        """Find the run whose task holds the loop, and write it into the stall. In the watchdog's thread."""
        if task is None:
            return
        active = next((active for active in tuple(self._active.values()) if active.task is task), None)
        if active is None and (context := context_of_task(task)) is not None:  # a task that a body has started
            active = self._active.get(context.execution_id)
        if active is not None:
            stall.execution_id, stall.job_id = active.execution.id, active.job.id
            active.stall = active.stall or stall

    def record_stall(self, stall: Stall) -> None:
        """Record a warning about the run that blocked the loop: one for each run, however often it does it."""
        active = self._active.get(stall.execution_id or "")
        if active is None or active.is_over or active.stall is not stall or stall.is_recorded:
            return
        stall.is_recorded = True
        message = (
            f"the run blocked the event loop of the kernel for {stall.seconds:.1f} s, at {stall.place}: no other run "
            'could start or continue; move blocking code to a plain `def` with runner = "thread"'
        )
        with contextlib.suppress(DeposedError):  # the journal has logged it
            self._recorder.warned(active, BLOCKED_LOOP, message, seconds=round(stall.seconds, 3))
