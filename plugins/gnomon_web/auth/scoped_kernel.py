"""The kernel as the holder of a limited token sees it: its jobs and their executions, and nothing else.

This is the only place that knows what a scope hides. Handlers get the kernel from `kernel_of(request)`; what they ask
for outside of the scope is answered as if it did not exist, without a hint at names that are similar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from gnomon import Event, Execution, GnomonError, KernelApi, LogLine, UnknownExecutionError, UnknownJobError
from gnomon.api import JobOrdered, JobView, LiveRun, Triggered
from gnomon.domain.audits import AuditReport
from gnomon.domain.body_sample import BodySample
from gnomon.domain.bulk_acts import MOST_AT_ONCE, MOST_MATCHED, ActOutcome, JobSelection, RunSelection
from gnomon.domain.estimates import Timing
from gnomon.domain.events import AlertEvent, RecordedFact
from gnomon.domain.execution import FINAL, STATUSES
from gnomon.domain.hand_over import HandOver
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.kernel_health import Health
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.list_query import parse_selection
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, JobScope, Page
from gnomon.domain.run_difference import LoggedAct, RunDifference
from gnomon.domain.run_order import RunOrder
from gnomon.domain.workers import WorkerView
from gnomon.explanations import Explanation
from gnomon.jobs.diff import JobsDiff
from gnomon.jobs.job import Job
from gnomon_web.auth.roles import Scope
from gnomon_web.auth.visible_explanations import visible_explanation

MAX_READS = 20
"""Pages of the log that one call reads to find events of the scope."""


class ScopedKernel:
    """A KernelApi with the jobs of a scope; see there for each method.

    `on_denied` is called with the id of the job or execution when an act on one outside of the scope is refused.
    """

    def __init__(self, kernel: KernelApi, scope: Scope, on_denied: Callable[[str], None] = lambda _: None) -> None:
        self._kernel = kernel
        self._scope = scope
        self._on_denied = on_denied
        self.clock, self.node, self.log_id = kernel.clock, kernel.node, kernel.log_id
        self.plugins, self.directory = kernel.plugins, kernel.directory

    async def at(self, moment: datetime) -> KernelApi:
        return ScopedKernel(await self._kernel.at(moment), self._scope, self._on_denied)

    # --- jobs ---

    async def has(self, job_id: str) -> bool:
        """Return whether a job belongs to the scope. One that was removed belongs to it by its id alone."""
        if JobScope(self._scope.jobs).has(job_id):
            return True
        try:
            return bool(self._scope.tags) and self._scope.has_tag((await self._kernel.job(job_id)).job.tags)
        except UnknownJobError:
            return False

    async def expect_job(self, job_id: str) -> None:
        """Raise UnknownJobError for a job outside of the scope."""
        if not await self.has(job_id):
            raise UnknownJobError(job_id)

    async def expect_execution(self, execution_id: str) -> None:
        """Raise UnknownExecutionError for an execution of a job outside of the scope."""
        if not await self.has((await self._kernel.execution(execution_id)).job_id):
            raise UnknownExecutionError(execution_id)

    async def jobs(self) -> list[JobView]:
        scope = JobScope(self._scope.jobs)
        views = await self._kernel.jobs()
        return [view for view in views if scope.has(view.job.id) or self._scope.has_tag(view.job.tags)]

    async def job(self, job_id: str) -> JobView:
        await self.expect_job(job_id)
        try:
            return await self._kernel.job(job_id)
        except UnknownJobError:
            raise UnknownJobError(job_id) from None  # its message suggests a similar id, perhaps outside of the scope

    async def preview_job(self, keys: Mapping[str, Any], *, trusted: bool = False) -> JobPreview:
        raise _refused(self._scope)

    async def parameters(self, job_id: str) -> dict[str, Any]:
        await self.expect_job(job_id)
        try:
            return await self._kernel.parameters(job_id)
        except UnknownJobError:
            raise UnknownJobError(job_id) from None  # as above

    async def order_job(self, order: JobOrder, **how: Any) -> JobOrdered:
        raise _refused(self._scope)

    async def order_jobs(self, jobs: Any, **how: Any) -> list[JobOrdered]:
        raise _refused(self._scope)

    async def add_job(self, job: Any, /, **how: Any) -> Job:
        raise _refused(self._scope)

    async def add_jobs(self, jobs: Any, /, **how: Any) -> list[Job]:
        raise _refused(self._scope)

    async def change_job(self, job_id: str, /, **changes: Any) -> Job:
        raise _refused(self._scope)

    async def remove_job(self, job_id: str, **act: Any) -> None:
        raise _refused(self._scope)

    async def apply_jobs(self, jobs: Any, **how: Any) -> JobsDiff:
        raise _refused(self._scope)

    async def pause(self, job_id: str, **act: Any) -> bool:
        await self._expect_job_of_act(job_id)
        return await self._kernel.pause(job_id, **act)

    async def resume(self, job_id: str, **act: Any) -> bool:
        await self._expect_job_of_act(job_id)
        return await self._kernel.resume(job_id, **act)

    async def describe(self, job_id: str, **texts: Any) -> bool:
        await self._expect_job_of_act(job_id)
        return await self._kernel.describe(job_id, **texts)

    async def skip(self, job_id: str, fire: datetime | None = None, **act: Any) -> datetime:
        await self._expect_job_of_act(job_id)
        return await self._kernel.skip(job_id, fire, **act)

    async def backfill(self, job_id: str, since: datetime, until: datetime, **act: Any) -> int:
        await self._expect_job_of_act(job_id)
        return await self._kernel.backfill(job_id, since, until, **act)

    async def stop_backfill(self, job_id: str, **act: Any) -> bool:
        await self._expect_job_of_act(job_id)
        return await self._kernel.stop_backfill(job_id, **act)

    async def pause_jobs(self, selection: JobSelection, **act: Any) -> list[ActOutcome]:
        visible, hidden = await self._visible_of(selection)
        return await self._kernel.pause_jobs(visible, **act) + hidden

    async def resume_jobs(self, selection: JobSelection, **act: Any) -> list[ActOutcome]:
        visible, hidden = await self._visible_of(selection)
        return await self._kernel.resume_jobs(visible, **act) + hidden

    async def _visible_of(self, selection: JobSelection) -> tuple[JobSelection, list[ActOutcome]]:
        """Return a selection of jobs within the scope, and the outcomes for those that it names outside of it."""
        if selection.is_empty:
            return selection, []
        known = {view.job.id for view in await self.jobs()}
        hidden = [job_id for job_id in selection.ids or () if job_id not in known]
        for job_id in hidden:
            self._on_denied(job_id)
        outcomes = [ActOutcome(id=one, changed=False, error=str(UnknownJobError(one))) for one in hidden]
        wanted = sorted(known) if selection.ids is None else [one for one in selection.ids if one in known]
        return msgspec.structs.replace(selection, ids=wanted), outcomes

    async def cancel_runs(self, selection: RunSelection, **act: Any) -> list[ActOutcome]:
        if selection.is_empty:
            return await self._kernel.cancel_runs(selection, **act)
        if selection.query and selection.ids is None:
            ids = await self._unfinished(selection, selection.query)
            parts = [ids[start : start + MOST_AT_ONCE] for start in range(0, len(ids), MOST_AT_ONCE)]
            return [one for part in parts for one in await self._kernel.cancel_runs(RunSelection(ids=part), **act)]
        if selection.ids is None:
            views = [await self.job(selection.job_id)] if selection.job_id is not None else await self.jobs()
            tagged = [view for view in views if selection.tag is None or selection.tag in view.job.tags]
            ids = [one for view in tagged for one in (*view.running, *view.lingering, *view.waiting)]
            return await self._kernel.cancel_runs(RunSelection(ids=ids), **act)
        visible, hidden = [], []
        for run_id in selection.ids:
            try:
                await self._expect_execution_of_act(run_id)
                visible.append(run_id)
            except UnknownExecutionError as exc:
                hidden.append(ActOutcome(id=run_id, changed=False, error=str(exc)))
        return await self._kernel.cancel_runs(RunSelection(ids=visible), **act) + hidden

    async def _unfinished(self, selection: RunSelection, text: str) -> list[str]:
        """Return the unfinished runs within the scope that a selection by a query has."""
        views = [view for view in await self.jobs() if selection.tag is None or selection.tag in view.job.tags]
        tags = {view.job.id: view.job.tags for view in views if selection.job_id in {None, view.job.id}}
        base = ExecutionQuery(hidden=True, limit=MOST_AT_ONCE, brief=True)
        query = parse_selection(text, self.clock.now()).query(tags, base)
        live = tuple(status for status in query.status or STATUSES if status not in FINAL)
        query, found = msgspec.structs.replace(query, status=live), list[str]()
        while live:
            page = await self.executions(query)
            found += [run.id for run in page.items if run.job_id in tags]
            if page.next is None or len(found) > MOST_MATCHED:
                break
            query = msgspec.structs.replace(query, cursor=page.next)
        return found[:MOST_MATCHED]

    async def hold(self, **act: Any) -> bool:
        raise _refused(self._scope)

    async def release(self, **act: Any) -> bool:
        raise _refused(self._scope)

    # --- runs ---

    async def trigger(self, job_id: str, **how: Any) -> Triggered:
        await self._expect_job_of_act(job_id)
        return await self._kernel.trigger(job_id, **how)

    async def trigger_many(self, orders: Sequence[RunOrder], **how: Any) -> list[Triggered]:
        for job_id in {order.job_id for order in orders}:
            await self._expect_job_of_act(job_id)
        return await self._kernel.trigger_many(orders, **how)

    async def cancel(self, execution_id: str, **act: Any) -> Execution:
        await self._expect_execution_of_act(execution_id)
        return await self._kernel.cancel(execution_id, **act)

    async def fail(self, execution_id: str, message: str, **act: Any) -> Execution:
        await self._expect_execution_of_act(execution_id)
        return await self._kernel.fail(execution_id, message, **act)

    async def warn(self, execution_id: str, kind: str, message: str, **act: Any) -> Execution:
        await self._expect_execution_of_act(execution_id)
        return await self._kernel.warn(execution_id, kind, message, **act)

    async def hide(self, execution_id: str, **act: Any) -> Execution:
        await self._expect_execution_of_act(execution_id)
        return await self._kernel.hide(execution_id, **act)

    async def execution(self, execution_id: str) -> Execution:
        execution = await self._kernel.execution(execution_id)
        if not await self.has(execution.job_id):
            raise UnknownExecutionError(execution_id)
        return execution

    async def executions(self, query: ExecutionQuery) -> Page:
        return await self._kernel.executions(msgspec.structs.replace(query, scope=await self._job_scope()))

    async def live_runs(self) -> list[LiveRun]:
        return [run for run in await self._kernel.live_runs() if await self.has(run.job.id)]

    async def sample(self, execution_id: str) -> BodySample:
        await self._expect_execution_of_act(execution_id)
        return await self._kernel.sample(execution_id)

    async def wait_many(self, execution_ids: Iterable[str]) -> list[Execution]:
        return [await self.wait(execution_id) for execution_id in execution_ids]

    async def wait(self, execution_id: str) -> Execution:
        await self.expect_execution(execution_id)
        execution = await self._kernel.wait(execution_id)
        await self.expect_execution(execution_id)  # the job may have left the scope in the meantime
        return execution

    async def timing(self, execution_id: str) -> Timing:
        await self.expect_execution(execution_id)
        return await self._kernel.timing(execution_id)

    # --- the log ---

    async def history(self, execution_id: str) -> list[Event]:
        await self.expect_execution(execution_id)
        events = await self._kernel.history(execution_id)
        await self.expect_execution(execution_id)  # so that none of them came after the job had left the scope
        return events

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        try:
            await self.expect_execution(execution_id)
        except UnknownExecutionError:
            return []  # as for any id that the log does not know
        return await self._kernel.log(execution_id, after, limit)

    async def events(self, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        scope = await self._job_scope()
        for _ in range(MAX_READS):
            page = await self._kernel.events(after, limit)
            if not page or (found := [event for event in page if scope.has(event.job_id)]):
                return found if page else []
            after = page[-1].position
        return []

    async def explain(self, job_id: str, at: datetime | None = None, *, day: date | None = None) -> Explanation:
        await self.expect_job(job_id)
        try:
            found = await self._kernel.explain(job_id, at, day=day)
        except UnknownJobError:
            raise UnknownJobError(job_id) from None  # its message suggests a similar id, perhaps outside of the scope
        return await self._visible(found)

    async def explain_run(self, execution_id: str) -> Explanation:
        await self.expect_execution(execution_id)
        return await self._visible(await self._kernel.explain_run(execution_id))

    async def _visible(self, found: Explanation) -> Explanation:
        visible = {view.job.id for view in await self.jobs()}
        hidden = {view.job.id for view in await self._kernel.jobs()} - visible
        return await visible_explanation(found, hidden, self._sees_execution)

    async def _sees_execution(self, execution_id: str) -> bool:
        try:
            await self.expect_execution(execution_id)
        except UnknownExecutionError:
            return False
        return True

    async def job_changes(self, job_id: str) -> list[LoggedAct]:
        await self.expect_job(job_id)
        return await self._kernel.job_changes(job_id)

    async def compare_run(self, execution_id: str, to: str | None = None) -> RunDifference:
        for named in (execution_id, to):
            if named is not None:
                await self.expect_execution(named)
        found = await self._kernel.compare_run(execution_id, to)
        own = [fact for fact in found.between if not fact.what.startswith("kernel_")]
        total = found.between_total - (len(found.between) - len(own))
        return msgspec.structs.replace(found, between=own, between_total=total)

    async def actions(self, query: ActionQuery) -> ActionPage:
        return await self._kernel.actions(msgspec.structs.replace(query, scope=await self._job_scope()))

    async def checkpoint(self, name: str) -> Checkpoint | None:
        raise _refused(self._scope)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint, *, replaces: int | None = None) -> bool:
        raise _refused(self._scope)

    async def claim(self, name: str, *, limit: int = 1, period_s: float, uses: int = 1) -> float:
        raise _refused(self._scope)

    # --- the kernel itself ---

    async def record_fact(self, fact: type[RecordedFact], /, **facts: Any) -> int:
        if not issubclass(fact, AlertEvent):
            raise _refused(self._scope)
        await self._expect_job_of_act(facts.get("job_id", ""))
        return await self._kernel.record_fact(fact, **facts)

    def health(self) -> Health:
        return self._kernel.health()

    async def kernels(self) -> list[KernelMember]:
        raise _refused(self._scope)

    async def step_down(self, **act: Any) -> HandOver:
        raise _refused(self._scope)

    async def audit(self, since: datetime, job_ids: Sequence[str] | None = None) -> AuditReport:
        raise _refused(self._scope)

    async def workers(self) -> WorkerView:
        raise _refused(self._scope)

    async def report_member(self, member: KernelMember) -> None:
        raise _refused(self._scope)

    async def remove_member(self, member_id: str) -> None:
        raise _refused(self._scope)

    async def sleep(self, seconds: float) -> None:
        await self._kernel.sleep(seconds)

    async def _expect_job_of_act(self, job_id: str) -> None:
        try:
            await self.job(job_id)
        except UnknownJobError:
            self._on_denied(job_id)
            raise

    async def _expect_execution_of_act(self, execution_id: str) -> None:
        try:
            await self.expect_execution(execution_id)
        except UnknownExecutionError:
            self._on_denied(execution_id)
            raise

    async def _job_scope(self) -> JobScope:
        """Return the scope for the store, which knows no tags."""
        if not self._scope.tags:
            return JobScope(self._scope.jobs)
        tagged = (view.job.id for view in await self._kernel.jobs() if self._scope.has_tag(view.job.tags))
        return JobScope(self._scope.jobs, frozenset(tagged))


def _refused(scope: Scope) -> GnomonError:
    return GnomonError(f"a token that is limited to {scope} cannot do this")
