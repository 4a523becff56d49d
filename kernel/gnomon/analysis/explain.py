"""Explain from the log, in plain sentences, why a job ran, ran late, did not run or will not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import takewhile

from gnomon.analysis import fire_outcomes
from gnomon.analysis.asked_time import MINUTE, SECOND, start_of, width_of
from gnomon.analysis.fire_explanation import FireExplainer, future_fire_words
from gnomon.analysis.imported_runs import explain_imported, imported_words
from gnomon.analysis.schedule_history import Schedule, ScheduleHistory, read_history
from gnomon.analysis.triggered_runs import explain_triggered, first_attempt, triggered_words
from gnomon.domain import events
from gnomon.domain.execution import Execution
from gnomon.durations import MICROSECOND
from gnomon.errors import UnknownExecutionError, UnknownJobError
from gnomon.explanations import Explanation, ScheduleFact
from gnomon.ports import Store
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.timezones import ClockChange, change_at, changes_between, instants, timezone_or_utc
from gnomon.scheduling.triggers import AtTrigger, EveryTrigger, explain_trigger
from gnomon.stores.reading import newest_time
from gnomon.text import close_match, length

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
            return Explanation(job_id=job_id, timezone="UTC", asked=_asked(moment), sentences=imported)
        raise UnknownJobError(job_id, close_match(job_id, states))
    explainer = _Explainer(store, read_history(stream, states[job_id]), moment, head, now)
    await explainer.explain(moment)
    explainer.say(*await explain_imported(store, job_id, moment, explainer.zone))
    explainer.say(*await explain_triggered(store, job_id, moment, explainer.zone))
    newest = await newest_time(store, now)
    if newest is not None and newest - now > CLOCK_TOLERANCE:
        explainer.say(
            f"The clock of this machine is {length(newest - now)} behind the newest event of the log, which is from "
            f"{explainer.when(newest)}: the job may not fire until it has caught up. Set the clock, or wait."
        )
    return explainer.found


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
        sentences = [imported_words(run, UTC)] if run.imported_from is not None else []
        return Explanation(job_id=run.job_id, timezone="UTC", asked=run.id, sentences=sentences)
    state = next(iter(await store.jobs([run.job_id])), None)
    explainer = _Explainer(store, read_history(stream, state), first.scheduled_time, head, now)
    explainer.found.asked = run.id
    await explainer.explain_run(first)
    return explainer.found


class _Explainer:
    def __init__(
        self, store: Store, history: ScheduleHistory, moment: datetime | date | None, head: int, now: datetime
    ) -> None:
        self._store = store
        self._history = history
        self._head = head
        self._now = now
        self.zone = _zone_at(history, moment)
        self._fire_explainer = FireExplainer(store, history, self.zone, head, now)
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
            self.say(f"{run.job_id} was due at {self.when(run.scheduled_time)}.")
            await self._explain_fire(run.scheduled_time)
            return
        self.say(await triggered_words(self._store, run, self.when))
        explanation = await self._fire_explainer.explain_triggered(run)
        self.found.fires.append(explanation)
        self.say(*explanation.sentences)

    def say(self, *sentences: str) -> None:
        self.found.sentences += sentences

    def when(self, at: datetime | None) -> str:
        return self._fire_explainer.when(at)

    # --- questions ---

    async def _last_and_next(self) -> None:
        state = self._history.state
        if state.newest_fire is not None:
            self.say(f"The last fire of {state.job_id} was due at {self.when(state.newest_fire)}.")
            await self._explain_fire(state.newest_fire)
        else:
            self.say(f"{state.job_id} has not had a fire yet.")
        schedule = self._history.schedules[-1] if self._history.schedules else None
        if schedule is None or state.removed:
            self._explain_no_schedule(self._now, "so no fire follows")
            return
        self._note_schedule(schedule)
        if schedule.trigger is None:
            self.say(self._schedule_words(schedule))
            return
        fire = next_fire(schedule.trigger, state.last_fire, schedule.anchor, state.newest_fire)
        if fire is None:
            self.say(f"No fire follows: its schedule, {explain_trigger(schedule.trigger)}, has ended.")
            return
        self.say(f"The next fire {self._is_due(fire)} at {self.when(fire)}.")
        self.found.after = fire
        await self._explain_fire(fire)
        if state.newest_fire is not None and state.newest_fire - self._now > CLOCK_TOLERANCE:
            self.say(future_fire_words(schedule.trigger, self.when(state.newest_fire)))

    async def _day(self, day: date) -> None:
        start, end = (start_of(one, self.zone) for one in (day, day + timedelta(days=1)))
        for change in changes_between(self.zone, start - SECOND, end):
            self.found.clock_change = change
            self.say(f"Note that {change}.")
        fires = explained = 0
        for schedule in self._history.schedules:
            if schedule.since >= end or (schedule.until is not None and schedule.until < start):
                continue
            for fire, count in await self._fires_between(schedule, start, end):
                fires += count
                if len(self.found.fires) < MOST_EXPLAINED:
                    explained += count
                    self.say(f"{self.when(fire)}:")
                    await self._explain_fire(fire)
        if fires > explained:
            self.say(f"{fires - explained} more fires on that day; ask about one by its time.")
        if not fires:
            await self._no_fire(start, f"no fire on {day.isoformat()}", end - SECOND)

    async def _wall_time(self, wall_time: datetime) -> None:
        change = change_at(self.zone, wall_time)
        if change is None:
            await self._instant(instants(self.zone, wall_time)[0])
            return
        self.found.clock_change = change
        schedule = self._history.schedule_at(change.at)
        if change.kind == "gap":
            self.say(f"The clocks never show {wall_time:%H:%M} on that day: {change}.")
            await self._in_gap(wall_time, change, schedule)
            return
        self.say(f"{wall_time:%H:%M} occurs twice on that day: {change}.")
        both = instants(self.zone, wall_time)
        if schedule is not None and isinstance(schedule.trigger, CronTrigger) and schedule.trigger.has_fixed_times:
            self.say("The schedule has fixed times of the day, so it fires in the first pass only.")
            both = both[:1]
        for instant in both:
            await self._instant(instant)

    async def _in_gap(self, wall_time: datetime, change: ClockChange, schedule: Schedule | None) -> None:
        trigger = schedule.trigger if schedule is not None else None
        if isinstance(trigger, CronTrigger) and trigger.names(wall_time):
            if trigger.has_fixed_times:
                self.say(
                    "The schedule has fixed times of the day: those that the clocks skip fire once, together, at the "
                    f"first instant after the gap, {self.when(change.at)}."
                )
                await self._instant(change.at)
                return
            self.say("The schedule follows elapsed time, so it does not fire at times that the clocks skip.")
        await self._no_fire(change.at - MICROSECOND, f"no fire at {wall_time.isoformat(' ', 'minutes')}")

    async def _instant(self, instant: datetime) -> None:
        if (late := self._added_too_late(instant)) is not None and isinstance(late.trigger, AtTrigger):
            self._note_schedule(late)
            self.say(
                f"{late.job_id} was due at {self.when(late.trigger.at)}, but that was added at {self.when(late.since)}."
            )
            await self._explain_fire(late.trigger.at)
            return
        schedule = self._history.schedule_at(instant)
        if schedule is None:
            self._explain_no_schedule(instant)
            return
        fire = await self._fire_at(schedule, instant)
        if fire is None:
            await self._no_fire(instant, f"no fire at {self.when(instant)}")
            return
        self._note_schedule(schedule)
        self.say(f"{self.found.job_id} {self._is_due(fire)} at {self.when(fire)}.")
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
        self.say(*explanation.sentences)

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

    async def _no_fire(self, instant: datetime, what: str, end: datetime | None = None) -> None:
        schedule = self._history.schedule_at(instant) or (self._history.schedule_at(end) if end is not None else None)
        if schedule is None:
            self._explain_no_schedule(instant)
            return
        self._note_schedule(schedule)
        if schedule.trigger is None:
            self.say(f"The log has {what}. {self._schedule_words(schedule)}")
            return
        self.say(f"{self.found.job_id} has {what}. {self._schedule_words(schedule)}")
        self._explain_other_schedules(schedule)
        self._explain_clocks(schedule, instant)
        self.found.before = await self._fire_before(schedule, instant)
        following = (fire for fire in await self._chain(schedule, end or instant) if fire > (end or instant))
        self.found.after = next(following, None)
        if self.found.after is not None and not schedule.covers(self.found.after):
            self.found.after = None
        if self.found.before is not None:
            explanation = await self._fire_explainer.explain(self.found.before)
            self.say(f"The fire before was at {self.when(self.found.before)} ({explanation.fate}).")
        if self.found.after is not None:
            self.say(f"The fire after {self._is_due(self.found.after)} at {self.when(self.found.after)}.")
        elif schedule.until is None:
            self.say("No fire follows: the schedule has ended.")
        self._explain_pause(instant)

    def _explain_no_schedule(self, instant: datetime, so: str = "so it had no fire") -> None:
        """Explain that the job did not exist yet at a moment, or had been removed."""
        before = [s for s in self._history.schedules if s.until is not None and s.until < instant]
        after = [s for s in self._history.schedules if s.since >= instant]
        job_id = self._history.state.job_id
        if before:
            last = before[-1]
            who = _actor_words(last.ended_by, last.ended_reason)
            self.say(f"{job_id} was removed at {self.when(last.until)} by {who}, {so}.")
        if after:
            who, again = _actor_words(after[0].actor, after[0].reason), "again " if before else ""
            self.say(f"{job_id} was added {again}at {self.when(after[0].since)} by {who}, and had no fires before.")

    def _explain_other_schedules(self, schedule: Schedule) -> None:
        """Mention that the schedule has been replaced since, in case the reader has the new one in mind."""
        now = self._history.schedules[-1]
        if now is not schedule and schedule.ending == "changed":
            who = _actor_words(schedule.ended_by, schedule.ended_reason)
            self.say(f"This was the schedule until {self.when(schedule.until)}, when it was changed by {who}.")
        elif isinstance(schedule.trigger, EveryTrigger):
            self.say(f"Its fires are counted from {self.when(schedule.anchor)}.")

    def _explain_clocks(self, schedule: Schedule, instant: datetime) -> None:
        """Mention how a clock change affects a moment just after a gap, or in either pass of a repeated hour."""
        trigger, wall_time = schedule.trigger, instant.astimezone(self.zone).replace(tzinfo=None)
        if self.found.clock_change is not None or not isinstance(trigger, CronTrigger):
            return
        gap = next(iter(changes_between(self.zone, instant - SECOND, instant)), None)
        if gap is not None and gap.kind == "gap":
            self.found.clock_change = gap
            self.say(f"Note that {gap}.")
            if trigger.has_fixed_times and not trigger.names(wall_time):
                self.say(
                    "Fixed times of the day that the clocks skip fire at the first instant after the gap: this one."
                )
            return
        repeat = change_at(self.zone, wall_time)
        if repeat is not None and repeat.kind == "repeat":
            self.found.clock_change = repeat
            which = "first" if instant < repeat.at else "second"
            rule = "fires in the first pass only" if trigger.has_fixed_times else "fires in both passes"
            self.say(f"{wall_time:%H:%M} occurs twice, as {repeat}. This is the {which} time, and the schedule {rule}.")

    def _explain_pause(self, instant: datetime) -> None:
        state = self._history.state
        if state.paused_at is not None and instant >= state.paused_at:
            self.found.pause = self._history.pauses[-1] if self._history.pauses else None
            who = _actor_words(state.paused_by, state.paused_reason)
            self.say(f"The job has been paused since {self.when(state.paused_at)} by {who}.")

    def _is_due(self, fire: datetime) -> str:
        return "is due" if fire > self._now else "was due"

    def _note_schedule(self, schedule: Schedule) -> None:
        text = explain_trigger(schedule.trigger) if schedule.trigger is not None else "none"
        self.found.schedule = ScheduleFact(text, schedule.since, schedule.until, schedule.problem)

    def _schedule_words(self, schedule: Schedule) -> str:
        if schedule.problem is not None:
            return f"Its fires cannot be computed: {schedule.problem}."
        if schedule.trigger is None:
            after = schedule.job.after if schedule.job is not None else []
            if after:
                return f"The job has no schedule: it runs after {' and '.join(after)}."
            return "The job has no schedule: it runs only when it is triggered."
        return f"The schedule is: {explain_trigger(schedule.trigger)}."


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


def _actor_words(actor: str | None, reason: str | None) -> str:
    return f"{actor or 'someone'}{f' ({reason})' if reason else ''}"
