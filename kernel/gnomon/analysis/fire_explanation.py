"""Explain the outcome of one fire from the log, in statements and with the facts behind them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from gnomon.analysis import fire_outcomes
from gnomon.analysis.fire_outcomes import FireOutcome
from gnomon.analysis.holds import hold_of, present_hold, released_hold
from gnomon.analysis.schedule_history import ScheduleHistory, read_history
from gnomon.analysis.silences import silence_at, silence_before
from gnomon.analysis.wait_explanation import NEGLIGIBLE_DELAY, NEIGHBOURS, WaitExplainer, behind_words
from gnomon.analysis.wording import chain, who
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, execution_id, later_execution_id
from gnomon.domain.statement import Statement, state
from gnomon.explanations import FireExplanation, Pause, Silence
from gnomon.ports import Store
from gnomon.scheduling.catch_up import DETAILS
from gnomon.scheduling.triggers import AnchoredTrigger, counts_elapsed_time

THE_JOB: Final = state("the_job")
HELD_UP_RECORDED_WITHIN = timedelta(seconds=10)
"""How long after a late decision the kernel may record what held it up: a thread notices it."""


class FireExplainer:
    """Explains the fires of one job from the log up to `head`."""

    def __init__(
        self,
        store: Store,
        history: ScheduleHistory,
        head: int,
        now: datetime,
        subject: Statement = THE_JOB,
    ) -> None:
        self._store = store
        self._history = history
        self._head = head
        self._now = now
        self._job_id = history.state.job_id
        self._subject = subject
        self._waits = WaitExplainer(store, history, now)

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
            explanation.say(state("retried", attempt=execution.tries, run=execution.id))
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
            code = "ran_at_once" if run.is_manual else "ran_on_time"
            explanation.say(state(code, started_at=started.at, run=run.id))
            explanation.say(*await self._waits.in_queue(run, started))
            return
        ready = max(first.at, due)
        upstream = await self._waits.upstream_end(run)
        if upstream is not None and (upstream.updated_at > ready or await self._waits.followed(due) is not None):
            ready = max(ready, upstream.updated_at)
            explanation.behind.append(upstream)
            after = {"other": upstream.id, "job": upstream.job_id, "ended_at": upstream.updated_at}
            explanation.say(state("ran_after", started_at=started.at, run=run.id, **after))
        else:
            code = "ran_after_trigger" if run.is_manual else "ran_late"
            explanation.say(state(code, late_s=late.total_seconds(), started_at=started.at, run=run.id))
        if first.at - due >= NEGLIGIBLE_DELAY or explanation.hold is not None:
            await self._explain_why_late(explanation, due, first)
        left = next((event for event in stream if isinstance(event, events.HandedOver)), started)
        if left.at - ready >= NEGLIGIBLE_DELAY:
            statements, behind = await self._waits.waited(run, ready, left)
            explanation.say(*statements)
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
            period = _period(explanation.pause)
            explanation.say(state("subject_paused", subject=self._subject, period=period))
        if explanation.hold is not None:
            explanation.say(state("held_when_due", period=_period(explanation.hold)))
        if explanation.pause is not None or explanation.hold is not None:
            return
        explanation.silence = await silence_at(self._store, due, self._head)
        if explanation.silence is not None:
            explanation.say(state("no_kernel_when_due", silence=_silence(explanation.silence)))
        elif (restart := await silence_before(self._store, due, decided)) is not None:
            explanation.silence = restart
            explanation.say(state("no_kernel_for_a_time", silence=_silence(restart)))
        elif (warned := await self._blocked_loop(due, decided)) is not None:
            await self._note_behind(explanation, warned.stream)
            blocked = {"blocked_s": warned.seconds or 0.0, "behind": self._behind(explanation)}
            explanation.say(state("blocked_loop", decided_at=decided.at, **blocked))
        elif (held_up := await self._held_up(due, decided)) is not None:
            explanation.say(state("held_up", decided_at=decided.at, detail=held_up.detail))
        elif (change := await self._clock_change(due, decided)) is not None:
            before = change.at - timedelta(microseconds=change.microseconds)
            explanation.say(state("clock_jump", from_at=before, to_at=change.at))
        else:
            explanation.say(state("unprocessed", decided_at=decided.at))

    async def _explain_upstream(
        self, explanation: FireExplanation, due: datetime, upstream: Execution, recorded: Event
    ) -> Event:
        """Explain when the fire came that a job without a schedule follows; return the event that recorded it."""
        fire, name = upstream.scheduled_time, upstream.job_id
        later = {"later_s": (fire - due).total_seconds(), "due_at": fire} if fire > due else {}
        code = "follows_later" if fire > due else "follows"
        explanation.say(state(code, subject=self._subject, job=name, **later))
        explanation.hold = await released_hold(self._store, fire, recorded)
        is_late = recorded.at - fire >= NEGLIGIBLE_DELAY or explanation.hold is not None
        if is_late and (stream := await self._store.stream(events.job_stream(name))):
            explanation.say(state("logged_since", since_at=recorded.at))
            subject = state("job_named", job=name)
            other = FireExplainer(self._store, read_history(stream), self._head, self._now, subject)
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
            explanation.say(state("accepted", accepted_at=stream[0].at, run=run.id))
            statements, behind = await self._waits.not_started(run)
            explanation.say(*statements)
            explanation.behind += behind
        else:
            explanation.say(*await self._waits.in_queue(run))

    def _explain_end(self, explanation: FireExplanation, run: Execution, stream: list[Event]) -> None:
        took: dict[str, Any] = {"took_s": run.execution_time}
        asked = _asked_to_stop(stream)
        match run.status:
            case "success":
                explanation.say(state("succeeded", **took))
            case "failed":
                explanation.say(*self._failure(run))
            case "cancelled" if run.snoozed_until is not None:
                why = (run.reason or "").partition(": ")[2] or None
                explanation.say(state("snoozed", **took, until_at=run.snoozed_until, why=why, next=run.snoozed_to))
            case "cancelled":
                code = "cancelled" if run.execution_time is not None else "cancelled_before"
                explanation.say(state(code, **took, **asked))
            case "running":
                explanation.say(state("stopping", **asked) if run.cancel_requested else state("running"))
        if run.late_result is not None:
            at = next(event.at for event in stream if isinstance(event, events.LateResult))
            explanation.say(state("late_result", result=run.late_result, reported_at=at))

    def _failure(self, run: Execution) -> list[Statement]:
        what = f"{run.error_type}: {run.error_message}" if run.error_type else run.error_message or "no message"
        error = what.splitlines()[0] if what else ""
        found = [state("run_failed", took_s=run.execution_time, reason=run.reason, error=error)]
        schedule = self._history.schedule_at(run.scheduled_time)
        attempts = schedule.job.retry.attempts if schedule is not None and schedule.job is not None else 1
        if run.tries >= attempts:
            found.append(state("last_attempt", attempts=attempts) if attempts > 1 else state("no_retries"))
        return found

    # --- fires that did not run ---

    async def _explain_missed(self, explanation: FireExplanation, stream: list[Event]) -> None:
        event = next(event for event in stream if isinstance(event, events.Missed))
        explanation.say(state("run_missed", reason=event.reason, recorded_at=event.at))
        fire = explanation.scheduled_time
        await self._explain_absence(explanation, event)
        if event.detail and not (explanation.pause or explanation.hold or explanation.silence):
            code = "guard_refused" if event.reason == "guard" else "kernel_says"
            explanation.say(state(code, detail=event.detail))
        elif event.detail and event.detail not in DETAILS.values():
            explanation.say(state("kernel_says", detail=event.detail))
        if event.blocked_by is not None:
            await self._note_behind(explanation, event.blocked_by)
            explanation.say(self._behind(explanation))
        if explanation.count > 1:
            span = {"first_at": explanation.first, "last_at": explanation.last}
            explanation.say(state("one_of_range", count=explanation.count, **span, catch_up=self._catch_up(fire)))

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
            explanation.say(state("job_paused", period=_period(explanation.pause)))
        elif explanation.hold is not None:
            explanation.say(state("all_held", period=_period(explanation.hold)))
        elif explanation.silence is not None:
            explanation.say(state("no_kernel", silence=_silence(explanation.silence)))

    async def _explain_open(self, explanation: FireExplanation, following: FireOutcome | None) -> None:
        """Explain a fire without an outcome in the log."""
        fire, current = explanation.scheduled_time, self._history.state
        explanation.pause = self._history.pauses[-1] if current.paused and self._history.pauses else None
        explanation.hold = await present_hold(self._store, self._now) if following is None else None
        facts, ends = [], []
        if explanation.pause is not None:
            facts.append(state("is_paused", period=_period(explanation.pause)))
            ends.append(state("resumed"))
        if explanation.hold is not None:
            facts.append(state("is_held", period=_period(explanation.hold)))
            ends.append(state("released"))
        held = {"held": chain("both_facts", facts), "free": chain("both_ends", ends)} if facts else {}
        if fire > self._now:
            explanation.fate = "to_come"
            explanation.say(state("due_in", left_s=(fire - self._now).total_seconds()))
            if (skip := current.skip_of(fire)) is not None:
                code = "skipped" if skip.actor else "skipped_by_operator"
                explanation.say(state(code, actor=skip.actor or None, why=skip.reason or None))
            if held:
                explanation.say(state("unless", **held))
        elif following is not None:
            await self._explain_lost(explanation)
        elif held:
            explanation.fate = "held_back"
            explanation.say(state("held_back", **held))
        else:
            explanation.fate = "undecided"
            last = await fire_outcomes.last_event(self._store, self._head)
            if isinstance(last, events.KernelStopped):
                sign = state("stopped", since_at=last.at, stopped=last.reason)
                explanation.say(state("undecided_stopped", sign=sign))
            else:
                sign = state("last_event", last_at=last.at) if last is not None else state("log_empty")
                explanation.say(state("undecided", sign=sign))

    async def _explain_lost(self, explanation: FireExplanation) -> None:
        after = await fire_outcomes.position_at(self._store, explanation.scheduled_time, self._head)
        pruned = await fire_outcomes.pruned_until(self._store, after, self._head)
        if pruned is not None and explanation.scheduled_time < pruned:
            explanation.fate = "forgotten"
            explanation.say(state("pruned", pruned_at=pruned))
        else:
            explanation.fate = "no_outcome"
            explanation.say(state("no_outcome"))

    # --- facts ---

    async def _note_behind(self, explanation: FireExplanation, run_id: str) -> None:
        if (run := await self._store.execution(run_id)) is not None:
            explanation.behind.append(run)

    def _behind(self, explanation: FireExplanation) -> Statement:
        return behind_words(explanation.behind[-1] if explanation.behind else None, self._job_id)

    def _catch_up(self, fire: datetime) -> str | None:
        schedule = self._history.schedule_at(fire)
        return schedule.job.catch_up if schedule is not None and schedule.job is not None else None


def _silence(silence: Silence) -> Statement:
    since, until = silence.since, silence.until
    stopped = state("stopped", since_at=since, stopped=silence.stopped)
    if until is None:
        if silence.stopped is not None:
            return stopped
        return state("silent_since", since_at=since) if since is not None else state("silent_always")
    if silence.started is None or since is None:
        code = "silent_between" if since is not None else "silent_until"
        return state(code, since_at=since, until_at=until)
    before = stopped if silence.stopped is not None else state("ended_without_stop", since_at=since)
    return state("next_started", before=before, until_at=until, node=silence.started)


def _period(pause: Pause) -> Statement:
    code = "from_to" if pause.until else "since"
    return state(code, since_at=pause.since, until_at=pause.until, who=who(pause.by, pause.reason))


def _asked_to_stop(stream: list[Event]) -> dict[str, Any]:
    """Return who asked a run to stop, and why."""
    asked = [event for event in stream if isinstance(event, events.CancelRequested | events.Cancelled)]
    actor = next((event.actor for event in asked if event.actor), None)
    return {"actor": actor, "why": next((event.reason for event in asked if event.reason), None)}


def future_fire(trigger: AnchoredTrigger, newest: datetime) -> Statement:
    """Return what a fire in the future, which a wrong clock has left in the log, means for a job."""
    code = "future_fire_interval" if counts_elapsed_time(trigger) else "future_fire"
    return state(code, newest_at=newest)
