"""Plain functions, each in its own thread."""

from __future__ import annotations

import os

from gnomon.domain.body_sample import BodySample
from gnomon.ports import Clock
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.body_place import BodyPlace
from gnomon.runners.calls import complete, exit_if_forked
from gnomon.runners.context import entered
from gnomon.runners.outcome import failure_outcome, success_outcome
from gnomon.threads import in_thread


class ThreadRunner(Runner):
    """Runs a function in a daemon thread.

    A thread cannot be stopped from outside: a cancelled body stops at its next context call or not at all, and is shown
    as running until then. Use the process runner for bodies that must be stoppable.
    """

    name = "thread"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places: dict[str, BodyPlace] = {}

    async def run(self, run: Run) -> Outcome:
        try:
            return await in_thread(lambda: self._call(run), name=f"gnomon {run.execution.job_id} {run.execution.id}")
        except RuntimeError as exc:  # the machine has no thread left
            return failure_outcome(exc, 0.0)

    def cancel(self, execution_id: str) -> None:
        """Return at once: the run's context makes the next context call raise RunCancelled."""

    async def sample(self, execution_id: str) -> BodySample | None:
        place = self._places.get(execution_id)
        return None if place is None else await in_thread(place.sample, "gnomon sample")

    def _call(self, run: Run) -> Outcome:
        process_id, started = os.getpid(), self._clock.monotonic()
        place = self._places[run.execution.id] = BodyPlace()
        try:
            with entered(run.context):
                args, kwargs = run.arguments()
                value = complete(run.body.func(*args, **kwargs), place.run)
        except BaseException as exc:  # noqa: BLE001 - a body may raise anything, SystemExit too: only its run ends
            exit_if_forked(process_id, exc)
            return failure_outcome(exc, self._clock.monotonic() - started, run.context.mask)
        finally:
            del self._places[run.execution.id]
        exit_if_forked(process_id)
        return success_outcome(value, self._clock.monotonic() - started, run.context.mask)
