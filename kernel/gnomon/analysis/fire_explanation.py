"""What became of one fire, told from the log in plain sentences, with the facts that they stand on."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Literal

import msgspec

from gnomon.analysis import fire_outcomes as ledger
from gnomon.analysis.fire_outcomes import FireOutcome
from gnomon.analysis.schedule_history import Pause, ScheduleHistory
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, Status, execution_id
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store
from gnomon.scheduling.catch_up import DETAILS
from gnomon.text import length, moment

Fate = Status | Literal["held_back", "undecided", "to_come", "no_outcome", "forgotten"]

ON_TIME = timedelta(seconds=1)
"""A start that is not later than this needs no reason."""
NEIGHBOURS = 200
"""Events before a start among which the end of another run is looked for, which made room for it."""


class Silence(msgspec.Struct, frozen=True):
    """A time in which nothing was written to the log; None where it has no such end."""

    since: datetime | None
    until: datetime | None


class FireExplanation(msgspec.Struct, kw_only=True):
    """What became of a fire. `executions` are its attempts, `behind` runs that it had to wait for or gave way to.

    `count`, `first` and `last` are those of the range with which it was missed. `pause` and `silence` tell why it was
    late or missed, where one of them is the reason.
    """

    scheduled_time: datetime
    fate: Fate
    sentences: list[str] = []
    executions: list[Execution] = []
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    pause: Pause | None = None
    silence: Silence | None = None
    behind: list[Execution] = []


class FireExplainer:
    """Tells of the fires of one job, from a log that stands still at `head`."""

    def __init__(self, store: Store, past: ScheduleHistory, zone: tzinfo, head: int, now: datetime) -> None:
        self._store = store
        self._past = past
        self._zone = zone
        self._head = head
        self._now = now
        self._job_id = past.state.job_id

    def when(self, at: datetime | None) -> str:
        """Write a time in the job's zone, with its offset."""
        return moment(at, self._zone, milliseconds=True) if at is not None else "the beginning"

    async def tell(self, fire: datetime) -> FireExplanation:
        """Tell what became of a fire of the job."""
        story = FireExplanation(scheduled_time=fire, fate="to_come")
        if (first := await self._store.execution(execution_id(self._job_id, fire))) is not None and first.count == 1:
            await self._tell_attempts(story, first)
            return story
        entry = await ledger.outcome_of(self._store, self._job_id, fire, self._head) if fire <= self._now else None
        if entry is None or entry.first > fire:
            await self._tell_open(story, entry)
        elif (execution := await self._store.execution(entry.execution_id)) is not None:
            story.count, story.first, story.last = entry.count, entry.first, entry.last
            await self._tell_attempts(story, execution)
        return story

    # --- runs ---

    async def _tell_attempts(self, story: FireExplanation, execution: Execution | None) -> None:
        while execution is not None:
            story.executions.append(execution)
            story.fate = execution.status
            await self._tell_attempt(story, execution)
            attempt = execution.attempt + 1
            execution = await self._store.execution(execution_id(self._job_id, execution.scheduled_time, attempt))

    async def _tell_attempt(self, story: FireExplanation, execution: Execution) -> None:
        history = await self._store.stream(execution.id)
        started = next((event for event in history if isinstance(event, events.Started)), None)
        if execution.attempt > 1:
            story.sentences.append(f"It was tried again: attempt {execution.attempt} is run {execution.id}.")
        if execution.status == "missed":
            await self._tell_missed(story, history)
            return
        if started is None:
            await self._tell_not_started(story, execution, history)
        else:
            await self._tell_start(story, execution, history[0], started)
        self._tell_end(story, execution, history)

    async def _tell_start(self, story: FireExplanation, run: Execution, first: Event, started: Event) -> None:
        due = run.not_before or run.scheduled_time
        late = started.at - due
        if late < ON_TIME:
            story.sentences.append(f"It ran on time: it started at {self.when(started.at)} (run {run.id}).")
            return
        story.sentences.append(f"It ran late, by {length(late)}: it started at {self.when(started.at)} (run {run.id}).")
        if first.at - due >= ON_TIME:
            await self._tell_why_late(story, due, first)
        if started.at - max(first.at, due) >= ON_TIME:
            await self._tell_what_it_waited_for(story, run, max(first.at, due), started)

    async def _tell_why_late(self, story: FireExplanation, due: datetime, decided: Event) -> None:
        """Say why a kernel came to a fire later than it was due."""
        story.pause = self._past.pause_of(due, decided.at)
        if story.pause is not None:
            story.sentences.append(f"The job was paused when it was due, {self._pause_words(story.pause)}.")
            return
        story.silence = await self._silence(due)
        if story.silence is not None:
            story.sentences.append(f"No kernel was running when it was due: {self._silence_words(story.silence)}.")
        else:
            story.sentences.append(f"A kernel came to it only at {self.when(decided.at)}: it was busy or stood still.")

    async def _tell_what_it_waited_for(
        self, story: FireExplanation, run: Execution, since: datetime, started: Event
    ) -> None:
        """Find what ended just before a run that had waited could begin: that is what it had waited for."""
        waited = length(started.at - since)
        block = await self._store.read(max(started.position - NEIGHBOURS, 0), NEIGHBOURS)
        ended = [event for event in block if event.position < started.position and _frees_a_slot(event, started)]
        own = [event for event in ended if event.job_id == self._job_id and event.stream != run.id]
        if not ended:
            story.sentences.append(f"It waited {waited}; then a kernel that had just started took it up.")
            return
        what = "another run of the job to end" if own else "a slot: as many runs as max_running allows were going on"
        await self._note_behind(story, (own or ended)[-1].stream)
        story.sentences.append(f"It waited {waited} for {what}. {self._behind_words(story)}")

    async def _tell_not_started(self, story: FireExplanation, run: Execution, history: list[Event]) -> None:
        if run.status != "scheduled":
            return
        story.sentences.append(f"It was accepted at {self.when(history[0].at)} and has not started yet (run {run.id}).")
        if run.not_before is not None and run.not_before > self._now:
            story.sentences.append(f"It waits until {self.when(run.not_before)}, as the retry policy wants.")
            return
        page = await self._store.executions(ExecutionQuery(job_id=self._job_id, status=("running",), limit=5))
        story.behind = [one for one in page.items if one.id != run.id]
        if story.behind:
            story.sentences.append(f"It waits for another run of the job to end. {self._behind_words(story)}")
        else:
            story.sentences.append("It waits for a slot, or for a kernel to take it up.")

    def _tell_end(self, story: FireExplanation, run: Execution, history: list[Event]) -> None:
        took = f" after {length(run.execution_time)}" if run.execution_time is not None else ""
        match run.status:
            case "success":
                story.sentences.append(f"It succeeded{took}.")
            case "failed":
                story.sentences += self._failure(run, took)
            case "cancelled":
                story.sentences.append(f"It was cancelled{took or ' before it started'}{self._cancel_words(history)}.")
            case "running":
                asked = self._cancel_words(history) if run.cancel_requested else ""
                stop = f"; it was asked to stop{asked}, and goes on" if run.cancel_requested else ""
                story.sentences.append(f"It is still running{stop}.")
        if run.late_result is not None:
            at = next(event.at for event in history if isinstance(event, events.LateResult))
            story.sentences.append(
                f"Its body went on and reported {run.late_result!r} at {self.when(at)}; that changes nothing any more."
            )

    def _failure(self, run: Execution, took: str) -> list[str]:
        what = f"{run.error_type}: {run.error_message}" if run.error_type else run.error_message or "no message"
        sentences = [f"It failed{took} ({run.reason}): {what.splitlines()[0] if what else ''}."]
        schedule = self._past.schedule_at(run.scheduled_time)
        attempts = schedule.job.retry.attempts if schedule is not None and schedule.job is not None else 1
        if run.attempt >= attempts:
            left = f"that was the last of its {attempts} attempts" if attempts > 1 else "the job has no retries"
            sentences.append(f"It was not tried again: {left}.")
        return sentences

    def _cancel_words(self, history: list[Event]) -> str:
        asked = [event for event in history if isinstance(event, events.CancelRequested | events.Cancelled)]
        actor = next((event.actor for event in asked if event.actor), None)
        reason = next((event.reason for event in asked if event.reason), None)
        return (f" by {actor}" if actor else "") + (f": {reason}" if reason else "")

    # --- fires that did not run ---

    async def _tell_missed(self, story: FireExplanation, history: list[Event]) -> None:
        event = next(event for event in history if isinstance(event, events.Missed))
        story.sentences.append(f"It did not run: it was missed ({event.reason}), recorded at {self.when(event.at)}.")
        fire = story.scheduled_time
        if event.reason == "paused":
            story.pause = self._past.pause_of(fire, event.at)
        if event.reason == "downtime":
            story.silence = await self._silence(fire)
        if story.pause is not None:
            story.sentences.append(f"The job was paused, {self._pause_words(story.pause)}.")
        elif story.silence is not None:
            story.sentences.append(f"No kernel was running: {self._silence_words(story.silence)}.")
        if event.detail and not (story.pause or story.silence):
            source = "A guard refused it" if event.reason == "guard" else "The kernel says"
            story.sentences.append(f"{source}: {event.detail}.")
        elif event.detail and event.detail not in DETAILS.values():
            story.sentences.append(f"The kernel says: {event.detail}.")
        if event.blocked_by is not None:
            await self._note_behind(story, event.blocked_by)
            story.sentences.append(self._behind_words(story))
        if story.count > 1:
            story.sentences.append(
                f"It is one of {story.count} fires from {self.when(story.first)} to {self.when(story.last)} that were "
                f"missed together{self._catch_up_words(fire)}."
            )

    async def _tell_open(self, story: FireExplanation, following: FireOutcome | None) -> None:
        """Tell of a fire of which the log says nothing."""
        fire, state = story.scheduled_time, self._past.state
        story.pause = self._past.pauses[-1] if state.paused and self._past.pauses else None
        held = f"The job is paused, {self._pause_words(story.pause)}" if story.pause is not None else None
        if fire > self._now:
            story.fate = "to_come"
            story.sentences.append(f"It is to come, in {length(fire - self._now)}.")
            if held is not None:
                story.sentences.append(f"{held}: unless somebody resumes it, it will not run.")
        elif following is not None:
            await self._tell_lost(story)
        elif held is not None:
            story.fate = "held_back"
            story.sentences.append(f"It has not run. {held}: it is held back until somebody resumes the job.")
        else:
            story.fate = "undecided"
            last = await ledger.last_event(self._store, self._head)
            sign = f"the last thing in the log is of {self.when(last.at)}" if last is not None else "the log is empty"
            story.sentences.append(f"It has not run: no kernel has come to it yet, {sign}. Is one running?")

    async def _tell_lost(self, story: FireExplanation) -> None:
        after = await ledger.position_at(self._store, story.scheduled_time, self._head)
        pruned = await ledger.pruned_until(self._store, after, self._head)
        if pruned is not None and story.scheduled_time < pruned:
            story.fate = "forgotten"
            story.sentences.append(
                f"The log has forgotten what became of it: what was written before {self.when(pruned)} was pruned."
            )
        else:
            story.fate = "no_outcome"
            story.sentences.append("The log has no outcome for it, but has one for a later fire: see `gnomon audit`.")

    # --- facts, and words for them ---

    async def _silence(self, fire: datetime) -> Silence | None:
        before, after = await ledger.silence_around(self._store, fire, self._head)
        if after is not None and after.at - fire < ON_TIME:
            return None
        return Silence(before.at if before is not None else None, after.at if after is not None else None)

    def _silence_words(self, silence: Silence) -> str:
        if silence.until is None:
            return f"nothing was written to the log since {self.when(silence.since)}"
        return f"nothing was written to the log from {self.when(silence.since)} to {self.when(silence.until)}"

    def _pause_words(self, pause: Pause) -> str:
        until = f"from {self.when(pause.since)} to {self.when(pause.until)}" if pause.until else ""
        return f"{until or f'since {self.when(pause.since)}'} by {pause.by or 'somebody'}" + (
            f" ({pause.reason})" if pause.reason else ""
        )

    async def _note_behind(self, story: FireExplanation, run_id: str) -> None:
        if (run := await self._store.execution(run_id)) is not None:
            story.behind.append(run)

    def _behind_words(self, story: FireExplanation) -> str:
        if not story.behind:
            return "That run is not in the log any more."
        run = story.behind[-1]
        of = "" if run.job_id == self._job_id else f" of job {run.job_id}"
        end = f", and ended at {self.when(run.updated_at)} ({run.status})" if run.is_over else f" and is {run.status}"
        return f"That was run {run.id}{of}, which started at {self.when(run.timestamp)}{end}."

    def _catch_up_words(self, fire: datetime) -> str:
        schedule = self._past.schedule_at(fire)
        return f" (catch_up = {schedule.job.catch_up!r})" if schedule is not None and schedule.job is not None else ""


def _frees_a_slot(event: Event, started: Event) -> bool:
    """Whether an event is the end of a run that was going on until just then; a lost one ended long before."""
    if started.at - event.at > ON_TIME or not isinstance(event, events.Succeeded | events.Failed | events.Cancelled):
        return False
    return not (isinstance(event, events.Failed) and event.reason == "lost")
