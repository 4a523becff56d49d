"""Why a job ran, ran late, did not run or will not: told from the log, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import takewhile

import msgspec

from gnomon.analysis import fire_outcomes as ledger
from gnomon.analysis.fire_explanation import FireExplainer, FireExplanation
from gnomon.analysis.schedule_history import MICROSECOND, Pause, Schedule, ScheduleHistory, read_past
from gnomon.domain import events
from gnomon.errors import TriggerError, UnknownJobError
from gnomon.ports import Store
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.timezones import ClockChange, change_at, changes_between, instants, parse_timezone
from gnomon.scheduling.triggers import AtTrigger, EveryTrigger, explain_trigger
from gnomon.text import close_match

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
LOOKS_BACK = (MINUTE, timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=367 * 5))
"""How far back the fire before a moment is looked for, step by step: no trigger can be asked backwards."""
MOST_STORIES = 12
"""Fires of one day that are told one by one; the others are counted."""


class ScheduleFact(msgspec.Struct, frozen=True):
    """The schedule that was, or is, in force: in words, and from when to when."""

    text: str
    since: datetime
    until: datetime | None
    problem: str | None


class Explanation(msgspec.Struct, kw_only=True):
    """What the log tells of a job at a time: `sentences` for people, and the facts that they stand on.

    `asked` is the time as it was asked for, None for «the last and the next». `fires` are those of that time; without
    any, `before` and `after` are the nearest ones. `clock_change` is set where the clocks of the zone matter.
    """

    job_id: str
    timezone: str
    asked: str | None
    sentences: list[str] = []
    fires: list[FireExplanation] = []
    before: datetime | None = None
    after: datetime | None = None
    schedule: ScheduleFact | None = None
    clock_change: ClockChange | None = None
    pause: Pause | None = None


async def explain(store: Store, job_id: str, moment: datetime | date | None, now: datetime) -> Explanation:
    """Explain what became of a job at a moment, on a day, or without either lately and next.

    A naive moment is a wall time of the job's zone, a date a day there. A moment on the whole minute or second means
    the first fire within it. The store may be open for reading only. UnknownJobError.
    """
    head = await store.head()
    states = {state.job_id: state for state in await store.jobs()}
    stream = [e for e in await store.stream(events.job_stream(job_id)) if e.position <= head]
    if job_id not in states or not stream:
        raise UnknownJobError(job_id, close_match(job_id, states))
    explainer = _Explainer(store, read_past(stream, states[job_id]), moment, head, now)
    await explainer.explain(moment)
    return explainer.found


class _Explainer:
    def __init__(
        self, store: Store, past: ScheduleHistory, moment: datetime | date | None, head: int, now: datetime
    ) -> None:
        self._store = store
        self._past = past
        self._head = head
        self._now = now
        self.zone = _zone_at(past, moment)
        self._teller = FireExplainer(store, past, self.zone, head, now)
        self.found = Explanation(
            job_id=past.state.job_id,
            timezone=str(self.zone),
            asked=moment.isoformat() if moment is not None else None,
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

    def say(self, *sentences: str) -> None:
        self.found.sentences += sentences

    def when(self, at: datetime | None) -> str:
        return self._teller.when(at)

    # --- what may be asked ---

    async def _last_and_next(self) -> None:
        state = self._past.state
        if state.newest_fire is not None:
            self.say(f"The last fire of {state.job_id} was due at {self.when(state.newest_fire)}.")
            await self._tell(state.newest_fire)
        else:
            self.say(f"{state.job_id} has not had a fire yet.")
        schedule = self._past.schedules[-1] if self._past.schedules else None
        if schedule is None or state.removed:
            self._tell_no_schedule(self._now)
            return
        self._note_schedule(schedule)
        if schedule.trigger is None:
            self.say(self._schedule_words(schedule))
            return
        fire = next_fire(schedule.trigger, state.last_fire, schedule.anchor, state.newest_fire)
        if fire is None:
            self.say(f"No other fire will come: its schedule, {explain_trigger(schedule.trigger)}, is at its end.")
            return
        self.say(f"The next fire {self._is_due(fire)} at {self.when(fire)}.")
        self.found.after = fire
        await self._tell(fire)

    async def _day(self, day: date) -> None:
        start, end = (_start_of(one, self.zone) for one in (day, day + timedelta(days=1)))
        for change in changes_between(self.zone, start - SECOND, end):
            self.found.clock_change = change
            self.say(f"Mind that {change}.")
        fires = 0
        for schedule in self._past.schedules:
            if schedule.since >= end or (schedule.until is not None and schedule.until < start):
                continue
            chain = await self._chain(schedule, max(start, schedule.anchor))
            for fire in takewhile(lambda fire: fire < end and schedule.covers(fire), chain):  # noqa: B023 - used up here
                fires += 1
                if fires <= MOST_STORIES:
                    self.say(f"{self.when(fire)}:")
                    await self._tell(fire)
        if fires > MOST_STORIES:
            self.say(f"{fires - MOST_STORIES} more fires on that day; ask for one by its time.")
        if not fires:
            await self._no_fire(start, f"no fire on {day.isoformat()}", end - SECOND)

    async def _wall_time(self, wall_time: datetime) -> None:
        change = change_at(self.zone, wall_time)
        if change is None:
            await self._instant(instants(self.zone, wall_time)[0])
            return
        self.found.clock_change = change
        schedule = self._past.schedule_at(change.at)
        if change.kind == "gap":
            self.say(f"There is no {wall_time:%H:%M} on that day: {change}.")
            await self._in_gap(wall_time, change, schedule)
            return
        self.say(f"{wall_time:%H:%M} comes twice on that day: {change}.")
        both = instants(self.zone, wall_time)
        if schedule is not None and isinstance(schedule.trigger, CronTrigger) and schedule.trigger.has_fixed_times:
            self.say("The schedule means times of the day, so it fires at the first pass only.")
            both = both[:1]
        for instant in both:
            await self._instant(instant)

    async def _in_gap(self, wall_time: datetime, change: ClockChange, schedule: Schedule | None) -> None:
        trigger = schedule.trigger if schedule is not None else None
        if isinstance(trigger, CronTrigger) and trigger.names(wall_time):
            if trigger.has_fixed_times:
                self.say(
                    "The schedule means times of the day: those that clocks skip fire once, together, at the first "
                    f"instant after, {self.when(change.at)}."
                )
                await self._instant(change.at)
                return
            self.say("The schedule follows elapsed time, and so does not fire at times that clocks skip.")
        await self._no_fire(change.at - MICROSECOND, f"no fire at {wall_time.isoformat(' ', 'minutes')}")

    async def _instant(self, instant: datetime) -> None:
        if (late := self._added_too_late(instant)) is not None and isinstance(late.trigger, AtTrigger):
            self._note_schedule(late)
            self.say(
                f"{late.job_id} was due at {self.when(late.trigger.at)}, but that was added at {self.when(late.since)}."
            )
            await self._tell(late.trigger.at)
            return
        schedule = self._past.schedule_at(instant)
        if schedule is None:
            self._tell_no_schedule(instant)
            return
        fire = await self._fire_at(schedule, instant)
        if fire is None:
            await self._no_fire(instant, f"no fire at {self.when(instant)}")
            return
        self._note_schedule(schedule)
        self.say(f"{self.found.job_id} {self._is_due(fire)} at {self.when(fire)}.")
        self._tell_clocks(schedule, fire)
        await self._tell(fire)

    def _added_too_late(self, instant: datetime) -> Schedule | None:
        """Return a schedule of one fire that was past when it was added: it is late, and due all the same."""
        for schedule in self._past.schedules:
            at = schedule.trigger.at if isinstance(schedule.trigger, AtTrigger) else None
            if at is not None and at <= schedule.since and instant <= at < instant + _width(instant):
                return schedule
        return None

    # --- fires ---

    async def _tell(self, fire: datetime) -> None:
        story = await self._teller.tell(fire)
        self.found.fires.append(story)
        self.say(*story.sentences)

    async def _chain(self, schedule: Schedule, start: datetime) -> Iterator[datetime]:
        """Iterate over the fires of a schedule from a moment on, as far as schedule and log let them be known."""
        if schedule.trigger is None:
            return iter(())
        begin = schedule.fires_begin(start)
        if begin is None:
            known = await ledger.newest_before(self._store, schedule.job_id, start, self._head)
            if known is None or not schedule.holds(known.position):
                known = await ledger.outcome_of(self._store, schedule.job_id, schedule.since, self._head)
            if known is None or not schedule.holds(known.position):
                return iter(())
            begin = known.last, schedule.anchor
        return _fires_from(schedule, start, *begin)

    async def _fire_at(self, schedule: Schedule, instant: datetime) -> datetime | None:
        """Find the fire at an instant, or the first one within the minute or the second that it names."""
        width = _width(instant)
        if schedule.trigger is None:
            entry = await ledger.outcome_of(self._store, schedule.job_id, instant, self._head)
            return entry.last if entry is not None and entry.last < instant + width else None
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
        schedule = self._past.schedule_at(instant) or (self._past.schedule_at(end) if end is not None else None)
        if schedule is None:
            self._tell_no_schedule(instant)
            return
        self._note_schedule(schedule)
        if schedule.trigger is None:
            self.say(f"There is {what} in the log. {self._schedule_words(schedule)}")
            return
        self.say(f"There is {what}. {self._schedule_words(schedule)}")
        self._tell_other_schedules(schedule)
        self._tell_clocks(schedule, instant)
        self.found.before = await self._fire_before(schedule, instant)
        following = (fire for fire in await self._chain(schedule, end or instant) if fire > (end or instant))
        self.found.after = next(following, None)
        if self.found.after is not None and not schedule.covers(self.found.after):
            self.found.after = None
        if self.found.before is not None:
            story = await self._teller.tell(self.found.before)
            self.say(f"The fire before was at {self.when(self.found.before)} ({story.fate}).")
        if self.found.after is not None:
            self.say(f"The fire after {self._is_due(self.found.after)} at {self.when(self.found.after)}.")
        elif schedule.until is None:
            self.say("No fire comes after: the schedule is at its end.")
        self._tell_pause(instant)

    def _tell_no_schedule(self, instant: datetime) -> None:
        """Say that the job did not exist at a moment, or does not any more."""
        before = [s for s in self._past.schedules if s.until is not None and s.until < instant]
        after = [s for s in self._past.schedules if s.since >= instant]
        job_id = self._past.state.job_id
        if before:
            last = before[-1]
            who = _who(last.ended_by, last.ended_reason)
            self.say(f"{job_id} was removed at {self.when(last.until)} by {who}, so there was nothing to fire.")
        if after:
            who, again = _who(after[0].actor, after[0].reason), "again " if before else ""
            self.say(f"{job_id} was added {again}at {self.when(after[0].since)} by {who}, and had no fires before.")

    def _tell_other_schedules(self, schedule: Schedule) -> None:
        """Say that the schedule is another one now, which may be the one that somebody has in mind."""
        now = self._past.schedules[-1]
        if now is not schedule and schedule.ending == "changed":
            who = _who(schedule.ended_by, schedule.ended_reason)
            self.say(f"It was the schedule until {self.when(schedule.until)}, when it was changed by {who}.")
        elif isinstance(schedule.trigger, EveryTrigger):
            self.say(f"It is counted from {self.when(schedule.anchor)} on.")

    def _tell_clocks(self, schedule: Schedule, instant: datetime) -> None:
        """Say what a clock change has to do with a moment: just after a gap, or in either pass of a repeat."""
        trigger, wall_time = schedule.trigger, instant.astimezone(self.zone).replace(tzinfo=None)
        if self.found.clock_change is not None or not isinstance(trigger, CronTrigger):
            return
        gap = next(iter(changes_between(self.zone, instant - SECOND, instant)), None)
        if gap is not None and gap.kind == "gap":
            self.found.clock_change = gap
            self.say(f"Mind that {gap}.")
            if trigger.has_fixed_times and not trigger.names(wall_time):
                self.say("Times of the day that the clocks skip fire at the first instant after: this one.")
            return
        repeat = change_at(self.zone, wall_time)
        if repeat is not None and repeat.kind == "repeat":
            self.found.clock_change = repeat
            which = "first" if instant < repeat.at else "second"
            rule = "fires at the first only" if trigger.has_fixed_times else "fires at both"
            self.say(f"{wall_time:%H:%M} comes twice, as {repeat}. This is the {which} one, and the schedule {rule}.")

    def _tell_pause(self, instant: datetime) -> None:
        state = self._past.state
        if state.paused_at is not None and instant >= state.paused_at:
            self.found.pause = self._past.pauses[-1] if self._past.pauses else None
            who = _who(state.paused_by, state.paused_reason)
            self.say(f"The job is paused since {self.when(state.paused_at)} by {who}.")

    def _is_due(self, fire: datetime) -> str:
        return "is due" if fire > self._now else "was due"

    def _note_schedule(self, schedule: Schedule) -> None:
        text = explain_trigger(schedule.trigger) if schedule.trigger is not None else "none"
        self.found.schedule = ScheduleFact(text, schedule.since, schedule.until, schedule.problem)

    def _schedule_words(self, schedule: Schedule) -> str:
        if schedule.problem is not None:
            return f"When it was due cannot be told: {schedule.problem}."
        if schedule.trigger is None:
            return "The job has no schedule: it runs only when somebody triggers it."
        return f"The schedule is: {explain_trigger(schedule.trigger)}."


def _width(instant: datetime) -> timedelta:
    """Tell how long the time is that an instant means, as it was written: a minute, a second, or itself."""
    return MICROSECOND if instant.microsecond else SECOND if instant.second else MINUTE


def _fires_from(
    schedule: Schedule, start: datetime, last_fire: datetime | None, anchor: datetime
) -> Iterator[datetime]:
    assert schedule.trigger is not None  # noqa: S101 - asked for before
    fire = next_fire(schedule.trigger, last_fire, anchor)
    while fire is not None:
        if fire >= start:
            yield fire
        fire = next_fire(schedule.trigger, fire, anchor)


def _start_of(day: date, zone: tzinfo) -> datetime:
    """Return the first instant of a day, which is not midnight where clocks skip that."""
    wall_time = datetime.combine(day, time())
    found = instants(zone, wall_time)
    change = change_at(zone, wall_time)
    return found[0] if found or change is None else change.at


def _zone_at(past: ScheduleHistory, moment: datetime | date | None) -> tzinfo:
    """Return the zone in which the job's schedule was written at a moment."""
    schedules = past.schedules
    if isinstance(moment, datetime):
        about = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        schedules = [s for s in schedules if s.since <= about] or schedules[:1]
    name = schedules[-1].definition.get("timezone") if schedules else None
    try:
        return parse_timezone(name or "UTC")
    except TriggerError:
        return UTC


def _who(actor: str | None, reason: str | None) -> str:
    return f"{actor or 'somebody'}{f' ({reason})' if reason else ''}"
