"""How long running executions still need, in every answer that has them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from aiohttp import web

from gnomon import Execution, ExecutionQuery, KernelApi
from gnomon.domain.estimates import TYPICAL_RUNS, eta_of, past_run
from gnomon.domain.eta import Eta, PastRun
from gnomon.domain.records import JobScope
from gnomon.wire.records import Record
from gnomon_web.app_keys import KERNEL, PAST

FRESH_S = 10.0
"""Seconds for which past runs are used again: one run more or less changes little."""


class PastRuns:
    """The newest successful runs of jobs, read for all that are asked for with one query."""

    def __init__(self, kernel: KernelApi) -> None:
        self._kernel = kernel
        self._known: dict[str, tuple[float, list[PastRun]]] = {}

    async def of(self, job_ids: Collection[str]) -> dict[str, list[PastRun]]:
        """Return the past runs of these jobs."""
        now = asyncio.get_running_loop().time()
        self._known = {job_id: one for job_id, one in self._known.items() if now - one[0] < FRESH_S}
        if unknown := frozenset(job_ids) - self._known.keys():
            query = ExecutionQuery(
                scope=JobScope(ids=unknown), status=("success",), per_job=TYPICAL_RUNS, hidden=True, brief=True
            )
            found = defaultdict[str, list[PastRun]](list)
            for execution in (await self._kernel.executions(query)).items:
                found[execution.job_id].append(past_run(execution))
            self._known |= {job_id: (now, found[job_id]) for job_id in unknown}
        return {job_id: self._known[job_id][1] if job_id in self._known else [] for job_id in job_ids}


PAST_RUNS = web.AppKey("past_runs", PastRuns)


async def etas_of(request: web.Request, executions: Iterable[Execution]) -> dict[str, Eta]:
    """Return what is known about the running ones among these executions, by id."""
    running = [one for one in executions if one.status == "running" and not one.cancel_requested]
    if not running:
        return {}
    known = PastRuns(request[PAST]) if PAST in request else request.app[PAST_RUNS]
    past = await known.of({one.job_id for one in running})
    now = request.get(PAST, request.app[KERNEL]).clock.now()
    found = {one.id: eta_of(one, past[one.job_id], now) for one in running}
    return {execution_id: eta for execution_id, eta in found.items() if eta is not None}


async def records_of(request: web.Request, executions: Sequence[Execution]) -> list[Record]:
    """Return the records of executions, the running ones with what is known about their rest."""
    etas = await etas_of(request, executions)
    return [Record.of(one, eta=etas.get(one.id)) for one in executions]
