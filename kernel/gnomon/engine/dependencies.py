"""Runs that wait for the runs of other jobs of the same nominal time: the key `after`.

    fire of a job with `after` ──► scheduled, waits here ──► all upstream runs succeeded ──► admission
                                          │
                                          └──► one failed, was missed or cancelled for good ──► missed(dependency)

A job with `after` and no schedule has the nominal times that all its upstream jobs share: its run is recorded when the
last of them has decided about its own. Everything is derived from durable events, and what waits is in the log as
`scheduled`, so a kernel that dies at any moment leaves nothing that the next one cannot continue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from gnomon.analysis.fire_outcomes import find_outcome
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, execution_id
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.timetable import Timetable
from gnomon.engine.upstream_times import Nominal, UpstreamTimes
from gnomon.errors import DeposedError, StoreError
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.ports import Clock, Store

log = get_logger("gnomon.engine.dependencies")

RETRY_S = 1.0
"""Seconds until a store that could not be read is asked again."""


class Outcome(NamedTuple):
    """The state of an upstream run: `run` is the one to blame."""

    state: Literal["succeeded", "open", "failed"]
    words: str = ""
    run: str | None = None


class DependentRuns(Protocol):
    """Starts and misses the runs of jobs with `after`."""

    def start_dependent(self, execution: Execution, job: Job) -> None:
        """Pass a run to the admission, whose upstream runs have all succeeded."""

    def miss_dependent(self, execution: Execution, job: Job, detail: str, blocked_by: str | None) -> None:
        """Record that a run will not start."""

    async def follow(self, job: Job, nominal: Nominal) -> Execution | None:
        """Record the run of a job at a nominal time of its upstream jobs, or that it is missed; return one to start."""


class Dependencies:
    """Holds the runs that wait for upstream runs, and follows the upstream jobs of those without a schedule."""

    def __init__(self, jobs: JobTable, journal: Journal, store: Store, clock: Clock) -> None:
        self._jobs = jobs
        self._journal = journal
        self._store = store
        self._clock = clock
        self._times = UpstreamTimes(jobs, journal, store)
        self._waiting: dict[str, Execution] = {}
        self._of_job: dict[str, dict[str, None]] = {}
        self._to_check: dict[str, None] = {}
        self._to_follow: dict[tuple[str, Nominal], None] = {}
        self._wake = asyncio.Event()
        self._is_working = False

    # --- what others see ---

    def wait(self, execution: Execution) -> None:
        """Hold a run until its upstream runs have ended."""
        self._waiting[execution.id] = execution
        self._of_job.setdefault(execution.job_id, {})[execution.id] = None
        self._check(execution.id)

    def withdraw(self, execution_id: str) -> None:
        """Drop a run that does not wait any more."""
        if (execution := self._waiting.pop(execution_id, None)) is not None:
            of_job = self._of_job[execution.job_id]
            del of_job[execution_id]
            if not of_job:
                del self._of_job[execution.job_id]

    def waiting_of(self, job_id: str) -> list[str]:
        """Return the ids of the runs of a job that wait for upstream runs."""
        return list(self._of_job.get(job_id, ()))

    @property
    def waiting(self) -> int:
        """The number of runs that wait for upstream runs."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to decide right now."""
        return not (self._is_working or self._to_check or self._to_follow)

    def on_events(self, written: Sequence[Event]) -> None:
        """Note the durable events of upstream jobs. Costs nothing where no job has `after`."""
        if not self._jobs.downstream:
            return
        for event in written:
            if event.job_id not in self._jobs.downstream or isinstance(event, events.Progress):
                continue
            self._note_fire(event)
            # The id of a fire begins with its time, and so do those of its retries.
            concerns_all = isinstance(event, events.JobEvent) or (isinstance(event, events.Missed) and event.count > 1)
            for job_id in self._jobs.downstream[event.job_id]:
                time = "" if concerns_all or self._have_jitter(event.job_id, job_id) else event.stream[:8]
                for identity in self._of_job.get(job_id, ()):
                    if identity.startswith(time):
                        self._check(identity)

    def _have_jitter(self, *job_ids: str) -> bool:
        found = (self._jobs.get(job_id) for job_id in job_ids)
        return any(registered is not None and registered.job.jitter is not None for registered in found)

    def _check(self, execution_id: str) -> None:
        self._to_check[execution_id] = None
        self._wake.set()

    def _note_fire(self, event: Event) -> None:
        if (nominal := self._times.nominal_of(event)) is None:
            return
        for job_id in self._jobs.downstream.get(nominal.upstream, ()):
            registered = self._jobs.get(job_id)
            if registered is not None and not registered.job.has_schedule:
                self._times.begin(registered.job)  # not when it receives it: more will have been decided by then
                self._to_follow[job_id, nominal] = None
                self._wake.set()

    # --- the work ---

    async def run(self, runs: DependentRuns, timetable: Timetable) -> None:
        """Decide about what waits, until cancelled. The timetable has to run already."""
        while True:
            self._is_working = True
            try:
                await self._follow_all(runs)
                await self._check_all(runs, timetable)
            except DeposedError as exc:
                log.error("runs that wait for other jobs are no longer started", problem=str(exc))
                self._to_check.clear()
                self._to_follow.clear()
            except StoreError as exc:
                log.warning("runs that wait for other jobs cannot be checked yet", problem=str(exc))
                self._is_working = False
                await asyncio.sleep(RETRY_S)  # real time, as the store is real
                continue
            finally:
                self._is_working = False
            if self.is_idle:
                self._wake.clear()
                await self._wake.wait()

    async def resume_following(self) -> None:
        """Note the fires of upstream jobs that an earlier kernel did not come to follow."""
        followers = dict.fromkeys(job_id for found in self._jobs.downstream.values() for job_id in found)
        left_over: dict[tuple[str, Nominal], None] = {}
        for job_id in followers:
            registered = self._jobs.get(job_id)
            if registered is not None and not registered.job.has_schedule:
                self._times.begin(registered.job)
                left_over |= {(job_id, nominal): None for nominal in await self._times.left_over(registered.job)}
        # The older ones first, because what is before the newest outcome of a job counts as followed.
        self._to_follow = left_over | self._to_follow
        if self._to_follow:
            self._wake.set()

    async def _follow_all(self, runs: DependentRuns) -> None:
        while self._to_follow:
            job_id, nominal = key = next(iter(self._to_follow))
            registered = self._jobs.get(job_id)
            if registered is not None and not registered.job.has_schedule:
                await self._follow(registered.job, nominal, runs)
            self._to_follow.pop(key, None)  # not earlier: where the store fails, it stays ahead of later times

    async def _follow(self, job: Job, nominal: Nominal, runs: DependentRuns) -> None:
        shared = await self._times.shared(job, nominal)
        if shared is not None and (execution := await runs.follow(job, shared)) is not None:
            self.wait(execution)

    async def _check_all(self, runs: DependentRuns, timetable: Timetable) -> None:
        while self._to_check and not self._to_follow:
            identity = next(iter(self._to_check))
            del self._to_check[identity]  # not later: what happens meanwhile asks for another check
            if (execution := self._waiting.get(identity)) is None:
                continue
            try:
                await self._decide(execution, runs, timetable)
            except StoreError:
                self._to_check[identity] = None
                raise

    async def _decide(self, execution: Execution, runs: DependentRuns, timetable: Timetable) -> None:
        registered = self._jobs.get(execution.job_id)
        after = registered.job.after if registered is not None else []
        nominal = self._times.nominal.nominal_time(execution.job_id, execution.scheduled_time)
        is_open = False
        for upstream in after:
            at = self._times.nominal.fire_of(upstream, nominal)
            if at is not None and at > self._clock.now():
                is_open = True  # its jitter lets it come later
                continue
            found = await self._outcome(upstream, at) if at is not None else _no_fire(upstream)
            if found is None:  # not in the log; it will not come once the timetable has passed that time
                await timetable.idle()
                await asyncio.shield(self._journal.durable())
                if self._to_follow:
                    self._to_check[execution.id] = None
                    return  # a job without a schedule comes to that time first
                found = await self._outcome(upstream, at or nominal)
            found = found or await self._no_run(upstream, at or nominal)
            if execution.id not in self._waiting:
                return  # it was cancelled meanwhile
            if found.state == "failed":
                self.withdraw(execution.id)
                assert registered is not None  # noqa: S101 - else there is no upstream job
                runs.miss_dependent(execution, registered.job, found.words, found.run)
                return
            is_open = is_open or found.state == "open"
        if not is_open and registered is not None:
            self.withdraw(execution.id)
            runs.start_dependent(execution, registered.job)

    async def _outcome(self, upstream: str, at: datetime) -> Outcome | None:
        """Return the state of the run of an upstream job at a nominal time, retries included; None without one."""
        last: Execution | None = None
        attempt, was_over = 1, False
        while (found := await self._times.find(execution_id(upstream, at, attempt))) is not None:
            # As it is now: it may end, and be followed by another, while the store is read.
            last, was_over, attempt = found, found.is_over, attempt + 1
        if last is None:
            return None
        if not was_over:
            return Outcome("open")
        if last.status == "success":
            return Outcome("succeeded")
        reason = f" ({last.reason})" if last.reason and last.status != "cancelled" else ""
        was = "failed" if last.status == "failed" else f"was {last.status}"
        return Outcome("failed", f"run {last.id} of job {upstream} {was}{reason}", last.id)

    async def _no_run(self, upstream: str, at: datetime) -> Outcome:
        """Return why an upstream job has no run of its own at a nominal time that the timetable has passed."""
        state = self._journal.jobs.get(upstream)
        if self._jobs.get(upstream) is None or state is None:
            return Outcome("failed", f"there is no job {upstream} any more")
        outcome = await find_outcome(self._store, upstream, at, self._journal.head)
        if outcome is not None and outcome.first <= at:
            words = f"the fire of job {upstream} was missed ({outcome.missed})"
            return Outcome("failed", words, outcome.execution_id)
        if state.paused and outcome is None:
            return Outcome("open")  # its fires are held back until it is resumed
        return _no_fire(upstream)


def _no_fire(upstream: str) -> Outcome:
    return Outcome("failed", f"job {upstream} has no fire at that time")
