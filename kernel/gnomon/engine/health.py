"""The problems of the kernel itself, apart from those of its store and its plugins: a sentence for each component."""

from __future__ import annotations

from datetime import timedelta

from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.loop_watchdog import LoopWatchdog
from gnomon.engine.timetable import Timetable
from gnomon.engine.worker_views import WorkerWatch
from gnomon.logs import get_logger
from gnomon.text import length

log = get_logger("gnomon.engine.health")

LATE_S = 2.0
"""Starts that are later than this are a problem. A burst of 10,000 starts within 1 to 2 s."""
SLOW_APPEND_S = 1.0
"""Appends that take longer than this on average are a problem, also where nothing is late yet."""
BEHIND_S = 5.0
"""A clock that is further behind the log is a problem; clocks of two machines differ by less."""
SHOWN_JOBS = 3
"""Jobs that cannot run, which health names."""


class KernelCondition:
    """Finds the problems of a kernel, in any thread, and logs those that come and go."""

    def __init__(
        self,
        journal: Journal,
        timetable: Timetable,
        watchdog: LoopWatchdog | None,
        jobs: JobTable | None = None,
        workers: WorkerWatch | None = None,
    ) -> None:
        self._journal = journal
        self._broken = jobs.broken if jobs is not None else {}
        self._timetable = timetable
        self._watchdog = watchdog
        self._workers = workers
        self._logged: set[str] = set()

    @property
    def stalled(self) -> list[str]:
        """The components that make no progress: the process should be restarted."""
        return list(self._standstills())

    @property
    def blocked_by(self) -> str | None:
        """The execution that blocks the event loop, or has just done so."""
        return self._watchdog.blocked_by if self._watchdog is not None else None

    def _standstills(self) -> dict[str, str]:
        problems = {beat.component: beat.problem for beat in (self._timetable.heartbeat, self._journal.heartbeat)}
        return {component: problem for component, problem in problems.items() if problem is not None}

    @property
    def lateness_s(self) -> float:
        """How late bodies have begun lately: fires come late, and their starts wait until they are durable."""
        return self._timetable.lateness_s + self._journal.commit_s

    def problems(self) -> dict[str, str]:
        """Return a sentence for each component that has a problem."""
        found = self._standstills()
        late, append = self.lateness_s, self._journal.append_s
        if late >= LATE_S:
            found["starts"] = f"starts are {late:.1f} s late{self._blame(append)}"
        elif append >= SLOW_APPEND_S:
            found["store"] = f"the store takes {append:.1f} s for an append"
        if (behind := self._journal.behind_s) >= BEHIND_S:
            found["clock"] = (
                f"the clock of this machine is {length(timedelta(seconds=round(behind)))} behind the newest event of "
                "the log: cron jobs do not fire again for times in the log; set the clock, or wait"
            )
        elif (problem := self._timetable.clock_problem) is not None:
            found["clock"] = problem
        workers = self._workers.problem if self._workers is not None else None
        others = {"triggers": self._timetable.trigger_problem, "workers": workers}
        found |= {name: problem for name, problem in others.items() if problem is not None}
        if self._broken:
            found["jobs"] = _broken_jobs(self._broken.copy())
        if self._watchdog is not None:
            if (problem := self._watchdog.problem) is not None:
                found["loop"] = problem
            if (problem := self._watchdog.pauses.problem) is not None:
                found["pause"] = problem
        return found

    def _blame(self, append: float) -> str:
        """Return what the store has to do with late starts, as far as it was measured lately."""
        if self._journal.state != "healthy":
            return f": the store appends nothing ({self._journal.problem})"
        if append == 0.0:
            return ""
        words = (
            f"{append:.1f} s" if append >= 1.0 else f"{1000 * append:.0f} ms" if append >= 0.001 else "less than 1 ms"
        )
        return f", and the store takes {words} for an append"

    def log_changes(self) -> None:
        """Log each problem when it appears, and when it has gone."""
        problems = self.problems()
        for kind in problems.keys() - self._logged:
            log.warning("kernel degraded", component=kind, problem=problems[kind])
        for kind in self._logged - problems.keys():
            log.info("kernel recovered", component=kind)
        self._logged = set(problems)


def _broken_jobs(broken: dict[str, str]) -> str:
    shown = "; ".join(f"{job_id!r} ({problem})" for job_id, problem in list(broken.items())[:SHOWN_JOBS])
    more = f"; and {len(broken) - SHOWN_JOBS} more" if len(broken) > SHOWN_JOBS else ""
    return f"jobs cannot run, and their fires are held: {shown}{more}; mend them, then restart, or change the jobs"
