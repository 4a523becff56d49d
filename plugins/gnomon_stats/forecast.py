"""What is to come: the fires of the schedules, as a plan computes them, with durations from the statistics.

A fire is not expected to run where its job is paused, an operator skips it, all fires are held, a plugin knows that it
would veto it, such as on a holiday of an exchange, or the run before it is expected to run still and its job has
`overlap = "skip"`. Where the slots of its group are expected to be taken, it waits. The rates of groups and the limit
of the kernel are left out, as are retries, runs by hand, and jobs that follow others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from gnomon.api import JobView
from gnomon.domain.eta import ENOUGH, HIGH, LOW
from gnomon.errors import TriggerError
from gnomon.jobs.job import Job
from gnomon.safe_text import safe_str
from gnomon.scheduling.catch_up import fires, fires_within, next_fire
from gnomon.scheduling.triggers import AnchoredTrigger, is_predictable
from gnomon.stores.microseconds import from_micros
from gnomon.wire.forecast import Forecast, ForecastCut, ForecastJob, ForecastRun, Prospect
from gnomon_stats.forecast_listing import OFTEN_S, list_first, wait_in_groups
from gnomon_stats.histogram import percentile
from gnomon_stats.job_fold import JobFold

MOST_LISTED: Final = 200
"""Fires of a job that are listed one by one."""
MOST_FIRES: Final = 20_000
"""Fires of an answer, which takes 0.3 s; those of a job beyond its share are left out, and a note says so."""
LONGEST_SPAN: Final = timedelta(days=31)

Closure = Callable[[Job, datetime], str | None]
"""Returns why a plugin would veto a fire at a time to come, or None; it must not look at the present."""


class Extent(NamedTuple):
    """How much of a forecast is wanted: the number of jobs, and of fires over all of them where that is limited.

    Without `has_totals` fires are counted only as far as they may be listed, which takes much less time.
    """

    jobs: int
    fires: int | None = None
    has_totals: bool = True


class Circumstances(NamedTuple):
    """What decides about fires besides their jobs: closures, a hold, and the limits of the groups that have one."""

    closures: Sequence[Closure] = ()
    is_held: bool = False
    limits: Mapping[str, int] = MappingProxyType({})


class Durations(NamedTuple):
    """How long a run takes: the 10th, 50th and 90th percentile."""

    low: timedelta
    middle: timedelta
    high: timedelta


class Ends(NamedTuple):
    """When a run is expected to end."""

    low: datetime
    middle: datetime
    high: datetime


def own_numbers(counted: JobFold) -> JobFold:
    """Return a copy with what a forecast reads, which does not change while events are counted."""
    return JobFold(durations=dict(counted.durations), extremes=counted.extremes, open=dict(counted.open))


def durations_of(counted: JobFold | None) -> Durations | None:
    """Return how long runs of a job take; None where too few have succeeded."""
    if counted is None or sum(counted.durations.values()) < ENOUGH:
        return None
    extremes = (counted.extremes.shortest, counted.extremes.longest) if counted.extremes is not None else None
    shares = (percentile(counted.durations, share, extremes) for share in (LOW, 0.5, HIGH))
    return Durations(*(timedelta(microseconds=micros or 0) for micros in shares))


def forecast(
    views: Sequence[JobView],
    counted: dict[str, JobFold],
    since: datetime,
    until: datetime,
    now: datetime,
    extent: Extent,
    around: Circumstances,
) -> Forecast:
    """Return what is expected in a period to come, for the jobs that fire next; the others are only counted."""
    due = [(first, view) for view in views if (first := _first_fire(view, since, until)) is not None]
    due.sort(key=lambda one: (one[0], one[1].job.id))
    shown = due[: extent.jobs]
    listed = extent.fires or MOST_LISTED
    share = max(MOST_FIRES // max(len(shown), 1), listed) if extent.has_totals else listed
    jobs = []
    for _, view in shown:
        one = _Job(view, counted.get(view.job.id), now, around, most_listed=listed)
        jobs.append(one.forecast(since, until, share, notes_cut=extent.has_totals))
    wait_in_groups(
        jobs, {view.job.id: view.job.group for _, view in shown if view.job.group is not None}, around.limits
    )
    if extent.fires is not None:
        list_first(jobs, extent.fires)
    totals = Counter[Prospect]()
    for job in jobs:
        totals.update(job.totals)
    cut = ForecastCut(len(due) - len(shown), sum(job.cut for job in jobs))
    return Forecast(since=since, until=until, now=now, jobs=jobs, totals=dict(totals), cut=cut)


def _first_fire(view: JobView, since: datetime, until: datetime) -> datetime | None:
    """Return the first fire of a job in the period, or of its runs of now; None without any."""
    if view.running and since <= until:
        return since
    known = view.next_fire
    if known is not None and since <= known and not view.state.skips:  # as almost always: no schedule is looked at
        return known if known <= until else None
    return next(_fires(view, since, until), None)


def _fires(view: JobView, since: datetime, until: datetime) -> Iterator[datetime]:
    """Iterate over the fires of a schedule: from the next one on, as the kernel does; of a paused job by its anchor."""
    try:
        trigger = view.job.build_trigger()
        if trigger is None:
            return
        yield from (fire for fire in _all_fires(trigger, view, since, until) if fire >= since)
    except BaseException as exc:
        if isinstance(exc, GeneratorExit):
            raise
        raise TriggerError(f"the schedule of job {view.job.id!r} failed: {safe_str(exc)}") from exc


def _all_fires(trigger: AnchoredTrigger, view: JobView, since: datetime, until: datetime) -> Iterator[datetime]:
    first = view.next_fire
    yield from sorted(skip.at for skip in view.state.skips if first is not None and since <= skip.at < first)
    if first is None:
        yield from fires_within(trigger, view.state.anchor, since, until)
    elif first <= until:
        if first < since:  # a schedule of seconds has many fires before a period that is far away
            first = next_fire(trigger, since - timedelta(microseconds=1), view.state.anchor)
        if first is not None and first <= until:
            yield first
            yield from fires(trigger, first, view.state.anchor, until)


class _Job:
    """The runs of one job, one after the other."""

    def __init__(
        self,
        view: JobView,
        counted: JobFold | None,
        now: datetime,
        around: Circumstances,
        *,
        most_listed: int,
    ) -> None:
        self._view = view
        self._job = view.job
        self._durations = durations_of(counted)
        self._now = now
        self._around = around
        self._most_listed = most_listed
        self._open: list[Ends] = []
        self._listed: list[ForecastRun] = []
        self._totals = Counter[Prospect]()
        self._begun = sorted(run.at for run in counted.open.values() if run.running) if counted is not None else []

    def forecast(self, since: datetime, until: datetime, most: int, *, notes_cut: bool) -> ForecastJob:
        """Return what is expected of each fire of a period."""
        notes = self._notes()
        for at in self._begun:
            self._add(self._run(from_micros(at), "running"))
        first = last = None
        try:
            for number, fire in enumerate(_fires(self._view, since, until)):
                if number == most:
                    if notes_cut:
                        notes.append(f"only its first {most:,} fires were looked at, up to {fire.isoformat()}")
                    break
                first, last = first or fire, fire
                self._add(self._expected(fire))
        except TriggerError as exc:
            notes.append(str(exc))
        count = self._totals.total()
        fires = count - self._totals["running"]
        interval = (last - first).total_seconds() / (fires - 1) if first and last and fires > 1 else None
        return ForecastJob(
            job_id=self._job.id,
            name=self._view.state.display_name or self._job.title,
            paused=self._view.state.paused,
            fires=fires,
            totals=dict(self._totals),
            runs=self._listed,
            cut=count - len(self._listed),
            notes=notes,
            interval_s=interval if interval is not None and interval <= OFTEN_S else None,
        )

    def _notes(self) -> list[str]:
        notes = []
        trigger = self._job.build_trigger()
        if trigger is not None and not is_predictable(trigger):
            notes.append(f"the schedule is random ({trigger}): its fires are an example")
        if self._durations is None:
            notes.append(f"fewer than {ENOUGH} runs have succeeded, so their ends are not known")
        return notes

    def _add(self, run: ForecastRun) -> None:
        self._totals[run.outcome] += 1
        if len(self._listed) < self._most_listed:
            self._listed.append(run)

    def _expected(self, fire: datetime) -> ForecastRun:
        state = self._view.state
        if state.paused:
            return ForecastRun(at=fire, outcome="paused", detail=state.paused_reason)
        if self._around.is_held:
            return ForecastRun(at=fire, outcome="held")
        if (skip := state.skip_of(fire)) is not None:
            return ForecastRun(at=fire, outcome="skipped", detail=skip.reason)
        if (closed := self._closed(fire)) is not None:
            return ForecastRun(at=fire, outcome="closed", detail=closed)
        return self._beside_others(fire)

    def _closed(self, fire: datetime) -> str | None:
        return next(
            (reason for closed in self._around.closures if (reason := closed(self._job, fire)) is not None), None
        )

    def _beside_others(self, fire: datetime) -> ForecastRun:
        """Return the run of a fire, given those that are expected to run then."""
        self._open = [ends for ends in self._open if ends.high > fire]
        slots = self._job.max_instances or (1 if self._job.overlap != "allow" else len(self._open) + 1)
        expected = sorted(ends.middle for ends in self._open if ends.middle > fire)
        may_overlap = len(self._open) >= slots
        if len(expected) < slots:
            return self._run(fire, "run", may_overlap=may_overlap)
        until = expected[-slots]
        if self._job.overlap == "queue":
            return self._run(fire, "run", starts=until, may_overlap=True, detail="waits for the run before it")
        if self._job.overlap == "cancel_previous":
            self._open.clear()
            return self._run(fire, "run", may_overlap=True, detail="cancels the run before it")
        detail = f"the run before it is expected to last until {until.isoformat(timespec='seconds')}"
        return ForecastRun(at=fire, outcome="overlap", may_overlap=True, detail=detail)

    def _run(
        self,
        at: datetime,
        outcome: Prospect,
        *,
        starts: datetime | None = None,
        may_overlap: bool = False,
        detail: str | None = None,
    ) -> ForecastRun:
        found = ForecastRun(at=at, outcome=outcome, starts=starts or at, may_overlap=may_overlap, detail=detail)
        if self._durations is not None:
            earliest = self._now if outcome == "running" else at  # a run of now has not ended yet
            ends = Ends(*(max((starts or at) + length, earliest) for length in self._durations))
            self._open.append(ends)
            found.ends_low, found.ends, found.ends_high = ends
        return found
