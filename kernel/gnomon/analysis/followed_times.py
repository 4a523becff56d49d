"""Prove that jobs without a schedule, which run after others, have an outcome at each time that those decided about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec

from gnomon.analysis.fire_outcomes import FireOutcome, find_outcome, pruned_until, read_outcome
from gnomon.analysis.reconciliation import MOST_FINDINGS, Span
from gnomon.analysis.schedule_history import Schedule, ScheduleHistory
from gnomon.domain.audits import Finding, JobAudit, OpenFires, Unproved
from gnomon.ports import Store
from gnomon.scheduling.nominal_times import AnchoredSchedule, NominalTimes
from gnomon.stores.reading import read_log

MOST_TIMES = 100_000
"""Times of a range that was missed together that are computed to compare it with those of other jobs."""
NEVER = datetime.min.replace(tzinfo=UTC)


def followers(histories: Mapping[str, ScheduleHistory]) -> list[str]:
    """Return the jobs that have, or had, only the times of upstream jobs."""
    return [job_id for job_id, found in histories.items() if any(is_follower(one) for one in found.schedules)]


def is_follower(schedule: Schedule) -> bool:
    """Return whether a job has only the times of its upstream jobs, under a schedule that it has had."""
    return schedule.trigger is None and schedule.job is not None and bool(schedule.job.after)


def upstream_of(histories: Mapping[str, ScheduleHistory]) -> set[str]:
    """Return the jobs that these jobs have, or had, upstream."""
    schedules = (schedule for found in histories.values() for schedule in found.schedules)
    return {upstream for schedule in schedules if schedule.job is not None for upstream in schedule.job.after}


async def judge_followers(
    store: Store, histories: Mapping[str, ScheduleHistory], job_ids: Sequence[str], span: Span, after: int, head: int
) -> dict[str, JobAudit]:
    """Return the result for each of these jobs, as far as they had no schedule; `histories` has their upstream jobs.

    The log is read once. What is kept in memory are the times that some of the upstream jobs have decided about, and
    others not yet.
    """
    book = _Book(histories, job_ids, span)
    async for block in read_log(store, after, head):
        for event in block:
            if (outcome := read_outcome(event)) is not None:
                book.take(outcome)
    if any(follower.is_doubtful for follower in book.followers.values()) and span.pruned_until is None:
        span.pruned_until = await pruned_until(store, after, head)
    for follower in book.followers.values():
        follower.finish()
        for outcome in follower.unexplained[:MOST_FINDINGS]:
            if span.pruned_until is None or outcome.first >= span.pruned_until:
                await _check(store, follower, outcome, book.times, head)
    return {job_id: follower.audit for job_id, follower in book.followers.items()}


async def _check(store: Store, follower: _Follower, outcome: FireOutcome, times: NominalTimes, head: int) -> None:
    """Report an outcome at a time about which an upstream job, in whatever order, has not decided."""
    for upstream in follower.upstream_at(outcome.position):
        fire = times.fire_of(upstream, outcome.last)
        found = await find_outcome(store, upstream, fire, head) if fire is not None else None
        if found is None or fire is None or found.first > fire:
            detail = f"job {upstream} has no outcome at that time, and this execution is in the log"
            follower.report(Finding("not_named", *_extent(outcome), detail, [outcome.execution_id]))
            return


def _extent(outcome: FireOutcome) -> tuple[datetime, datetime, int]:
    return outcome.first, outcome.last, outcome.count


class _Book:
    """Passes each outcome of the log to the jobs that it concerns, in nominal times."""

    def __init__(self, histories: Mapping[str, ScheduleHistory], job_ids: Sequence[str], span: Span) -> None:
        self._histories = histories
        self._position = 0
        self.times = NominalTimes(self._schedule, self._upstream)
        self.followers = {job_id: _Follower(job_id, histories[job_id], span, self.times) for job_id in job_ids}
        self._downstream: dict[str, list[_Follower]] = {}
        for follower in self.followers.values():
            for upstream in upstream_of({follower.audit.job_id: histories[follower.audit.job_id]}):
                self._downstream.setdefault(upstream, []).append(follower)

    def take(self, outcome: FireOutcome) -> None:
        self._position = outcome.position
        follower, downstream = self.followers.get(outcome.job_id), self._downstream.get(outcome.job_id, ())
        if follower is not None:
            follower.take_own(outcome)
        if downstream:
            first, last = (self.times.nominal_time(outcome.job_id, one) for one in (outcome.first, outcome.last))
            nominal = msgspec.structs.replace(outcome, first=first, last=last)
            for one in downstream:
                one.take(nominal)

    def _schedule(self, job_id: str) -> AnchoredSchedule | None:
        found = _in_force(self._histories.get(job_id), self._position)
        return AnchoredSchedule(found.trigger, found.anchor) if found is not None and found.trigger else None

    def _upstream(self, job_id: str) -> Sequence[str]:
        found = _in_force(self._histories.get(job_id), self._position)
        return found.job.after if found is not None and found.job is not None else ()


def _in_force(history: ScheduleHistory | None, position: int) -> Schedule | None:
    schedules = history.schedules if history is not None else ()
    return next((schedule for schedule in schedules if schedule.holds(position)), None)


class _Follower:
    """The times that one job has to decide about, and its outcomes."""

    def __init__(self, job_id: str, history: ScheduleHistory, span: Span, times: NominalTimes) -> None:
        self.audit = JobAudit(job_id=job_id)
        self.unexplained: list[FireOutcome] = []
        self._schedules = history.schedules
        self._current: Schedule | None = None
        self._span = span
        self._times = times
        self._told: dict[datetime, set[str]] = {}
        """The times about which some of several upstream jobs have decided."""
        self._newest_told: dict[str, datetime] = {}
        self._due: dict[datetime, FireOutcome] = {}
        """What the last upstream job decided, by the last time of it, until the job has its own outcome."""
        self._newest = NEVER

    @property
    def is_doubtful(self) -> bool:
        """Whether the result depends on what was pruned from the log."""
        return bool(self.unexplained or any(time < self._newest for time in self._due))

    def upstream_at(self, position: int) -> Sequence[str]:
        schedule = self._move(position)
        return schedule.job.after if schedule is not None and schedule.job is not None else ()

    def take(self, outcome: FireOutcome) -> None:
        """Note what an upstream job decided."""
        schedule = self._move(outcome.position)
        if schedule is None or schedule.job is None or outcome.job_id not in schedule.job.after:
            return
        if outcome.last <= self._newest_told.get(outcome.job_id, NEVER):
            return  # a second outcome of that time, which is a finding of the upstream job
        self._newest_told[outcome.job_id] = outcome.last
        since = schedule.anchor
        if outcome.last <= since <= outcome.at and not outcome.missed and self._times.is_single(outcome.job_id):
            since = self._newest  # it is late, and due
        if outcome.last <= since:
            return
        is_single = len(schedule.job.after) == 1
        if is_single and outcome.first > since:
            self._due[outcome.last] = outcome
            return
        if (times := self._expand(outcome)) is None:
            problem = f"times of job {outcome.job_id} that were missed together cannot be computed"
            self.audit.unproved.append(Unproved(outcome.first, outcome.last, outcome.count, problem))
            return
        times = [time for time in times if time > since]
        if is_single:
            self._due[outcome.last] = msgspec.structs.replace(outcome, first=times[0], count=len(times))
            return
        for time in times:
            told = self._told.setdefault(time, set())
            told.add(outcome.job_id)
            if len(told) == len(schedule.job.after):
                del self._told[time]
                self._due[time] = msgspec.structs.replace(outcome, first=time, last=time, count=1)
        self._drop_unshared(schedule.job.after)

    def _expand(self, outcome: FireOutcome) -> list[datetime] | None:
        if outcome.count == 1:
            return [outcome.last]
        if outcome.count > MOST_TIMES:
            return None
        found = list(islice(self._times.times(outcome.job_id, outcome.first), outcome.count))
        return found if len(found) == outcome.count and found[-1] == outcome.last else None

    def _drop_unshared(self, upstream: Sequence[str]) -> None:
        """Drop times that one of the upstream jobs has passed: it has no such time."""
        passed = min(self._newest_told.get(one, NEVER) for one in upstream)
        while self._told and (first := next(iter(self._told))) <= passed:
            del self._told[first]

    def take_own(self, outcome: FireOutcome) -> None:
        """Compare an outcome of the job with the times that it has to decide about."""
        schedule = self._move(outcome.position)
        if schedule is None or outcome.first < self._span.since or outcome.first > self._span.until:
            return
        self._newest = max(self._newest, outcome.last)
        found = self._due.pop(outcome.last, None)
        count = found.count if found is not None else 0
        if outcome.count > 1:
            for time in [time for time in self._due if outcome.first <= time < outcome.last]:
                count += self._due.pop(time).count
        if found is None:
            self.unexplained.append(outcome)
            return
        self.audit.fires += outcome.count
        self.audit.missed += outcome.count if outcome.missed else 0
        if count != outcome.count and not any(one.covers(outcome.last) for one in self.audit.unproved):
            detail = f"the log counts {outcome.count} fires, and the upstream jobs share {count}"
            self.report(Finding("wrong_count", *_extent(outcome), detail, [outcome.execution_id]))

    def finish(self) -> None:
        """Report the times that are left without an outcome."""
        self._leave(is_end=True)

    def _move(self, position: int) -> Schedule | None:
        """Return the schedule in force at a position, where it has only the times of upstream jobs."""
        if self._current is None or not self._current.holds(position):
            self._leave(is_end=False)
            found = next((schedule for schedule in self._schedules if schedule.holds(position)), None)
            self._current = found if found is not None and is_follower(found) else None
        return self._current

    def _leave(self, *, is_end: bool) -> None:
        for time, due in self._due.items():
            if time < self._span.since or time > self._span.until:
                continue
            pruned = self._span.pruned_until
            if pruned is not None and time < pruned:
                detail = f"the log was pruned: events before {pruned} may be gone"
                self.audit.open.append(OpenFires("forgotten", *_extent(due), detail))
            elif time < self._newest:
                detail = f"job {due.job_id} decided about it, and this job has no outcome, although it has later ones"
                self.report(Finding("no_outcome", *_extent(due), detail, [due.execution_id]))
            else:
                rest = "no kernel came to it since" if is_end else "no kernel came to it before the schedule ended"
                self.audit.open.append(
                    OpenFires("undecided", *_extent(due), f"job {due.job_id} decided about it, and {rest}")
                )
        self._due, self._told, self._newest_told = {}, {}, {}

    def report(self, finding: Finding) -> None:
        if len(self.audit.findings) < MOST_FINDINGS:
            self.audit.findings.append(finding)
        else:
            self.audit.more_findings += 1
