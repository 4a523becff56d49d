"""Past runs of jobs, from which the remaining time of running ones is estimated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

import msgspec

from gnomon import Execution
from gnomon.domain.estimates import TYPICAL_RUNS, Timing, timing


class PastDurations:
    """The newest successful runs of each job that has been looked up."""

    def __init__(self) -> None:
        self._runs: dict[str, deque[Execution]] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._runs

    def load(self, job_id: str, newest_first: Iterable[Execution]) -> None:
        """Add a job with the runs that the log has of it."""
        runs = self._runs.setdefault(job_id, deque(maxlen=TYPICAL_RUNS))
        known = {run.id for run in runs}
        for run in newest_first:
            if run.id not in known and len(runs) < TYPICAL_RUNS:
                runs.appendleft(_lean(run))

    def add(self, run: Execution) -> None:
        """Add a run that has just ended."""
        if run.status == "success" and run.job_id in self._runs:
            self._runs[run.job_id].append(_lean(run))

    def timing(self, state: Execution, now: datetime) -> Timing:
        """Return how long a run has been running, and how long it is expected to take."""
        return timing(state, self._runs.get(state.job_id, ()), now)


def _lean(run: Execution) -> Execution:
    """Keep only what a median needs."""
    return msgspec.structs.replace(run, args=[], kwargs={}, return_value=None, error_message=None, traceback=None)
