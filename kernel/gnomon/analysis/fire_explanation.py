"""Explain the outcome of one fire from the log, in plain sentences and with the facts behind them."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from gnomon.analysis import fire_outcomes
from gnomon.analysis.fire_outcomes import FireOutcome
from gnomon.analysis.holds import hold_of, present_hold, released_hold
from gnomon.analysis.schedule_history import ScheduleHistory, read_history
from gnomon.analysis.silences import silence_at, silence_before
from gnomon.analysis.wait_explanation import NEGLIGIBLE_DELAY, NEIGHBOURS, WaitExplainer, behind_words
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, execution_id, later_execution_id
from gnomon.explanations import FireExplanation, Pause, Silence
from gnomon.ports import Store
from gnomon.scheduling.catch_up import DETAILS
from gnomon.scheduling.triggers import AnchoredTrigger, counts_elapsed_time
from gnomon.text import length, moment

HELD_UP_RECORDED_WITHIN = timedelta(seconds=10)
"""How long after a late decision the kernel may record what held it up: a thread notices it."""


class FireExplainer:
    """Explains the fires of one job from the log up to `head`."""

    def __init__(
        self, store: Store, history: ScheduleHistory, zone: tzinfo, head: int, now: datetime, subject: str = "The job"
    ) -> None:
        self._store = store
        self._history = history
        self._zone = zone
        self._head = head
        self._now = now
        self._job_id = history.state.job_id
        self._subject = subject
        self._waits = WaitExplainer(store, history, self.when, now)

    def when(self, at: datetime | None) -> str:
        """Format a time in the job's zone, with its offset."""
        return moment(at, self._zone, milliseconds=True) if at is not None else "the beginning"

    async def explain(self, fire: datetime) -> FireExplanation:
        """Return the outcome of a fire of the job."""
        explanation = FireExplanation(scheduled_time=fire, fate="to_come")
        if (first := await self._store.execution(execution_id(self._job_id, fire))) is not None and first.count == 1:
            await self._explain_attempts(explanation, first)
            return explanation
        outcome = (
            await fire_outcomes.find_outcome(self._store, self._job_id, fire, self._head) if fire <= self._now else None
        )
        if outcome is None or outcome.first > fire:
            await self._explain_open(explanation, outcome)
        elif (execution := await self._store.execution(outcome.execution_id)) is not None:
            explanation.count, explanation.first, explanation.last = outcome.count, outcome.first, outcome.last
            await self._explain_attempts(explanation, execution)
        return explanation

    async def explain_triggered(self, run: Execution) -> FireExplanation:
        """Return what came of a run that no fire made, and of its later attempts; `run` is the first one."""
        explanation = FireExplanation(scheduled_time=run.scheduled_time, fate=run.status)
        await self._explain_attempts(explanation, run)
        return explanation

    # --- runs ---

    async def _explain_attempts(self, explanation: FireExplanation, execution: Execution | None) -> None:
        while execution is not None:
            explanation.executions.append(execution)
            explanation.fate = execution.status
            await self._explain_attempt(explanation, execution)
            execution = await self._store.execution(later_execution_id(execution))

    async def _explain_attempt(self, explanation: FireExplanation, execution: Execution) -> None:
        stream = await self._store.stream(execution.id)
        started = next((event for event in stream if isinstance(event, events.Started)), None)
        before = explanation.executions[-2] if len(explanation.executions) > 1 else None
        if before is not None and not before.is_snoozed:
            explanation.say(f"It was retried: attempt {execution.tries} is run {execution.id}.")
        if execution.status == "missed":
            await self._explain_missed(explanation, stream)
            return
        if started is None:
            await self._explain_not_started(explanation, execution, stream)
        else:
            await self._explain_start(explanation, execution, stream, started)
        self._explain_end(explanation, execution, stream)

    async def _explain_start(
        self, explanation: FireExplanation, run: Execution, stream: list[Event], started: events.Started
    ) -> None:
        first = stream[0]
        due = run.not_before or (first.at if run.is_manual else run.scheduled_time)
        late = started.at - due
        explanation.hold = await released_hold(self._store, due, first) if run.is_fire else None
        if late < NEGLIGIBLE_DELAY and explanation.hold is None:
            how = "at once" if run.is_manual else "on time"
            explanation.say(f"It ran {how}: it started at {self.when(started.at)} (run {run.id}).")
            explanation.say(*await self._waits.in_queue(run, started))
            return
        ready = max(first.at, due)
        upstream = await self._waits.upstream_end(run)
        if upstream is not None and (upstream.updated_at > ready or await self._waits.followed(due) is not None):
            ready = max(ready, upstream.updated_at)
            explanation.behind.append(upstream)
            explanation.say(
                f"It started at {self.when(started.at)} (run {run.id}), after run {upstream.id} of job "
                f"{upstream.job_id}, which succeeded at {self.when(upstream.updated_at)}."
            )
        else:
            how = f"{length(late)} after it was triggered" if run.is_manual else f"late, by {length(late)}"
            explanation.say(f"It ran {how}: it started at {self.when(started.at)} (run {run.id}).")
        if first.at - due >= NEGLIGIBLE_DELAY or explanation.hold is not None:
            await self._explain_why_late(explanation, due, first)
        left = next((event for event in stream if isinstance(event, events.HandedOver)), started)
        if left.at - ready >= NEGLIGIBLE_DELAY:
            sentences, behind = await self._waits.waited(run, ready, left)
            explanation.say(*sentences)
            explanation.behind += behind
        explanation.say(*await self._waits.in_queue(run, started))

    async def _explain_why_late(self, explanation: FireExplanation, due: datetime, decided: Event) -> None:
        """Explain why a kernel decided a fire later than it was due."""
        if decided.is_fire and (followed := await self._waits.followed(due)) is not None:
            recorded = await self._explain_upstream(explanation, due, *followed)
            if decided.at - recorded.at < NEGLIGIBLE_DELAY:
                return
            due, explanation.hold = recorded.at, None
        await self._explain_delay(explanation, due, decided)

    async def _explain_delay(self, explanation: FireExplanation, due: datetime, decided: Event) -> None:
        """Explain what kept a kernel from deciding something that it could decide from a moment on."""
        explanation.pause = self._history.pause_of(due, decided.at)
        if explanation.pause is not None:
            explanation.say(f"{self._subject} was paused when it was due, {self._pause_words(explanation.pause)}.")
        if explanation.hold is not None:
            explanation.say(f"All fires were held when it was due, {self._pause_words(explanation.hold)}.")
        if explanation.pause is not None or explanation.hold is not None:
            return
        explanation.silence = await silence_at(self._store, due, self._head)
        if explanation.silence is not None:
            explanation.say(f"No kernel was running when it was due: {self._silence_words(explanation.silence)}.")
        elif (restart := await silence_before(self._store, due, decided)) is not None:
            explanation.silence = restart
            explanation.say(f"No kernel was running for a time: {self._silence_words(restart)}.")
        elif (warned := await self._blocked_loop(due, decided)) is not None:
            await self._note_behind(explanation, warned.stream)
            explanation.say(
                f"The kernel did not process it until {self.when(decided.at)}: its event loop was blocked for "
                f"{length(warned.seconds or 0.0)}. {self._behind_words(explanation)}"
            )
        elif (held_up := await self._held_up(due, decided)) is not None:
            explanation.say(f"The kernel did not process it until {self.when(decided.at)}: {held_up.detail}.")
        elif (change := await self._clock_change(due, decided)) is not None:
            explanation.say(
                f"The clock went from {self.when(change.at - timedelta(microseconds=change.microseconds))} to "
                f"{self.when(change.at)} at once: it was set forward, or the machine was suspended."
            )
        else:
            explanation.say(
                f"The kernel did not process it until {self.when(decided.at)}. The log does not say why: "
                "it has neither a pause of its process nor a blocked event loop."
            )

    async def _explain_upstream(
        self, explanation: FireExplanation, due: datetime, upstream: Execution, recorded: Event
    ) -> Event:
        """Explain when the fire came that a job without a schedule follows; return the event that recorded it."""
        fire, name = upstream.scheduled_time, upstream.job_id
        what = f"was due {length(fire - due)} later by its jitter, at {self.when(fire)}"
        explanation.say(f"{self._subject} follows job {name}, which {what if fire > due else 'was due then too'}.")
        explanation.hold = await released_hold(self._store, fire, recorded)
        is_late = recorded.at - fire >= NEGLIGIBLE_DELAY or explanation.hold is not None
        if is_late and (stream := await self._store.stream(events.job_stream(name))):
            explanation.say(f"The log has that fire since {self.when(recorded.at)}.")
            other = FireExplainer(self._store, read_history(stream), self._zone, self._head, self._now, f"Job {name}")
            await other._explain_why_late(explanation, fire, recorded)
        return recorded

    async def _held_up(self, due: datetime, decided: Event) -> events.KernelHeldUp | None:
        """Return the fact that the kernel could process nothing, recorded shortly after a fire that came late."""
        facts = await self._store.job_events("", due, decided.at + HELD_UP_RECORDED_WITHIN)
        found = (fact for fact in facts if isinstance(fact, events.KernelHeldUp))
        return next((one for one in found if one.until - timedelta(seconds=one.seconds) <= decided.at), None)

    async def _clock_change(self, due: datetime, decided: Event) -> events.ClockChanged | None:
        """Return the jump of the clock over the time at which a fire was due."""
        changes = await self._store.job_events("", due, decided.at + timedelta(microseconds=1))
        forward = (one for one in changes if isinstance(one, events.ClockChanged) and one.direction == "forward")
        return next((one for one in forward if one.position < decided.position), None)

    async def _blocked_loop(self, due: datetime, decided: Event) -> events.Warned | None:
        """Return the warning about a run that blocked the kernel's event loop between two moments."""
        block = await self._store.read(max(decided.position - NEIGHBOURS, 0), NEIGHBOURS)
        warned = (event for event in block if isinstance(event, events.Warned) and event.kind == events.BLOCKED_LOOP)
        return next((event for event in warned if event.at >= due and event.position < decided.position), None)

    async def _explain_not_started(self, explanation: FireExplanation, run: Execution, stream: list[Event]) -> None:
        if run.status == "scheduled":
            explanation.say(f"It was accepted at {self.when(stream[0].at)} and has not started yet (run {run.id}).")
            sentences, behind = await self._waits.not_started(run)
            explanation.say(*sentences)
            explanation.behind += behind
        else:
            explanation.say(*await self._waits.in_queue(run))

    def _explain_end(self, explanation: FireExplanation, run: Execution, stream: list[Event]) -> None:
        took = f" after {length(run.execution_time)}" if run.execution_time is not None else ""
        match run.status:
            case "success":
                explanation.say(f"It succeeded{took}.")
            case "failed":
                explanation.say(*self._failure(run, took))
            case "cancelled" if run.snoozed_until is not None:
                why = f": {reason}" if (reason := (run.reason or "").partition(": ")[2]) else ""
                explanation.say(
                    f"It snoozed{took} until {self.when(run.snoozed_until)}{why}. Run {run.snoozed_to} takes its place."
                )
            case "cancelled":
                explanation.say(f"It was cancelled{took or ' before it started'}{self._cancel_words(stream)}.")
            case "running":
                asked = self._cancel_words(stream) if run.cancel_requested else ""
                stop = f"; it was asked to stop{asked}, and continues" if run.cancel_requested else ""
                explanation.say(f"It is still running{stop}.")
        if run.late_result is not None:
            at = next(event.at for event in stream if isinstance(event, events.LateResult))
            explanation.say(
                f"Its body went on and reported {run.late_result!r} at {self.when(at)}: that does not count."
            )

    def _failure(self, run: Execution, took: str) -> list[str]:
        what = f"{run.error_type}: {run.error_message}" if run.error_type else run.error_message or "no message"
        sentences = [f"It failed{took} ({run.reason}): {what.splitlines()[0] if what else ''}."]
        schedule = self._history.schedule_at(run.scheduled_time)
        attempts = schedule.job.retry.attempts if schedule is not None and schedule.job is not None else 1
        if run.tries >= attempts:
            left = f"that was the last of its {attempts} attempts" if attempts > 1 else "the job has no retries"
            sentences.append(f"It was not tried again: {left}.")
        return sentences

    def _cancel_words(self, stream: list[Event]) -> str:
        asked = [event for event in stream if isinstance(event, events.CancelRequested | events.Cancelled)]
        actor = next((event.actor for event in asked if event.actor), None)
        reason = next((event.reason for event in asked if event.reason), None)
        return (f" by {actor}" if actor else "") + (f": {reason}" if reason else "")

    # --- fires that did not run ---

    async def _explain_missed(self, explanation: FireExplanation, stream: list[Event]) -> None:
        event = next(event for event in stream if isinstance(event, events.Missed))
        explanation.say(f"It did not run: it was missed ({event.reason}), recorded at {self.when(event.at)}.")
        fire = explanation.scheduled_time
        await self._explain_absence(explanation, event)
        if event.detail and not (explanation.pause or explanation.hold or explanation.silence):
            source = "A guard refused it" if event.reason == "guard" else "The kernel says"
            explanation.say(f"{source}: {event.detail}.")
        elif event.detail and event.detail not in DETAILS.values():
            explanation.say(f"The kernel says: {event.detail}.")
        if event.blocked_by is not None:
            await self._note_behind(explanation, event.blocked_by)
            explanation.say(self._behind_words(explanation))
        if explanation.count > 1:
            span = f"from {self.when(explanation.first)} to {self.when(explanation.last)}"
            explanation.say(
                f"It is one of {explanation.count} fires {span} that were missed together{self._catch_up_words(fire)}."
            )

    async def _explain_absence(self, explanation: FireExplanation, event: events.Missed) -> None:
        """Explain the pause, the hold or the downtime that is the cause of a miss."""
        fire = explanation.scheduled_time
        if event.reason == "paused":
            explanation.pause = self._history.pause_of(fire, event.at)
        if event.reason in {"held", "downtime"}:
            explanation.hold = await hold_of(self._store, fire, event)
        if event.reason == "downtime" and explanation.hold is None:
            explanation.silence = await silence_at(self._store, fire, self._head)
        if explanation.pause is not None:
            explanation.say(f"The job was paused, {self._pause_words(explanation.pause)}.")
        elif explanation.hold is not None:
            explanation.say(f"All fires were held, {self._pause_words(explanation.hold)}.")
        elif explanation.silence is not None:
            explanation.say(f"No kernel was running: {self._silence_words(explanation.silence)}.")

    async def _explain_open(self, explanation: FireExplanation, following: FireOutcome | None) -> None:
        """Explain a fire without an outcome in the log."""
        fire, state = explanation.scheduled_time, self._history.state
        explanation.pause = self._history.pauses[-1] if state.paused and self._history.pauses else None
        explanation.hold = await present_hold(self._store, self._now) if following is None else None
        facts, ends = [], []
        if explanation.pause is not None:
            facts.append(f"The job is paused, {self._pause_words(explanation.pause)}")
            ends.append("the job is resumed")
        if explanation.hold is not None:
            facts.append(f"All fires are held, {self._pause_words(explanation.hold)}")
            ends.append("the hold is released")
        held, free = ". ".join(facts), " and ".join(ends)
        if fire > self._now:
            explanation.fate = "to_come"
            explanation.say(f"It is due in {length(fire - self._now)}.")
            if (skip := state.skip_of(fire)) is not None:
                explanation.say(f"It will not run: {skip.actor or 'an operator'} has skipped it{_why(skip.reason)}.")
            if held:
                explanation.say(f"{held}: unless {free}, it will not run.")
        elif following is not None:
            await self._explain_lost(explanation)
        elif held:
            explanation.fate = "held_back"
            explanation.say(f"It has not run. {held}: it is held back until {free}.")
        else:
            explanation.fate = "undecided"
            last = await fire_outcomes.last_event(self._store, self._head)
            sign = f"the last event in the log is from {self.when(last.at)}" if last is not None else "the log is empty"
            hint = " Is a kernel running?"
            if isinstance(last, events.KernelStopped):
                sign, hint = f"the kernel was stopped at {self.when(last.at)} ({last.reason})", ""
            explanation.say(f"It has not run: no kernel has decided it yet, and {sign}.{hint}")

    async def _explain_lost(self, explanation: FireExplanation) -> None:
        after = await fire_outcomes.position_at(self._store, explanation.scheduled_time, self._head)
        pruned = await fire_outcomes.pruned_until(self._store, after, self._head)
        if pruned is not None and explanation.scheduled_time < pruned:
            explanation.fate = "forgotten"
            explanation.say(f"The log no longer has its outcome: events before {self.when(pruned)} were pruned.")
        else:
            explanation.fate = "no_outcome"
            explanation.say("The log has no outcome for it, but has one for a later fire: see `gnomon audit`.")

    # --- facts, and their wording ---

    def _silence_words(self, silence: Silence) -> str:
        stopped = f"the kernel was stopped at {self.when(silence.since)} ({silence.stopped})"
        if silence.until is None:
            if silence.stopped is not None:
                return stopped
            return f"nothing was written to the log since {self.when(silence.since)}"
        if silence.started is None or silence.since is None:
            return f"nothing was written to the log from {self.when(silence.since)} to {self.when(silence.until)}"
        if silence.stopped is None:
            stopped = f"the kernel ended without a stop, and its last event is from {self.when(silence.since)}"
        return f"{stopped}; the next one started at {self.when(silence.until)} on {silence.started}"

    def _pause_words(self, pause: Pause) -> str:
        until = f"from {self.when(pause.since)} to {self.when(pause.until)}" if pause.until else ""
        return f"{until or f'since {self.when(pause.since)}'} by {pause.by or 'someone'}" + (
            f" ({pause.reason})" if pause.reason else ""
        )

    async def _note_behind(self, explanation: FireExplanation, run_id: str) -> None:
        if (run := await self._store.execution(run_id)) is not None:
            explanation.behind.append(run)

    def _behind_words(self, explanation: FireExplanation) -> str:
        return behind_words(explanation.behind[-1] if explanation.behind else None, self._job_id, self.when)

    def _catch_up_words(self, fire: datetime) -> str:
        schedule = self._history.schedule_at(fire)
        return f" (catch_up = {schedule.job.catch_up!r})" if schedule is not None and schedule.job is not None else ""


def _why(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def future_fire_words(trigger: AnchoredTrigger, newest: str) -> str:
    """Explain what a fire in the future, which a wrong clock has left in the log, means for a job."""
    text = f"The log has a fire in the future, {newest}: the clock was set back since, or was wrong then."
    if counts_elapsed_time(trigger):
        return f"{text} Interval jobs continue from that fire."
    return f"{text} The job does not fire until the clock passes that time."
