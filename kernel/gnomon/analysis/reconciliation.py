"""The fires of one job laid beside its outcomes in the log: pure, and in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from gnomon.analysis.fire_outcomes import EVER, FireOutcome, Mark
from gnomon.analysis.schedule_history import MICROSECOND, Schedule, ScheduleHistory
from gnomon.scheduling.catch_up import fires, next_fire
from gnomon.scheduling.triggers import Trigger

Problem = Literal["no_outcome", "two_outcomes", "not_named", "wrong_count"]
Openness = Literal["paused", "undecided", "forgotten"]

MOST_FINDINGS = 100
"""Findings of one job that are told; the rest is counted."""


class Finding(msgspec.Struct, frozen=True):
    """What contradicts the promise: `count` fires from `first` to `last`, and the executions that it is about."""

    problem: Problem
    first: datetime
    last: datetime
    count: int
    detail: str
    executions: list[str] = []


class OpenFires(msgspec.Struct, frozen=True):
    """Fires without an outcome that contradict nothing; `detail` says why not.

    paused: held back, decided when the job is resumed. undecided: nothing proves that a kernel has come to them.
    forgotten: from a time of which the log was pruned.
    """

    reason: Openness
    first: datetime
    last: datetime
    count: int
    detail: str


class Unproved(msgspec.Struct, frozen=True):
    """A time for which nobody can say when the job should have fired; its `entries` in the log were not compared."""

    since: datetime
    until: datetime | None
    entries: int
    reason: str


class JobAudit(msgspec.Struct, kw_only=True):
    """What was found of one job: `fires` have exactly one outcome each, and of them `missed` did not run."""

    job_id: str
    fires: int = 0
    missed: int = 0
    findings: list[Finding] = []
    more_findings: int = 0
    open: list[OpenFires] = []
    unproved: list[Unproved] = []


class Span(msgspec.Struct):
    """The fires that are looked at, since <= fire <= until, and what is known of the log as a whole."""

    since: datetime
    until: datetime
    decided_until: datetime | None = None
    marks: Sequence[Mark] = ()
    pruned_until: datetime | None = None

    def reaches(self, schedule: Schedule) -> bool:
        """Whether a schedule was still in force when the time that is looked at began.

        When it began says nothing: where the clock was set back, or a fire was past when it was added, it began later.
        """
        return schedule.until is None or schedule.until >= self.since

    def is_decided(self, fire: datetime, position: int) -> bool:
        """Whether a kernel has surely come to the fire of a job that was in its timetable from `position` on."""
        if self.decided_until is not None and fire <= self.decided_until:
            return True
        return any(mark.position > position and fire < mark.due for mark in self.marks)


class FireReconciler:
    """Takes the outcomes of one job as they come, and compares them with its fires.

    They come in the order of the fires, or something is wrong. Those out of order are put aside as `strays`; a second
    proof that is given them takes them in at their places. Which schedule one belongs to is told by its position.
    """

    def __init__(
        self, job_id: str, past: ScheduleHistory | None, span: Span, strays: Sequence[FireOutcome] = ()
    ) -> None:
        self.audit = JobAudit(job_id=job_id)
        self.past = past
        self.strays: list[FireOutcome] = []
        self._span = span
        self._known_strays = list(strays)
        self._schedules = [s for s in past.schedules if span.reaches(s)] if past is not None else []
        self._walk: _Walk | None = None
        self._newest: datetime | None = None
        self._position = 0
        self._before: FireOutcome | None = None

    @property
    def is_doubtful(self) -> bool:
        """Whether a second look may find something else."""
        return bool(self.strays or self.audit.findings)

    def take(self, entry: FireOutcome) -> None:
        """Take the next outcome of the log."""
        if entry.first > self._span.until:
            return
        if self._is_stray(entry):
            self.strays.append(entry)
            return
        walk = self._walk_at(entry.position)
        self._newest, self._position = entry.last, entry.position
        self._compare_strays(entry.first)
        self._compare(walk, entry)

    def finish(self) -> JobAudit:
        """Say what is left when the log is at its end."""
        while self._schedules or self._walk is not None:
            self._walk_on()
        for stray in self._known_strays:
            self._compare(None, stray)
        return self.audit

    def _is_stray(self, entry: FireOutcome) -> bool:
        # What is in the log before its time is no measure of the order either.
        is_late = self._newest is not None and entry.first <= self._newest
        return is_late or entry.first > entry.at or entry.position < self._position

    def _compare_strays(self, until: datetime) -> None:
        """Compare the strays of the schedule in hand that are in the order of fires before an outcome."""
        while (walk := self._walk) is not None:
            strays = (stray for stray in self._known_strays if walk.schedule.holds(stray.position))
            stray = min(strays, key=_first, default=None)
            if stray is None or stray.first > until:
                return
            self._known_strays.remove(stray)
            self._compare(walk, stray)

    def _compare(self, walk: _Walk | None, entry: FireOutcome) -> None:
        if walk is None:
            self._find("not_named", entry, f"the job had no schedule then, and {_words(entry)}")
            return
        if self._before is not None and entry.first <= self._before.last:
            self._compare_second(walk, self._before, entry)
            return
        self._before = entry
        if walk.trigger is None:
            walk.entries += 1
            return
        walk.begin(entry.first)
        if walk.next is not None and walk.next < entry.first:
            self._miss(walk, entry.first)
        if walk.next != entry.first:
            self._find("not_named", entry, f"the schedule names no such time, and {_words(entry)}")
        else:
            self._compare_first(walk, entry)

    def _compare_first(self, walk: _Walk, entry: FireOutcome) -> None:
        count, last = walk.skip(entry.last)
        if last != entry.last:
            self._find("not_named", entry, f"the schedule does not name the end of the range: {_words(entry)}")
        elif count != entry.count:
            self._find("wrong_count", entry, f"{_words(entry)}, and counts {entry.count} fires where {count} were due")
        else:
            self.audit.fires += count
            self.audit.missed += count if entry.missed else 0

    def _compare_second(self, walk: _Walk, before: FireOutcome, entry: FireOutcome) -> None:
        if walk.names(entry.first, before.first):
            self._find("two_outcomes", entry, f"{_words(before)}, and {_words(entry)}", before.execution_id)
        else:
            self._find("not_named", entry, f"the schedule names no such time, and {_words(entry)}")

    # --- schedules, one after the other ---

    def _walk_at(self, position: int) -> _Walk | None:
        """Go on to the schedule that was in force at a position of the log; None where there was none."""
        while self._schedules and self._schedules[0].position < position:
            self._walk_on()
        return self._walk if self._walk is not None and self._walk.schedule.holds(position) else None

    def _walk_on(self) -> None:
        """Finish with the schedule in hand, and begin the next one."""
        if self._walk is not None:
            self._compare_strays(EVER)
            self._leave(self._walk)
            self._walk = None
        if self._schedules:
            self._walk = _Walk(self._schedules.pop(0), self._span.since, self._newest)

    def _leave(self, walk: _Walk) -> None:
        walk.begin(None)
        self._miss(walk, None)
        if walk.problem is not None:
            schedule = walk.schedule
            self.audit.unproved.append(Unproved(schedule.since, schedule.until, walk.entries, walk.problem))

    def _miss(self, walk: _Walk, before: datetime | None) -> None:
        """Note the fires without an outcome before another fire; with None those up to the end of the schedule."""
        gaps = _Gaps(self._span, self.past, walk.schedule, is_tail=before is None)
        until = min(self._span.until, walk.schedule.until or EVER) if before is None else before - MICROSECOND
        while walk.next is not None and walk.next <= until:
            gaps.add(walk.next)
            walk.advance()
        for gap in gaps.found:
            if isinstance(gap, OpenFires):
                self.audit.open.append(gap)
            else:
                self._keep(gap)

    def _find(self, problem: Problem, entry: FireOutcome, detail: str, *others: str) -> None:
        self._keep(Finding(problem, entry.first, entry.last, entry.count, detail, [*others, entry.execution_id]))

    def _keep(self, finding: Finding) -> None:
        if len(self.audit.findings) < MOST_FINDINGS:
            self.audit.findings.append(finding)
        else:
            self.audit.more_findings += 1


class _Walk:
    """Goes from fire to fire of one schedule; `next` is None when there are no more, or nobody knows."""

    def __init__(self, schedule: Schedule, start: datetime, newest: datetime | None) -> None:
        # As the kernel does: where the clock was set back, no fire comes a second time.
        self.schedule = msgspec.structs.replace(schedule, anchor=max(schedule.anchor, newest or schedule.anchor))
        self.trigger: Trigger | None = schedule.trigger
        self.problem = schedule.problem
        self.entries = 0
        self.next: datetime | None = None
        self._start = start
        self._newest = newest
        self._is_begun = False

    def begin(self, first: datetime | None) -> None:
        """Go to the first fire, once; to that of the log where it is before the start, or nothing else tells it."""
        if self._is_begun or self.trigger is None:
            return
        self._is_begun = True
        begin = self.schedule.fires_begin(min(self._start, first or self._start))
        if begin is not None:
            self._step(*begin, self._newest)
        elif first is not None:
            self.next = first
        else:
            self.problem = "its fires follow from its first one, which only the log can tell, and it tells of none"

    def advance(self) -> None:
        """Go to the next fire."""
        self._step(self.next, self.schedule.anchor)

    def skip(self, last: datetime) -> tuple[int, datetime | None]:
        """Go past all fires up to and with `last`; return how many they are, and the last of them."""
        count, passed = 0, None
        while self.next is not None and self.next <= last:
            count, passed = count + 1, self.next
            self.advance()
        return count, passed

    def names(self, fire: datetime, known: datetime) -> bool:
        """Whether the schedule names a time at or after one of its fires; of an unknown schedule nobody can deny it."""
        if self.trigger is None or fire == known:
            return True
        return any(named == fire for named in fires(self.trigger, known, known, fire))

    def _step(self, last_fire: datetime | None, anchor: datetime, newest: datetime | None = None) -> None:
        assert self.trigger is not None  # noqa: S101 - without one there is no fire to go on from
        try:
            self.next = next_fire(self.trigger, last_fire, anchor, newest)
        except Exception as exc:  # noqa: BLE001 - triggers are foreign code, as in the timetable
            self.problem, self.trigger, self.next = f"its trigger failed after {last_fire}: {exc}", None, None


class _Gaps:
    """Sorts fires without an outcome into those that must have one, and the others; neighbours are folded."""

    def __init__(self, span: Span, past: ScheduleHistory | None, schedule: Schedule, *, is_tail: bool) -> None:
        self.found: list[Finding | OpenFires] = []
        self._span = span
        self._past = past
        self._schedule = schedule
        self._may_be_open = is_tail and schedule.until is None
        self._last: tuple[Openness | None, str] | None = None

    def add(self, fire: datetime) -> None:
        """Take the next fire without an outcome."""
        if fire < self._span.since:
            return  # its outcome is in a part of the log that was not read
        kind = self._kind(fire)
        if kind == self._last:
            self.found[-1] = msgspec.structs.replace(self.found[-1], last=fire, count=self.found[-1].count + 1)
            return
        self._last = (openness, detail) = kind
        self.found.append(
            OpenFires(openness, fire, fire, 1, detail) if openness else Finding("no_outcome", fire, fire, 1, detail)
        )

    def _kind(self, fire: datetime) -> tuple[Openness | None, str]:
        pruned = self._span.pruned_until
        if pruned is not None and fire < pruned:
            return "forgotten", f"the log was pruned: what was recorded before {pruned} may have been forgotten"
        if not self._may_be_open or self._past is None:
            how = f"the schedule was {self._schedule.ending} since" if self._schedule.ending else "later fires have one"
            return None, f"there is no outcome in the log, and {how}"
        state = self._past.state
        if state.paused:
            reason = f": {state.paused_reason}" if state.paused_reason else ""
            return "paused", f"held back since {state.paused_at} by {state.paused_by or 'somebody'}{reason}"
        if self._span.is_decided(fire, self._past.position):
            return None, "there is no outcome in the log, and a kernel has come to later fires"
        return "undecided", "nothing in the log proves that a kernel has come to them yet"


def _first(entry: FireOutcome) -> datetime:
    return entry.first


def _words(entry: FireOutcome) -> str:
    if entry.missed is None:
        return f"execution {entry.execution_id} is in the log as run at {entry.at}"
    return f"execution {entry.execution_id} is in the log as missed ({entry.missed})"
