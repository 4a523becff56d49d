"""The commands of operators on single fires, on many jobs at once, and on the whole kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from gnomon.domain import events
from gnomon.domain.bulk_acts import MOST_AT_ONCE, MOST_MATCHED, ActOutcome, JobSelection, RunSelection
from gnomon.domain.list_query import parse_selection
from gnomon.domain.records import ExecutionQuery
from gnomon.engine.commands import KernelCommands
from gnomon.engine.fire_skips import expect_few, find_fire
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.refused_acts import refusable
from gnomon.errors import GnomonError, JobError
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import Absence
from gnomon.scheduling.exclusions import asked_instant
from gnomon.scheduling.timezones import timezone_or_utc


class OperatorCommands(KernelCommands):
    """The part of KernelApi for operators; see there for each method."""

    @on_kernel_loop
    @refusable("skip")
    async def skip(
        self,
        job_id: str,
        fire: datetime | None = None,
        *,
        undo: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> datetime:
        await self._timetable.idle()
        registered = self._jobs[job_id]
        state = self._journal.jobs.get(job_id)
        if state is None or registered.trigger is None:
            raise JobError(f"job {job_id!r} has no schedule, so there is no fire to skip")
        now, zone = self.clock.now(), timezone_or_utc(registered.job.timezone)
        fire = asked_instant(fire, zone) if fire is not None else None
        found = find_fire(registered.trigger, state, fire, now)
        if (state.skip_of(found) is None) == undo:
            return found  # as it was asked for before
        if not undo:
            expect_few(state)
        self._journal.record(
            events.FireSkipped,
            events.job_stream(job_id),
            job_id,
            actor=actor,
            reason=reason,
            scheduled_time=found,
            withdrawn=undo,
        )
        await self._durable()
        return found

    @on_kernel_loop
    async def hold(self, *, actor: str | None = None, reason: str | None = None) -> bool:
        await self._timetable.idle()
        if self._hold.current is not None:
            return False
        self._facts.record(events.KernelHeld, actor=actor, reason=reason)
        self._hold.current = events.Hold(self.clock.now(), actor, reason)
        for registered in self._jobs:
            self._timetable.remove(registered.job.id)
        await self._durable()
        return True

    @on_kernel_loop
    async def release(self, *, actor: str | None = None, reason: str | None = None) -> bool:
        if self._hold.current is None:
            return False
        self._facts.record(events.KernelReleased, actor=actor, reason=reason)
        self._hold.release()
        if self._keeps_time:
            absence = Absence(held_until=self.clock.now())
            for registered in self._jobs:
                self._registry.enter(registered.job.id, absence)
        await self._durable()
        return True

    @on_kernel_loop
    @refusable("backfill")
    async def backfill(
        self,
        job_id: str,
        since: datetime,
        until: datetime,
        *,
        overlap: bool = False,
        rate: str | None = None,
        rerun: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> int:
        await self._timetable.idle()
        zone = timezone_or_utc(self._jobs[job_id].job.timezone)
        first, last = asked_instant(since, zone), asked_instant(until, zone)
        order = {"since": first, "until": last, "overlap": overlap, "rate": rate, "rerun": rerun}
        count = await self._backfills.start(job_id, order, actor, reason)
        await self._durable()
        return count

    @on_kernel_loop
    @refusable("stop_backfill")
    async def stop_backfill(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        stopped = self._backfills.stop(job_id, actor, reason)
        await self._durable()
        return stopped

    @on_kernel_loop
    async def pause_jobs(
        self, selection: JobSelection, *, actor: str | None = None, reason: str | None = None
    ) -> list[ActOutcome]:
        job_ids = self._selected_jobs(selection)
        await self._timetable.idle()
        outcomes = _each(job_ids, lambda job_id: self._registry.pause(job_id, actor, reason))
        await self._durable()
        return outcomes

    @on_kernel_loop
    async def resume_jobs(
        self, selection: JobSelection, *, actor: str | None = None, reason: str | None = None
    ) -> list[ActOutcome]:
        job_ids = self._selected_jobs(selection)
        await self._timetable.idle()
        outcomes = _each(job_ids, lambda job_id: self._registry.resume(job_id, actor, reason))
        await self._durable()
        return outcomes

    @on_kernel_loop
    async def cancel_runs(
        self, selection: RunSelection, *, actor: str | None = None, reason: str | None = None
    ) -> list[ActOutcome]:
        if selection.is_empty:
            raise JobError("name the runs to cancel: by ids, by the job, by a tag of their jobs or by a query")
        if selection.ids is not None and selection.query:
            raise JobError("name the runs to cancel by their ids or by a query, not by both")
        run_ids = selection.ids if selection.ids is not None else self._live_runs(selection)
        _expect_few(run_ids, "runs", MOST_MATCHED if selection.query else MOST_AT_ONCE)
        outcomes = []
        for run_id in run_ids:
            try:
                await self._request_cancel(run_id, actor, reason)
            except GnomonError as exc:
                outcomes.append(ActOutcome(id=run_id, changed=False, error=str(exc)))
            else:
                outcomes.append(ActOutcome(id=run_id, changed=True))
        await self._durable()
        return outcomes

    def _selected_jobs(self, selection: JobSelection) -> list[str]:
        if selection.is_empty:
            raise JobError("name the jobs: by ids, by a tag or by a text to search for")
        if selection.ids is not None and not selection.tag and not selection.q:
            found = list(dict.fromkeys(selection.ids))  # unknown ones are answered one by one
        else:
            wanted = set(selection.ids) if selection.ids is not None else None
            found = sorted(
                one.job.id
                for one in self._jobs
                if (wanted is None or one.job.id in wanted) and self._matches(one.job, selection)
            )
        _expect_few(found, "jobs")
        return found

    def _matches(self, job: Job, selection: JobSelection) -> bool:
        if selection.tag and selection.tag not in job.tags:
            return False
        state = self._journal.jobs.get(job.id)
        texts = [job.id, job.name, job.description, *([state.display_name, state.note] if state is not None else [])]
        return not selection.q or any(selection.q.casefold() in text.casefold() for text in texts)

    def _live_runs(self, selection: RunSelection) -> list[str]:
        if selection.job_id is not None:
            self._jobs.expect(selection.job_id)
        asked = self._asked(selection.query or "")
        return [
            execution.id
            for execution in self._journal.live.values()
            if not execution.is_over
            and asked.matches(execution)
            and selection.job_id in {None, execution.job_id}
            and (selection.tag is None or selection.tag in self._tags_of(execution.job_id))
        ]

    def _asked(self, text: str) -> ExecutionQuery:
        wanted = parse_selection(text, self.clock.now())
        tags = {one.job.id: one.job.tags for one in self._jobs} if wanted.tags else {}
        return wanted.query(tags, ExecutionQuery(hidden=True))

    def _tags_of(self, job_id: str) -> list[str]:
        registered = self._jobs.get(job_id)
        return registered.job.tags if registered is not None else []


def _expect_few(ids: list[str], what: str, most: int = MOST_AT_ONCE) -> None:
    if len(ids) > most:
        raise JobError(f"{len(ids):,} {what} match, and one act may have {most:,}: select fewer of them")


def _each(job_ids: Iterable[str], act: Callable[[str], bool]) -> list[ActOutcome]:
    """Act on one job after the other; one that is refused stops no other."""
    outcomes = []
    for job_id in job_ids:
        try:
            outcomes.append(ActOutcome(id=job_id, changed=act(job_id)))
        except GnomonError as exc:
            outcomes.append(ActOutcome(id=job_id, changed=False, error=str(exc)))
    return outcomes
