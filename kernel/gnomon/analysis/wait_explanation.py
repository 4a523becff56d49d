"""Explain from the log what a run waits for, or waited for, before it started: other jobs, a group, a slot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from gnomon.analysis.dependency_explanation import last_success, recorded_last, upstream_runs, waiting_words
from gnomon.analysis.group_explanation import group_of, what_it_waits_for
from gnomon.analysis.queue_explanation import queue_words, slot_holders, stall_words
from gnomon.analysis.schedule_history import ScheduleHistory
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.ports import Store
from gnomon.text import length

NEGLIGIBLE_DELAY = timedelta(seconds=1)
"""Largest delay of a start that needs no explanation."""
NEIGHBOURS = 200
"""Events before a start among which the end of the run that freed its slot is searched."""
CUT_OFF_RECORDED_WITHIN = timedelta(seconds=10)

Found = tuple[list[str], list[Execution]]
"""Sentences, and the runs that they are about."""


class WaitExplainer:
    """Explains the waits of the runs of one job."""

    def __init__(
        self, store: Store, history: ScheduleHistory, when: Callable[[datetime | None], str], now: datetime
    ) -> None:
        self._store = store
        self._history = history
        self._when = when
        self._now = now
        self._job_id = history.state.job_id

    async def not_started(self, run: Execution) -> Found:
        """Return what a run waits for."""
        if run.handed_to is not None:
            return await self.in_queue(run), []
        if run.not_before is not None and run.not_before > self._now:
            before = await self._store.execution(run.retry_of) if run.retry_of is not None else None
            is_snoozed = before is not None and before.is_snoozed
            why = "because the run before it was snoozed" if is_snoozed else "as its retry policy says"
            return [f"It waits until {self._when(run.not_before)}, {why}."], []
        if run.is_fire and (after := self._after(run)):
            upstream = await upstream_runs(self._store, self._job_id, after, run.scheduled_time)
            if (words := waiting_words(upstream, self._when)) is not None:
                return [words], [one.run for one in upstream if one.run is not None and one.run.status != "success"]
        if (group := await group_of(self._store, self._job_id, self._now)) is not None:
            words, active = await what_it_waits_for(self._store, group, self._now)
            if words is not None:
                return [words], active
        behind = [one for one in await slot_holders(self._store, self._job_id) if one.id != run.id]
        if not behind:
            return ["It waits for a slot, or for a kernel to start it."], []
        first = behind[-1]
        if first.status == "running":
            state = f"started at {self._when(first.timestamp)} and is still running"
        else:
            queue = f"queue {first.queue}" if first.queue else f"runner {first.handed_to}"
            state = f"was handed over to {queue} at {self._when(first.handed_over_at)} and which no worker has begun"
        return [f"It is waiting for run {first.id} of this job, which {state}."], behind

    async def in_queue(self, run: Execution, started: events.Started | None = None) -> list[str]:
        """Return how a run waited in a queue of workers elsewhere, and what kept it there."""
        end = started.at if started is not None else self._now if run.status == "scheduled" else run.updated_at
        return [
            *queue_words(run, self._when, started),
            *await stall_words(self._store, run, end, self._when),
        ]

    async def upstream_end(self, run: Execution) -> Execution | None:
        """Return the upstream run whose success let a run start; None for a job that waits for no others."""
        after = self._after(run) if run.is_fire else []
        return (
            last_success(await upstream_runs(self._store, self._job_id, after, run.scheduled_time)) if after else None
        )

    async def followed(self, fire: datetime) -> tuple[Execution, Event] | None:
        """Return the upstream run whose fire a job without a schedule follows, with the event that recorded it."""
        schedule = self._history.schedule_at(fire) or next(reversed(self._history.schedules), None)
        if schedule is None or schedule.job is None or schedule.trigger is not None or not schedule.job.after:
            return None
        return await recorded_last(
            self._store, await upstream_runs(self._store, self._job_id, schedule.job.after, fire)
        )

    async def waited(self, run: Execution, since: datetime, started: Event) -> Found:
        """Find the run whose end allowed a waiting run to start."""
        waited = length(started.at - since)
        if (held_up := await self._cut_off(since, started)) is not None:
            return [f"It waited {waited}: {held_up.detail}."], []
        block = await self._store.read(max(started.position - NEIGHBOURS, 0), NEIGHBOURS)
        ended = [event for event in block if event.position < started.position and _frees_a_slot(event, started)]
        own = [event for event in ended if event.job_id == self._job_id and event.stream != run.id]
        group = await group_of(self._store, self._job_id, self._now)
        if not ended and group is not None and group.rate is not None:
            return [f"It waited {waited} for the rate of group {group.name}: {group.rate}."], []
        if not ended:
            return [f"It waited {waited}; then a kernel that had just started resumed it."], []
        shared = [event for event in ended if group is not None and event.job_id in group.jobs]
        what, cause = "a slot: max_running runs were active", ended[-1]
        if own:
            what, cause = "another run of the job to end", own[-1]
        elif group is not None and shared:
            what, cause = f"a slot of group {group.name}", shared[-1]
        other = await self._store.execution(cause.stream)
        words = f"It waited {waited} for {what}. {behind_words(other, self._job_id, self._when)}"
        return [words], [other] if other is not None else []

    async def _cut_off(self, since: datetime, started: Event) -> events.KernelHeldUp | None:
        """Return the fact that the store accepted no runs in that time; it is recorded when it accepts them again."""
        facts = await self._store.job_events("", since, started.at + CUT_OFF_RECORDED_WITHIN)
        found = (one for one in facts if isinstance(one, events.KernelHeldUp) and one.kind == "cut_off")
        return next((one for one in found if one.until - timedelta(seconds=one.seconds) <= started.at), None)

    def _after(self, run: Execution) -> list[str]:
        schedule = self._history.schedule_at(run.scheduled_time)
        if schedule is not None and schedule.job is not None:
            return schedule.job.after
        named = self._history.state.definition.get("after", [])
        return [one for one in named if isinstance(one, str)] if isinstance(named, list) else []


def behind_words(run: Execution | None, job_id: str, when: Callable[[datetime | None], str]) -> str:
    """Return which run was in the way of one of a job, in a sentence; None for one that is not in the log."""
    if run is None:
        return "That run is no longer in the log."
    of = "" if run.job_id == job_id else f" of job {run.job_id}"
    end = f", and ended at {when(run.updated_at)} ({run.status})" if run.is_over else f" and is still {run.status}"
    if run.status == "missed":
        return f"That was run {run.id}{of}, which was missed at {when(run.updated_at)}."
    return f"That was run {run.id}{of}, which started at {when(run.timestamp)}{end}."


def _frees_a_slot(event: Event, started: Event) -> bool:
    """Return whether an event is the end of a run that occupied a slot until then; a lost run ended long before."""
    if started.at - event.at > NEGLIGIBLE_DELAY or not isinstance(
        event, events.Succeeded | events.Failed | events.Cancelled
    ):
        return False
    return not (isinstance(event, events.Failed) and event.reason == "lost")
