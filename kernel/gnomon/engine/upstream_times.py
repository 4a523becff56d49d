"""The nominal times of upstream jobs: which of them a job without a schedule has to follow, also after a crash.

A job without a schedule, a follower, has an outcome at each nominal time about which all its upstream jobs decided.
Each upstream job decides in order of time. A follower receives their decisions one after the other and decides about a
time when it receives the last of them, so it decides in order of time as well, whatever its upstream jobs did before.
The log therefore never has an outcome of a follower before one of an earlier time, and after a crash everything that
is left over is later than its newest outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from gnomon.analysis.fire_outcomes import FireOutcome, find_outcome, outcomes_between, read_job
from gnomon.analysis.schedule_history import read_history
from gnomon.domain import events
from gnomon.domain.events import Event, job_stream
from gnomon.domain.execution import Execution, execution_id
from gnomon.durations import MICROSECOND
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.jobs.job import Job
from gnomon.ports import Store
from gnomon.scheduling.nominal_times import AnchoredSchedule, NominalTimes

MOST_STEPS = 100_000
"""Times of a range that was missed together that are walked through to find those that several jobs share."""
STEPS_AT_ONCE = 500
"""Times that are walked through before other tasks of the event loop run."""
NEVER = datetime.min.replace(tzinfo=UTC)


class Nominal(NamedTuple):
    """A nominal time of an upstream job that it has decided about: a fire, or a range of fires that it missed."""

    upstream: str
    execution_id: str
    decided: datetime
    first: datetime
    last: datetime
    fires: int
    missed: str | None
    position: int


class UpstreamTimes:
    """Finds the nominal times that jobs without a schedule have from their upstream jobs."""

    def __init__(self, jobs: JobTable, journal: Journal, store: Store) -> None:
        self._jobs = jobs
        self._journal = journal
        self._store = store
        self.nominal = NominalTimes(self._schedule, self._upstream)
        self._received: dict[str, dict[str, datetime]] = {}
        """For each follower of several jobs, the newest nominal time of each of them that it has received."""

    def nominal_of(self, event: Event) -> Nominal | None:
        """Return what an event decides about nominal times of its job; None for other events."""
        if not isinstance(event, events.Scheduled | events.Missed) or not event.is_fire:
            return None
        first = last = event.scheduled_time
        fires, missed = 1, None
        if isinstance(event, events.Missed):
            first, last, fires, missed = event.first_fire, event.last_fire, event.count, event.reason
        first, last = self.nominal.nominal_time(event.job_id, first), self.nominal.nominal_time(event.job_id, last)
        return Nominal(event.job_id, event.stream, event.at, first, last, fires, missed, event.position)

    async def find(self, identity: str) -> Execution | None:
        """Return an execution from memory or from the store; None where there is none."""
        if (live := self._journal.live.get(identity)) is not None:
            return live
        await asyncio.shield(self._journal.durable())  # an ended run leaves the live views before the store has its end
        return await self._store.execution(identity)

    def begin(self, job: Job) -> None:
        """Note that a follower knows of all decisions up to now, unless it has received some already."""
        if len(job.after) > 1:
            received = self._received.setdefault(job.id, {})
            for upstream in job.after:
                if upstream not in received:
                    received[upstream] = self._newest(upstream, NEVER)

    async def left_over(self, job: Job) -> list[Nominal]:
        """Return what upstream jobs decided after the newest outcome of a follower, oldest first.

        It reads nothing where an upstream job has not come further than that, as usual: each time that the upstream
        jobs share is among the fires of any of them.
        """
        state = self._journal.jobs.get(job.id)
        states = [self._journal.jobs.get(upstream) for upstream in job.after]
        known = [one for one in states if one is not None and one.newest_fire is not None]
        if state is None or len(known) < len(states):
            return []
        since = state.anchor
        if (newest := state.newest_fire) is not None:
            if any(self._newest(one.job_id, newest) <= newest for one in known):
                return []
            if newest >= since:  # else an upstream job may have decided before the follower was added
                since, known = newest, [min(known, key=lambda one: one.newest_fire or newest)]
        found = []
        for one in known:
            async for block in read_job(self._store, one.job_id, since, self._journal.head):
                found += [nominal for event in block if (nominal := self.nominal_of(event)) is not None]
        return sorted(found, key=lambda nominal: nominal.last)

    def _newest(self, job_id: str, default: datetime) -> datetime:
        """Return the newest nominal time that a job has decided about."""
        state = self._journal.jobs.get(job_id)
        fire = state.newest_fire if state is not None else None
        return self.nominal.nominal_time(job_id, fire) if fire is not None else default

    async def shared(self, job: Job, nominal: Nominal) -> Nominal | None:
        """Pass a decision to a follower; return the times of it about which it has to decide now, or None.

        Those are the times that are shared with decisions of all other upstream jobs that it has received before.
        """
        if nominal.upstream not in job.after:
            return None  # it waited for other jobs before
        others = [upstream for upstream in job.after if upstream != nominal.upstream]
        self.begin(job)
        received = self._received.get(job.id, {})
        if others:
            received[nominal.upstream] = max(nominal.last, received[nominal.upstream])
        if (state := self._journal.jobs.get(job.id)) is None:
            return None
        since = state.newest_fire or NEVER  # with outcomes that are not durable yet
        if not self._is_late_single(nominal, state.anchor):
            since = max(since, state.anchor)  # earlier times are those of what it waited for before
        if nominal.last <= since:
            return None
        if nominal.fires == 1:
            decided = [
                nominal.last <= received[upstream] and await self._has_decided(upstream, nominal.last)
                for upstream in others
            ]
            return nominal if all(decided) else None
        if not others and nominal.first > since:
            return nominal
        times = [time for time in await self._walk(nominal) if time > since]
        for upstream in others:
            found = await self._outcomes(upstream, times)
            covered = (time for time in times if time <= received[upstream] and found.cover(time))
            times = [time for time in covered if self.nominal.names(upstream, time)]
        return nominal._replace(first=times[0], last=times[-1], fires=len(times)) if times else None

    def _is_late_single(self, nominal: Nominal, anchor: datetime) -> bool:
        """Return whether a fire that is the only one of its job was due before a follower was added, and runs now."""
        is_late = nominal.last <= anchor <= nominal.decided and nominal.missed is None
        return is_late and self.nominal.is_single(nominal.upstream)

    async def _has_decided(self, upstream: str, time: datetime) -> bool:
        if (at := self.nominal.fire_of(upstream, time)) is None:
            return False
        if await self.find(execution_id(upstream, at)) is not None:
            return True
        outcome = await find_outcome(self._store, upstream, at, self._journal.head)  # a range that was missed together
        return outcome is not None and outcome.first <= at <= outcome.last and self.nominal.names(upstream, time)

    async def _walk(self, nominal: Nominal) -> list[datetime]:
        """Return the times of a range; only its end where no schedule of the job names such a range."""
        found = await _times_of(nominal, self.nominal)
        if found is None:  # the schedule may have ended with the range
            stream = await self._store.stream(job_stream(nominal.upstream))
            schedules = read_history(stream).schedules if stream else []
            past = next((one for one in schedules if one.holds(nominal.position)), None)
            if past is not None and past.trigger is not None:
                schedule = AnchoredSchedule(past.trigger, past.anchor)
                found = await _times_of(nominal, NominalTimes(lambda _: schedule, lambda _: ()))
        return found if found is not None else [nominal.last]

    async def _outcomes(self, job_id: str, times: Sequence[datetime]) -> _Outcomes:
        if not times:
            return _Outcomes()
        first, last = (self.nominal.fire_of(job_id, time) or time for time in (times[0], times[-1]))
        found = await outcomes_between(self._store, job_id, first, last + MICROSECOND, self._journal.head)
        return _Outcomes(
            {self.nominal.nominal_time(job_id, one.first) for one in found if one.count == 1},
            [self._in_nominal_times(one) for one in found if one.count > 1],
        )

    def _in_nominal_times(self, outcome: FireOutcome) -> FireOutcome:
        first, last = (self.nominal.nominal_time(outcome.job_id, fire) for fire in (outcome.first, outcome.last))
        return msgspec.structs.replace(outcome, first=first, last=last)

    def _schedule(self, job_id: str) -> AnchoredSchedule | None:
        registered, state = self._jobs.get(job_id), self._journal.jobs.get(job_id)
        if registered is None or registered.trigger is None or state is None:
            return None
        return AnchoredSchedule(registered.trigger, state.anchor)

    def _upstream(self, job_id: str) -> Sequence[str]:
        registered = self._jobs.get(job_id)
        return registered.job.after if registered is not None else ()


class _Outcomes:
    """Outcomes of a job: at single times, and of ranges that were missed together."""

    def __init__(self, single: set[datetime] | None = None, ranges: Sequence[FireOutcome] = ()) -> None:
        self._single = single or set()
        self._ranges = ranges

    def cover(self, time: datetime) -> bool:
        return time in self._single or any(one.first <= time <= one.last for one in self._ranges)


async def _times_of(nominal: Nominal, times: NominalTimes) -> list[datetime] | None:
    """Return the times of a range by some schedules; None where they name no such range."""
    found: list[datetime] = []
    for time in islice(times.times(nominal.upstream, nominal.first), min(nominal.fires, MOST_STEPS)):
        found.append(time)
        if len(found) % STEPS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return found if len(found) == nominal.fires and found[-1] == nominal.last else None
