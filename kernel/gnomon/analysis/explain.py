"""Explain from the log why a job ran, ran late, did not run or will not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import takewhile

from gnomon.analysis import fire_outcomes
from gnomon.analysis.asked_time import MINUTE, SECOND, start_of, width_of
from gnomon.analysis.fire_explanation import FireExplainer, future_fire
from gnomon.analysis.imported_runs import explain_imported, imported_words
from gnomon.analysis.schedule_history import Schedule, ScheduleHistory, read_history
from gnomon.analysis.triggered_runs import explain_triggered, first_attempt, triggered_words
from gnomon.analysis.wording import in_words, who
from gnomon.domain import events
from gnomon.domain.execution import Execution
from gnomon.domain.statement import Statement, state
from gnomon.durations import MICROSECOND
from gnomon.errors import UnknownExecutionError, UnknownJobError
from gnomon.explanations import Explanation, ScheduleFact
from gnomon.ports import Store
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.timezones import ClockChange, change_at, changes_between, instants, timezone_or_utc
from gnomon.scheduling.triggers import AtTrigger, EveryTrigger, explain_trigger
from gnomon.stores.reading import newest_time
from gnomon.text import close_match

CLOCK_TOLERANCE = timedelta(seconds=5)
"""Clocks of two machines differ by less."""
LOOKS_BACK = (MINUTE, timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=367 * 5))
"""How far back the fire before a moment is searched, step by step, since triggers only go forward."""
MOST_EXPLAINED = 12
"""Fires of one day that are explained one by one; the others are only counted."""


async def explain(store: Store, job_id: str, moment: datetime | date | None, now: datetime) -> Explanation:
    """Explain what a job did at a moment or on a day; with None, its last and its next fire.

    A naive moment is a wall time of the job's zone, a date is a day there. A moment on a whole minute or second stands
    for the first fire within it. The store may be open read-only. Raises UnknownJobError.
    """
    head = await store.head()
    states = {state.job_id: state for state in await store.jobs()}
    stream = [e for e in await store.stream(events.job_stream(job_id)) if e.position <= head]
    if job_id not in states or not stream:
        if imported := await explain_imported(store, job_id, moment, UTC):
            return in_words(Explanation(job_id=job_id, timezone="UTC", asked=_asked(moment), statements=imported), UTC)
        raise UnknownJobError(job_id, close_match(job_id, states))
    explainer = _Explainer(store, read_history(stream, states[job_id]), moment, head, now)
    await explainer.explain(moment)
    explainer.say(*await explain_imported(store, job_id, moment, explainer.zone))
    explainer.say(*await explain_triggered(store, job_id, moment, explainer.zone))
    newest = await newest_time(store, now)
    if newest is not None and newest - now > CLOCK_TOLERANCE:
        explainer.say(state("clock_behind", behind_s=(newest - now).total_seconds(), newest_at=newest))
    return in_words(explainer.found, explainer.zone)


async def explain_run(store: Store, execution_id: str, now: datetime) -> Explanation:
    """Explain one run with all its attempts, also one that no fire made, such as a run that waits in a queue.

    The store may be open read-only. Raises UnknownExecutionError.
    """
    head = await store.head()
    if (run := await store.execution(execution_id)) is None:
        raise UnknownExecutionError(execution_id)
    first = await first_attempt(store, run)
    stream = [event for event in await store.stream(events.job_stream(run.job_id)) if event.position <= head]
    if not stream or run.imported_from is not None:
        statements = [imported_words(run)] if run.imported_from is not None else []
        return in_words(Explanation(job_id=run.job_id, timezone="UTC", asked=run.id, statements=statements), UTC)
    state = next(iter(await store.jobs([run.job_id])), None)
    explainer = _Explainer(store, read_history(stream, state), first.scheduled_time, head, now)
    explainer.found.asked = run.id
    await explainer.explain_run(first)
    return in_words(explainer.found, explainer.zone)


class _Explainer:
    def __init__(
        self, store: Store, history: ScheduleHistory, moment: datetime | date | None, head: int, now: datetime
    ) -> None:
        self._store = store
        self._history = history
        self._head = head
        self._now = now
        self.zone = _zone_at(history, moment)
        self._fire_explainer = FireExplainer(store, history, head, now)
        self.found = Explanation(
            job_id=history.state.job_id,
            timezone=str(self.zone),
            asked=_asked(moment),
        )

    async def explain(self, moment: datetime | date | None) -> None:
        if moment is None:
            await self._last_and_next()
        elif not isinstance(moment, datetime):
            await self._day(moment)
        elif moment.tzinfo is None:
            await self._wall_time(moment)
        else:
            await self._instant(moment.astimezone(UTC))

    async def explain_run(self, run: Execution) -> None:
        """Explain the run of a fire by its fire, and another one by who triggered it."""
        if not run.is_manual:
            if (schedule := self._history.schedule_at(run.scheduled_time)) is not None:
                self._note_schedule(schedule)
            self.say(state("was_due", job=run.job_id, due_at=run.scheduled_time))
            await self._explain_fire(run.scheduled_time)
            return
        self.say(await triggered_words(self._store, run))
        explanation = await self._fire_explainer.explain_triggered(run)
        self.found.fires.append(explanation)
        self.say(*explanation.statements)

    def say(self, *statements: Statement) -> None:
        self.found.statements += statements

    # --- questions ---

    async def _last_and_next(self) -> None:
        current = self._history.state
        if current.newest_fire is not None:
            self.say(state("last_fire", job=current.job_id, due_at=current.newest_fire))
            await self._explain_fire(current.newest_fire)
        else:
            self.say(state("no_fire_yet", job=current.job_id))
        schedule = self._history.schedules[-1] if self._history.schedules else None
        if schedule is None or current.removed:
            self._explain_no_schedule(self._now, "removed_for_good")
            return
        self._note_schedule(schedule)
        if schedule.trigger is None:
            self.say(self._schedule_words(schedule))
            return
        fire = next_fire(schedule.trigger, current.last_fire, schedule.anchor, current.newest_fire)
        if fire is None:
            self.say(state("none_follows", schedule=explain_trigger(schedule.trigger)))
            return
        self.say(state(self._tense("next_fire", fire), due_at=fire))
        self.found.after = fire
        await self._explain_fire(fire)
        if current.newest_fire is not None and current.newest_fire - self._now > CLOCK_TOLERANCE:
            self.say(future_fire(schedule.trigger, current.newest_fire))

    async def _day(self, day: date) -> None:
        start, end = (start_of(one, self.zone) for one in (day, day + timedelta(days=1)))
        for change in changes_between(self.zone, start - SECOND, end):
            self.found.clock_change = change
            self.say(state("note", change=_clocks(change)))
        fires = explained = 0
        for schedule in self._history.schedules:
            if schedule.since >= end or (schedule.until is not None and schedule.until < start):
                continue
            for fire, count in await self._fires_between(schedule, start, end):
                fires += count
                if len(self.found.fires) < MOST_EXPLAINED:
                    explained += count
                    self.say(state("fire_of_day", due_at=fire))
                    await self._explain_fire(fire)
        if fires > explained:
            self.say(state("more_fires", count=fires - explained))
        if not fires:
            await self._no_fire(start, state("no_fire_on", day=day.isoformat()), end - SECOND)

    async def _wall_time(self, wall_time: datetime) -> None:
        change = change_at(self.zone, wall_time)
        if change is None:
            await self._instant(instants(self.zone, wall_time)[0])
            return
        self.found.clock_change = change
        schedule = self._history.schedule_at(change.at)
        if change.kind == "gap":
            self.say(state("never_shown", wall=f"{wall_time:%H:%M}", change=_clocks(change)))
            await self._in_gap(wall_time, change, schedule)
            return
        self.say(state("twice", wall=f"{wall_time:%H:%M}", change=_clocks(change)))
        both = instants(self.zone, wall_time)
        if schedule is not None and isinstance(schedule.trigger, CronTrigger) and schedule.trigger.has_fixed_times:
            self.say(state("fixed_first_pass"))
            both = both[:1]
        for instant in both:
            await self._instant(instant)

    async def _in_gap(self, wall_time: datetime, change: ClockChange, schedule: Schedule | None) -> None:
        trigger = schedule.trigger if schedule is not None else None
        if isinstance(trigger, CronTrigger) and trigger.names(wall_time):
            if trigger.has_fixed_times:
                self.say(state("fixed_in_gap", first_at=change.at))
                await self._instant(change.at)
                return
            self.say(state("elapsed_in_gap"))
        await self._no_fire(change.at - MICROSECOND, state("no_fire_at_wall", wall=wall_time.isoformat(" ", "minutes")))

    async def _instant(self, instant: datetime) -> None:
        if (late := self._added_too_late(instant)) is not None and isinstance(late.trigger, AtTrigger):
            self._note_schedule(late)
            self.say(state("due_before_added", job=late.job_id, due_at=late.trigger.at, added_at=late.since))
            await self._explain_fire(late.trigger.at)
            return
        schedule = self._history.schedule_at(instant)
        if schedule is None:
            self._explain_no_schedule(instant)
            return
        fire = await self._fire_at(schedule, instant)
        if fire is None:
            await self._no_fire(instant, state("no_fire_at", asked_at=instant))
            return
        self._note_schedule(schedule)
        self.say(state("is_due" if fire > self._now else "was_due", job=self.found.job_id, due_at=fire))
        self._explain_clocks(schedule, fire)
        await self._explain_fire(fire)

    def _added_too_late(self, instant: datetime) -> Schedule | None:
        """Return a schedule whose only fire was in the past when it was added; that fire is late but still due."""
        for schedule in self._history.schedules:
            at = schedule.trigger.at if isinstance(schedule.trigger, AtTrigger) else None
            if at is not None and at <= schedule.since and instant <= at < instant + width_of(instant):
                return schedule
        return None

    # --- fires ---

    async def _explain_fire(self, fire: datetime) -> None:
        explanation = await self._fire_explainer.explain(fire)
        self.found.fires.append(explanation)
        self.say(*explanation.statements)

    async def _fires_between(
        self, schedule: Schedule, start: datetime, end: datetime
    ) -> Iterable[tuple[datetime, int]]:
        """Return the fires of a schedule in a period, each with the number of fires that its outcome is explained for.

        Those of a job without a schedule that can be computed are in the log only.
        """
        if schedule.trigger is None:
            found = await fire_outcomes.outcomes_between(self._store, schedule.job_id, start, end, self._head)
            own = (outcome for outcome in found if schedule.holds(outcome.position))
            return [(one.first if start <= one.first < end else one.last, one.count) for one in own]
        chain = await self._chain(schedule, max(start, schedule.anchor))
        return ((fire, 1) for fire in takewhile(lambda fire: fire < end and schedule.covers(fire), chain))

    async def _chain(self, schedule: Schedule, start: datetime) -> Iterator[datetime]:
        """Iterate over the fires of a schedule from a moment on, as far as the schedule and the log determine them."""
        if schedule.trigger is None:
            return iter(())
        begin = schedule.fires_begin(start)
        if begin is None:
            known = await fire_outcomes.newest_outcome_before(self._store, schedule.job_id, start, self._head)
            if known is None or not schedule.holds(known.position):
                known = await fire_outcomes.find_outcome(self._store, schedule.job_id, schedule.since, self._head)
            if known is None or not schedule.holds(known.position):
                return iter(())
            begin = known.last, schedule.anchor
        return schedule.fires_from(start, *begin)

    async def _fire_at(self, schedule: Schedule, instant: datetime) -> datetime | None:
        """Return the fire at an instant, or the first one within the minute or the second that it stands for."""
        width = width_of(instant)
        if schedule.trigger is None:
            outcome = await fire_outcomes.find_outcome(self._store, schedule.job_id, instant, self._head)
            return outcome.last if outcome is not None and outcome.last < instant + width else None
        fire = next(await self._chain(schedule, instant), None)
        return fire if fire is not None and fire < instant + width and schedule.covers(fire) else None

    async def _fire_before(self, schedule: Schedule, instant: datetime) -> datetime | None:
        for back in LOOKS_BACK:
            start = max(instant - back, schedule.anchor)
            fires = list(takewhile(lambda fire: fire < instant, await self._chain(schedule, start)))
            if fires and schedule.covers(fires[-1]):
                return fires[-1]
            if start == schedule.anchor:
                break
        return None

    # --- where there is no fire ---

    async def _no_fire(self, instant: datetime, what: Statement, end: datetime | None = None) -> None:
        schedule = self._history.schedule_at(instant) or (self._history.schedule_at(end) if end is not None else None)
        if schedule is None:
            self._explain_no_schedule(instant)
            return
        self._note_schedule(schedule)
        if schedule.trigger is None:
            self.say(state("log_has", what=what, schedule=self._schedule_words(schedule)))
            return
        self.say(state("job_has", job=self.found.job_id, what=what, schedule=self._schedule_words(schedule)))
        self._explain_other_schedules(schedule)
        self._explain_clocks(schedule, instant)
        self.found.before = await self._fire_before(schedule, instant)
        following = (fire for fire in await self._chain(schedule, end or instant) if fire > (end or instant))
        self.found.after = next(following, None)
        if self.found.after is not None and not schedule.covers(self.found.after):
            self.found.after = None
        if self.found.before is not None:
            explanation = await self._fire_explainer.explain(self.found.before)
            self.say(state("fire_before", due_at=self.found.before, fate=explanation.fate))
        if self.found.after is not None:
            self.say(state(self._tense("fire_after", self.found.after), due_at=self.found.after))
        elif schedule.until is None:
            self.say(state("schedule_over"))
        self._explain_pause(instant)

    def _explain_no_schedule(self, instant: datetime, removed: str = "removed_without") -> None:
        """Explain that the job did not exist yet at a moment, or had been removed."""
        before = [s for s in self._history.schedules if s.until is not None and s.until < instant]
        after = [s for s in self._history.schedules if s.since >= instant]
        job_id = self._history.state.job_id
        if before:
            last = before[-1]
            by = who(last.ended_by, last.ended_reason)
            self.say(state(removed, job=job_id, removed_at=last.until, who=by))
        if after:
            by = who(after[0].actor, after[0].reason)
            self.say(state("added_again" if before else "added", job=job_id, added_at=after[0].since, who=by))

    def _explain_other_schedules(self, schedule: Schedule) -> None:
        """Mention that the schedule has been replaced since, in case the reader has the new one in mind."""
        now = self._history.schedules[-1]
        if now is not schedule and schedule.ending == "changed":
            by = who(schedule.ended_by, schedule.ended_reason)
            self.say(state("changed_since", until_at=schedule.until, who=by))
        elif isinstance(schedule.trigger, EveryTrigger):
            self.say(state("counted_from", anchor_at=schedule.anchor))

    def _explain_clocks(self, schedule: Schedule, instant: datetime) -> None:
        """Mention how a clock change affects a moment just after a gap, or in either pass of a repeated hour."""
        trigger, wall_time = schedule.trigger, instant.astimezone(self.zone).replace(tzinfo=None)
        if self.found.clock_change is not None or not isinstance(trigger, CronTrigger):
            return
        gap = next(iter(changes_between(self.zone, instant - SECOND, instant)), None)
        if gap is not None and gap.kind == "gap":
            self.found.clock_change = gap
            self.say(state("note", change=_clocks(gap)))
            if trigger.has_fixed_times and not trigger.names(wall_time):
                self.say(state("gap_here"))
            return
        repeat = change_at(self.zone, wall_time)
        if repeat is not None and repeat.kind == "repeat":
            self.found.clock_change = repeat
            code = "twice_first" if instant < repeat.at else "twice_second"
            rule = state("in_first_pass" if trigger.has_fixed_times else "in_both_passes")
            self.say(state(code, wall=f"{wall_time:%H:%M}", change=_clocks(repeat), rule=rule))

    def _explain_pause(self, instant: datetime) -> None:
        current = self._history.state
        if current.paused_at is not None and instant >= current.paused_at:
            self.found.pause = self._history.pauses[-1] if self._history.pauses else None
            by = who(current.paused_by, current.paused_reason)
            self.say(state("paused_since", since_at=current.paused_at, who=by))

    def _tense(self, code: str, fire: datetime) -> str:
        return f"{code}_is" if fire > self._now else f"{code}_was"

    def _note_schedule(self, schedule: Schedule) -> None:
        text = explain_trigger(schedule.trigger) if schedule.trigger is not None else "none"
        self.found.schedule = ScheduleFact(text, schedule.since, schedule.until, schedule.problem)

    def _schedule_words(self, schedule: Schedule) -> Statement:
        if schedule.problem is not None:
            return state("fires_unknown", problem=schedule.problem)
        if schedule.trigger is None:
            after = schedule.job.after if schedule.job is not None else []
            return state("runs_after", jobs=" and ".join(after)) if after else state("only_triggered")
        return state("schedule_is", schedule=explain_trigger(schedule.trigger))


def _clocks(change: ClockChange) -> Statement:
    """Return how the clocks of a zone change, with its wall times as text."""
    is_gap = change.kind == "gap"
    first, then = (change.first, change.last) if is_gap else (change.last, change.first)
    names = {"zone": change.timezone, "before": change.before, "after": change.after}
    walls = {"day": f"{change.first:%Y-%m-%d}", "first": f"{first:%H:%M}", "then": f"{then:%H:%M}"}
    return state("clocks_forward" if is_gap else "clocks_back", **names, **walls)


def _asked(moment: datetime | date | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _zone_at(history: ScheduleHistory, moment: datetime | date | None) -> tzinfo:
    """Return the zone of the job's schedule at a moment."""
    schedules = history.schedules
    if isinstance(moment, datetime):
        about = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        schedules = [s for s in schedules if s.since <= about] or schedules[:1]
    name = schedules[-1].definition.get("timezone") if schedules else None
    return timezone_or_utc(name)
