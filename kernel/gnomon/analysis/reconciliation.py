"""Compare the fires of one job with its outcomes in the log: pure, and in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gnomon.analysis.fire_outcomes import EVER, FireOutcome, Watermark
from gnomon.analysis.schedule_history import Schedule, ScheduleHistory
from gnomon.domain.audits import Finding, JobAudit, OpenFires, Openness, Problem, Unproved
from gnomon.domain.events import Missed
from gnomon.domain.execution import execution_id
from gnomon.durations import MICROSECOND
from gnomon.explanations import Pause
from gnomon.scheduling.catch_up import fires, next_fire
from gnomon.scheduling.triggers import AnchoredTrigger

MOST_FINDINGS = 100
"""Findings of one job that are listed; the others are only counted."""


class Span(msgspec.Struct):
    """The period of the audit, since <= fire <= until, and what is known of the log as a whole."""

    since: datetime
    until: datetime
    decided_until: datetime | None = None
    watermarks: Sequence[Watermark] = ()
    pruned_until: datetime | None = None
    hold: Pause | None = None
    """The hold that keeps the fires of all jobs back now."""

    def reaches(self, schedule: Schedule) -> bool:
        """Return whether a schedule was still in force when the period begins.

        Its own beginning does not matter: the clock may have been set back, or its fire was past when it was added.
        """
        return schedule.until is None or schedule.until >= self.since

    def is_decided(self, fire: datetime, position: int) -> bool:
        """Return whether a kernel must have decided a fire of a job that was in its timetable from `position` on."""
        if self.decided_until is not None and fire <= self.decided_until:
            return True
        return any(watermark.position > position and fire < watermark.due for watermark in self.watermarks)


class FireReconciler:
    """Compares the outcomes of one job, one after the other, with the fires that its schedules name.

    Outcomes are expected in the order of the fires. Those out of order are collected in `strays`; a second reconciler,
    which is given the strays, compares them in their place. The position of an outcome tells its schedule.
    """

    def __init__(
        self, job_id: str, history: ScheduleHistory | None, span: Span, strays: Sequence[FireOutcome] = ()
    ) -> None:
        self.audit = JobAudit(job_id=job_id)
        self.history = history
        self.strays: list[FireOutcome] = []
        self._span = span
        self._known_strays = list(strays)
        self._schedules = [s for s in history.schedules if span.reaches(s)] if history is not None else []
        self._expected: _ExpectedFires | None = None
        self._newest: datetime | None = None
        self._newest_of_all: datetime | None = None
        self._position = 0
        self._before: FireOutcome | None = None

    @property
    def is_doubtful(self) -> bool:
        """Whether a second pass may have another result."""
        return bool(self.strays or self.audit.findings)

    def take(self, outcome: FireOutcome) -> None:
        """Compare the next outcome of the log."""
        is_stray = self._is_stray(outcome)
        expected = self._fires_at(outcome.position)
        if outcome.position > self._position:
            # Also of fires after the span: where the clock was set back, a later schedule counts from the newest.
            self._position = outcome.position
            self._newest_of_all = max(self._newest_of_all or outcome.last, outcome.last)
        if outcome.first > self._span.until:
            return
        if is_stray:
            self.strays.append(outcome)
            return
        self._newest = outcome.last
        self._compare_strays(outcome.first)
        self._compare(expected, outcome)

    def note_unstarted(self, missed: Missed) -> None:
        """Count a fire as missed whose run was accepted and never started, such as one that waited for another job."""
        fire = missed.scheduled_time
        is_of_fire = missed.version > 1 and missed.stream == execution_id(missed.job_id, fire)
        if is_of_fire and self._span.since <= fire <= self._span.until:
            self.audit.missed += 1

    def finish(self) -> JobAudit:
        """Return the result, with the fires that are left without an outcome at the end of the log."""
        while self._schedules or self._expected is not None:
            self._next_schedule()
        for stray in self._known_strays:
            self._compare(None, stray)
        return self.audit

    def _is_stray(self, outcome: FireOutcome) -> bool:
        # An outcome that was recorded before its time does not tell the order either.
        is_late = self._newest is not None and outcome.first <= self._newest
        return is_late or outcome.first > outcome.at or outcome.position < self._position

    def _compare_strays(self, until: datetime) -> None:
        """Compare the strays of the present schedule whose fires are not after `until`."""
        while (expected := self._expected) is not None:
            strays = (stray for stray in self._known_strays if expected.schedule.holds(stray.position))
            stray = min(strays, key=lambda stray: stray.first, default=None)
            if stray is None or stray.first > until:
                return
            self._known_strays.remove(stray)
            self._compare(expected, stray)

    def _compare(self, expected: _ExpectedFires | None, outcome: FireOutcome) -> None:
        if expected is None:
            self._report("not_named", outcome, f"the job had no schedule then, and {_description(outcome)}")
            return
        if self._before is not None and outcome.first <= self._before.last:
            self._compare_second(expected, self._before, outcome)
            return
        self._before = outcome
        if expected.trigger is None:
            expected.outcomes += 1
            return
        expected.begin(outcome.first)
        if expected.next is not None and expected.next < outcome.first:
            self._report_open(expected, outcome.first)
        if expected.next != outcome.first:
            self._report("not_named", outcome, f"the schedule names no such time, and {_description(outcome)}")
        else:
            self._compare_first(expected, outcome)

    def _compare_first(self, expected: _ExpectedFires, outcome: FireOutcome) -> None:
        count, last = expected.skip(outcome.last)
        if last != outcome.last:
            self._report(
                "not_named", outcome, f"the schedule does not name the end of the range: {_description(outcome)}"
            )
        elif count != outcome.count:
            self._report(
                "wrong_count", outcome, f"{_description(outcome)}, with {outcome.count} fires where {count} were due"
            )
        else:
            self.audit.fires += count
            self.audit.missed += count if outcome.missed else 0

    def _compare_second(self, expected: _ExpectedFires, before: FireOutcome, outcome: FireOutcome) -> None:
        if expected.names(outcome.first, before.first):
            self._report(
                "two_outcomes", outcome, f"{_description(before)}, and {_description(outcome)}", before.execution_id
            )
        else:
            self._report("not_named", outcome, f"the schedule names no such time, and {_description(outcome)}")

    # --- schedules, one after the other ---

    def _fires_at(self, position: int) -> _ExpectedFires | None:
        """Move to the schedule in force at a position of the log and return its fires; None if there was none."""
        while self._schedules and self._schedules[0].position < position:
            self._next_schedule()
        return self._expected if self._expected is not None and self._expected.schedule.holds(position) else None

    def _next_schedule(self) -> None:
        """Finish the present schedule and begin the next one."""
        if self._expected is not None:
            self._compare_strays(EVER)
            self._leave(self._expected)
            self._expected = None
        if self._schedules:
            self._expected = _ExpectedFires(self._schedules.pop(0), self._span.since, self._newest_of_all)

    def _leave(self, expected: _ExpectedFires) -> None:
        expected.begin(None)
        self._report_open(expected, None)
        if expected.problem is not None:
            schedule = expected.schedule
            self.audit.unproved.append(Unproved(schedule.since, schedule.until, expected.outcomes, expected.problem))

    def _report_open(self, expected: _ExpectedFires, before: datetime | None) -> None:
        """Record the fires without an outcome before `before`, or with None up to the end of the schedule."""
        gaps = _Gaps(self._span, self.history, expected.schedule, is_tail=before is None)
        until = min(self._span.until, expected.schedule.until or EVER) if before is None else before - MICROSECOND
        while expected.next is not None and expected.next <= until:
            gaps.add(expected.next)
            expected.advance()
        for gap in gaps.found:
            if isinstance(gap, OpenFires):
                self.audit.open.append(gap)
            else:
                self._keep(gap)

    def _report(self, problem: Problem, outcome: FireOutcome, detail: str, *others: str) -> None:
        self._keep(
            Finding(problem, outcome.first, outcome.last, outcome.count, detail, [*others, outcome.execution_id])
        )

    def _keep(self, finding: Finding) -> None:
        if len(self.audit.findings) < MOST_FINDINGS:
            self.audit.findings.append(finding)
        else:
            self.audit.more_findings += 1


class _ExpectedFires:
    """Walks the fires of one schedule; `next` is None at its end, or where the next fire is unknown."""

    def __init__(self, schedule: Schedule, start: datetime, newest: datetime | None) -> None:
        # As in the kernel, no fire comes a second time after the clock was set back.
        if schedule.anchor > schedule.since:  # it is the newest fire of that time
            newest = max(schedule.anchor, newest or schedule.anchor)
        self.schedule = msgspec.structs.replace(schedule, anchor=max(schedule.anchor, newest or schedule.anchor))
        self.trigger: AnchoredTrigger | None = schedule.trigger
        self.problem = schedule.problem
        self.outcomes = 0
        self.next: datetime | None = None
        self._start = start
        self._newest = newest
        self._is_begun = False

    def begin(self, first: datetime | None) -> None:
        """Move to the first fire, once; `first` is the first one in the log, for triggers that count from it."""
        if self._is_begun or self.trigger is None:
            return
        self._is_begun = True
        begin = self.schedule.fires_begin(min(self._start, first or self._start))
        if begin is not None:
            self._step(*begin, self._newest)
        elif first is not None:
            self.next = first
        else:
            self.problem = "its fires are counted from its first one, and the log has none"

    def advance(self) -> None:
        """Move to the next fire."""
        self._step(self.next, self.schedule.anchor)

    def skip(self, last: datetime) -> tuple[int, datetime | None]:
        """Go history all fires up to and with `last`; return how many they are, and the last of them."""
        count, passed = 0, None
        while self.next is not None and self.next <= last:
            count, passed = count + 1, self.next
            self.advance()
        return count, passed

    def names(self, fire: datetime, known: datetime) -> bool:
        """Return whether the schedule names `fire`, counted from a known one; True if the schedule is unknown."""
        if self.trigger is None or fire == known:
            return True
        return any(named == fire for named in fires(self.trigger, known, min(self.schedule.anchor, known), fire))

    def _step(self, last_fire: datetime | None, anchor: datetime, newest: datetime | None = None) -> None:
        assert self.trigger is not None  # noqa: S101 - callers check
        try:
            self.next = next_fire(self.trigger, last_fire, anchor, newest)
        except Exception as exc:  # noqa: BLE001 - triggers are foreign code, as in the timetable
            self.problem, self.trigger, self.next = f"its trigger failed after {last_fire}: {exc}", None, None


class _Gaps:
    """Classifies fires without an outcome: those that must have one, and open ones; consecutive fires are folded."""

    def __init__(self, span: Span, history: ScheduleHistory | None, schedule: Schedule, *, is_tail: bool) -> None:
        self.found: list[Finding | OpenFires] = []
        self._span = span
        self._history = history
        self._schedule = schedule
        self._may_be_open = is_tail and schedule.until is None
        self._last: tuple[Openness | None, str] | None = None

    def add(self, fire: datetime) -> None:
        """Add the next fire without an outcome."""
        if fire < self._span.since:
            return  # its outcome is in a part of the log that is not read
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
            return "forgotten", f"the log was pruned: events before {pruned} may be gone"
        if not self._may_be_open or self._history is None:
            how = f"the schedule was {self._schedule.ending} later" if self._schedule.ending else "later fires have one"
            return None, f"there is no outcome in the log, although {how}"
        state, hold = self._history.state, self._span.hold
        is_held = hold is not None and fire >= hold.since
        if state.paused and not (is_held and state.paused_at is not None and fire < state.paused_at):
            return "paused", _held_back(state.paused_at, state.paused_by, state.paused_reason)
        if hold is not None and is_held:
            return "held", f"all fires are {_held_back(hold.since, hold.by, hold.reason)}"
        if self._span.is_decided(fire, self._history.position):
            return None, "there is no outcome in the log, although a kernel has decided later fires"
        return "undecided", "nothing in the log proves that a kernel has decided them yet"


def _held_back(since: datetime | None, by: str | None, reason: str | None) -> str:
    return f"held back since {since} by {by or 'someone'}{f': {reason}' if reason else ''}"


def _description(outcome: FireOutcome) -> str:
    if outcome.missed is None:
        return f"execution {outcome.execution_id} is in the log as run at {outcome.at}"
    return f"execution {outcome.execution_id} is in the log as missed ({outcome.missed})"
