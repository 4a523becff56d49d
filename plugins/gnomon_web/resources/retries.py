"""Run again what has ended: single executions, or all that a query asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import Execution, ExecutionQuery, GnomonError, JobError, KernelApi, RunOrder, RunOrdersError
from gnomon.domain.bulk_acts import MOST_AT_ONCE, MOST_MATCHED
from gnomon.domain.execution import FINAL, STATUSES
from gnomon.jobs.job import Job
from gnomon.wire.operator_answers import Retried, RetriedRun
from gnomon_web.app_keys import actor_of, kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.jobs import TriggerHeaders
from gnomon_web.resources.list_queries import QueryText, with_query

OVER: Final = tuple(status for status in STATUSES if status in FINAL)


class RunsToRetry(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The runs by their ids, at most 1,000, or by a `query` as that of a list: all up to 10,000 that have ended."""

    ids: Annotated[list[str], Meta(min_length=1, max_length=MOST_AT_ONCE)] | None = None
    query: QueryText | None = None

    def __post_init__(self) -> None:
        """Refuse both, and neither."""
        if (self.ids is None) == (self.query is None):
            raise ValueError("give either the `ids` of runs or a `query`")


def routes() -> list[Route]:
    """Return the routes of this module."""
    act: dict[str, Any] = {"method": "POST", "role": "operator", "tag": "operators", "scoped": True}
    return [Route(path="/scheduler/executions/retry", handler=retry, errors=(404, 413, 415, 422), **act)]


async def retry(request: web.Request, headers: TriggerHeaders, body: RunsToRetry) -> Retried:
    """Run the jobs of executions that have ended again, each once, with the arguments and labels of that run.

    A repeated request makes no second runs: without an Idempotency-Key, the same actor runs each execution again once.
    """
    kernel = kernel_of(request)
    jobs = {view.job.id: view.job for view in await kernel.jobs()}
    answers: dict[str, RetriedRun] = {}
    runs: list[Execution] = []
    for execution_id, found in (await _chosen(kernel, body)).items():
        if isinstance(found, GnomonError):
            answers[execution_id] = _refused(execution_id, found)
        elif (problem := _problem(found, jobs)) is not None:
            answers[execution_id] = _refused(execution_id, problem)
        else:
            answers[execution_id] = RetriedRun(id=execution_id)
            runs.append(found)
    key = headers.idempotency_key or ""
    for start in range(0, len(runs), MOST_AT_ONCE):
        part = runs[start : start + MOST_AT_ONCE]
        answers |= await _run_again(kernel, part, jobs, key, actor_of(request))
    items = list(answers.values())
    return Retried(matched=len(items), started=sum(one.started for one in items), items=items)


async def _chosen(kernel: KernelApi, body: RunsToRetry) -> dict[str, Execution | GnomonError]:
    """Return the executions that are asked for, whole: lists cut long arguments."""
    if body.query is None:
        return {one: await _found(kernel, one) for one in body.ids or ()}
    query = await with_query(kernel, body.query, ExecutionQuery(limit=MOST_AT_ONCE))
    query = msgspec.structs.replace(query, status=tuple(one for one in query.status or OVER if one in OVER))
    if not query.status:
        return {}
    chosen: dict[str, Execution | GnomonError] = {}
    while True:
        page = await kernel.executions(query)
        if page.total > MOST_MATCHED:
            raise JobError(f"{page.total:,} runs match, and one act may have {MOST_MATCHED:,}: select fewer of them")
        chosen |= {view.id: view for view in page.items}
        if page.next is None:
            return chosen
        query = msgspec.structs.replace(query, cursor=page.next)


async def _found(kernel: KernelApi, execution_id: str) -> Execution | GnomonError:
    try:
        return await kernel.execution(execution_id)
    except GnomonError as exc:
        return exc


def _problem(view: Execution, jobs: Mapping[str, Job]) -> JobError | None:
    if not view.is_over:
        return JobError(f"run {view.id} has not ended: cancel it first, or wait for its end")
    if view.job_id not in jobs:
        return JobError(f"job {view.job_id!r} is not there any more")
    return None


async def _run_again(
    kernel: KernelApi, runs: Sequence[Execution], jobs: Mapping[str, Job], key: str, actor: str
) -> dict[str, RetriedRun]:
    answers: dict[str, RetriedRun] = {}
    while runs:
        orders = [_order(run, jobs[run.job_id], key) for run in runs]
        try:
            accepted = await kernel.trigger_many(orders, actor=actor, when_full="miss")
        except RunOrdersError as exc:  # none was accepted
            answers |= {runs[number].id: _refused(runs[number].id, problem) for number, problem in exc.problems.items()}
            runs = [run for number, run in enumerate(runs) if number not in exc.problems]
            continue
        for run, triggered in zip(runs, accepted, strict=True):
            new = triggered.execution
            is_missed = new.status == "missed"
            answers[run.id] = RetriedRun(
                id=run.id,
                run=new.id,
                started=triggered.is_new and not is_missed,
                error=f"missed: {new.detail or new.reason}" if is_missed else None,
            )
        break
    return answers


def _order(run: Execution, job: Job, key: str) -> RunOrder:
    """Return the order of a run with what it had besides the job: a job may allow no other arguments."""
    return RunOrder(
        job.id,
        {name: value for name, value in run.kwargs.items() if name not in job.kwargs or job.kwargs[name] != value},
        run.force,
        False,
        f"retry {key} {run.id}",
        {name: value for name, value in run.labels.items() if job.labels.get(name) != value},
    )


def _refused(execution_id: str, problem: GnomonError) -> RetriedRun:
    return RetriedRun(id=execution_id, error=str(problem))
