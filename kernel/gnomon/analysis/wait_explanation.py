"""Explain from the log what a run waits for, or waited for, before it started: other jobs, a group, a slot."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.analysis.dependency_explanation import last_success, recorded_last, upstream_runs, waiting_words
from gnomon.analysis.group_explanation import group_of, what_it_waits_for
from gnomon.analysis.queue_explanation import queue_of, queue_words, slot_holders, stall_words
from gnomon.analysis.schedule_history import ScheduleHistory
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.statement import Statement, state
from gnomon.ports import Store

NEGLIGIBLE_DELAY = timedelta(seconds=1)
"""Largest delay of a start that needs no explanation."""
NEIGHBOURS = 200
"""Events before a start among which the end of the run that freed its slot is searched."""
CUT_OFF_RECORDED_WITHIN = timedelta(seconds=10)

Found = tuple[list[Statement], list[Execution]]
"""Statements, and the runs that they are about."""


class WaitExplainer:
    """Explains the waits of the runs of one job."""

    def __init__(self, store: Store, history: ScheduleHistory, now: datetime) -> None:
        self._store = store
        self._history = history
        self._now = now
        self._job_id = history.state.job_id

    async def not_started(self, run: Execution) -> Found:
        """Return what a run waits for."""
        if run.handed_to is not None:
            return await self.in_queue(run), []
        if run.not_before is not None and run.not_before > self._now:
            before = await self._store.execution(run.retry_of) if run.retry_of is not None else None
            is_snoozed = before is not None and before.is_snoozed
            return [state("waits_snoozed" if is_snoozed else "waits_retry", until_at=run.not_before)], []
        if run.is_fire and (after := self._after(run)):
            upstream = await upstream_runs(self._store, self._job_id, after, run.scheduled_time)
            if (words := waiting_words(upstream)) is not None:
                return [words], [one.run for one in upstream if one.run is not None and one.run.status != "success"]
        if (group := await group_of(self._store, self._job_id, self._now)) is not None:
            words, active = await what_it_waits_for(self._store, group, self._now)
            if words is not None:
                return [words], active
        return await self._for_a_slot(run)

    async def _for_a_slot(self, run: Execution) -> Found:
        behind = [one for one in await slot_holders(self._store, self._job_id) if one.id != run.id]
        if not behind:
            return [state("waits_slot")], []
        first = behind[-1]
        if first.status == "running":
            return [state("behind_running", run=first.id, started_at=first.timestamp)], behind
        handed = {"queue": queue_of(first), "handed_at": first.handed_over_at}
        return [state("behind_handed", run=first.id, **handed)], behind

    async def in_queue(self, run: Execution, started: events.Started | None = None) -> list[Statement]:
        """Return how a run waited in a queue of workers elsewhere, and what kept it there."""
        end = started.at if started is not None else self._now if run.status == "scheduled" else run.updated_at
        return [
            *queue_words(run, started),
            *await stall_words(self._store, run, end),
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
        waited = {"waited_s": (started.at - since).total_seconds()}
        if (held_up := await self._cut_off(since, started)) is not None:
            return [state("waited_detail", **waited, detail=held_up.detail)], []
        block = await self._store.read(max(started.position - NEIGHBOURS, 0), NEIGHBOURS)
        ended = [event for event in block if event.position < started.position and _frees_a_slot(event, started)]
        own = [event for event in ended if event.job_id == self._job_id and event.stream != run.id]
        group = await group_of(self._store, self._job_id, self._now)
        if not ended and group is not None and group.rate is not None:
            return [state("waited_rate", **waited, group=group.name, rate=str(group.rate))], []
        if not ended:
            return [state("waited_resumed", **waited)], []
        shared = [event for event in ended if group is not None and event.job_id in group.jobs]
        what, cause = state("kernel_slot"), ended[-1]
        if own:
            what, cause = state("other_run"), own[-1]
        elif group is not None and shared:
            what, cause = state("slot_of_group", group=group.name), shared[-1]
        other = await self._store.execution(cause.stream)
        statement = state("waited_for", **waited, what=what, behind=behind_words(other, self._job_id))
        return [statement], [other] if other is not None else []

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


def behind_words(run: Execution | None, job_id: str) -> Statement:
    """Return which run was in the way of one of a job; None for one that is not in the log."""
    if run is None:
        return state("behind_gone")
    of = {"run": run.id, "job": None if run.job_id == job_id else run.job_id}
    if run.status == "missed":
        return state("behind_missed", **of, ended_at=run.updated_at)
    if run.is_over:
        return state("behind_ended", **of, started_at=run.timestamp, ended_at=run.updated_at, fate=run.status)
    return state("behind_active", **of, started_at=run.timestamp, fate=run.status)


def _frees_a_slot(event: Event, started: Event) -> bool:
    """Return whether an event is the end of a run that occupied a slot until then; a lost run ended long before."""
    if started.at - event.at > NEGLIGIBLE_DELAY or not isinstance(
        event, events.Succeeded | events.Failed | events.Cancelled
    ):
        return False
    return not (isinstance(event, events.Failed) and event.reason == "lost")
