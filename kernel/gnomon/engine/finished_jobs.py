"""Removes jobs that were added at run time once their schedule has ended and each of their fires has an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gnomon.domain.events import Cancelled, Event, Failed, Missed, Succeeded
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.added_jobs import AddedJobs
from gnomon.engine.job_recorder import Act
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.timetable import Timetable
from gnomon.errors import DeposedError
from gnomon.logs import get_logger

log = get_logger("gnomon.engine.finished_jobs")

OUTCOMES = frozenset({Succeeded, Failed, Missed, Cancelled})
REST_S = 0.02
"""Time between two rounds. Each looks at all live runs, so 20,000 jobs that end together must not cause as many."""


class FinishedJobs:
    """Notes jobs that may have finished, and removes in rounds those that have."""

    def __init__(self, journal: Journal, jobs: JobTable, timetable: Timetable) -> None:
        self._journal = journal
        self._jobs = jobs
        self._timetable = timetable
        self._noted: set[str] = set()
        self._wake = asyncio.Event()

    def note(self, job_id: str) -> None:
        """Check a job in the next round, if no fire of it will come."""
        if self._timetable.is_over(job_id) and self._removes_itself(job_id):
            self._noted.add(job_id)
            self._wake.set()

    def note_outcomes(self, events: Sequence[Event]) -> None:
        """Check the jobs whose runs have ended, when that is durable."""
        for event in events:
            if type(event) in OUTCOMES:
                self.note(event.job_id)

    @property
    def is_idle(self) -> bool:
        """Whether no job is to be looked at."""
        return not self._noted

    async def run(self, added_jobs: AddedJobs) -> None:
        """Remove finished jobs until cancelled: a component of the kernel."""
        act = Act(KERNEL, "its schedule has ended, and each of its fires has an outcome")
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._timetable.idle()  # what is due is recorded
            busy = {run.job_id for run in self._journal.live.values() if not run.is_over}
            try:
                for job_id in self._noted - busy:
                    if self._timetable.is_over(job_id) and self._removes_itself(job_id):
                        added_jobs.remove(job_id, act)
            except DeposedError as exc:
                log.error("finished jobs are no longer removed", problem=str(exc))
            self._noted.clear()  # the next outcome of a job that is busy notes it again
            await asyncio.sleep(REST_S)

    def _removes_itself(self, job_id: str) -> bool:
        registered = self._jobs.get(job_id)
        is_waited_for = job_id in self._jobs.downstream
        return registered is not None and registered.removes_itself and not is_waited_for
