"""The kernel as it was at a moment: the questions of KernelApi, answered from the log up to there."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any

from gnomon.analysis.upcoming import first_after
from gnomon.api import JobView, KernelApi
from gnomon.clock import SystemClock
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.kernel_health import Health
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.own_copies import own_value
from gnomon.domain.records import ExecutionQuery, LogLine
from gnomon.engine.log_analyses import LogAnalyses
from gnomon.engine.log_queries import LogQueries, on_kernel_loop
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import PastError
from gnomon.jobs.parameters import parameters_schema
from gnomon.jobs.registered import RegisteredJob
from gnomon.log_api import LogApi
from gnomon.past.log_index import Past
from gnomon.past.past_store import MOST_OPEN, PastStore
from gnomon.ports import Clock
from gnomon.stores.reading import hold_of, tells_of_a_hold
from gnomon.text import is_writable


class StandingClock(SystemClock):
    """A clock whose wall time stands still; waiting takes real time."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def time(self) -> float:
        return self._at.timestamp()


class PastKernel(LogQueries):
    """Answers the questions of KernelApi as of a moment, and refuses every order with PastError.

    Its health says what the log keeps of that time. The next fire of a job is the first one after the moment that its
    schedule of then has.
    """

    def __init__(self, kernel: KernelApi, loop: asyncio.AbstractEventLoop, store: PastStore, past: Past) -> None:
        self.clock: Clock = StandingClock(past.moment.at)
        self.node, self.log_id, self.directory, self.plugins = kernel.node, kernel.log_id, None, ()
        self.loop = loop
        self.moment, self._facts = past.moment, past.facts
        self._store = self._past = store
        self._analyses = LogAnalyses(store)
        self._jobs = LoggedJobs(())
        self._health: Health

    async def look(self) -> None:
        """Read what `health` answers from memory."""
        statuses = [one.status for one in (await self._past.rewound()).values()]
        fact, hold = _newest(self._facts, _leads_or_stops), hold_of(_newest(self._facts, tells_of_a_hold))
        led = fact is not None and not isinstance(fact, events.KernelStopped)
        problem = None if led else "no kernel was running then"
        self._health = Health(
            state="healthy" if led else "stopped",
            problem=problem,
            store=self._store.name,
            position=self.moment.position,
            backlog=0,
            accepts_runs=led,
            running=statuses.count("running"),
            waiting=statuses.count("scheduled"),
            plugins=[],
            problems={"hold": f"no job fires: the kernel is {hold.words}"} if hold is not None else {},
            hold=hold,
            leader=f"process {fact.pid} on {fact.node}" if led and isinstance(fact, events.KernelLed) else None,
            moment=self.moment,
        )

    @on_kernel_loop
    async def jobs(self) -> list[JobView]:
        live = await self._unfinished(None)
        views = [self._view(state, job, live) for state, job in self._jobs.of(await self._store.jobs(removed=False))]
        return sorted(views, key=lambda view: view.job.id)

    @on_kernel_loop
    async def job(self, job_id: str) -> JobView:
        return self._view(*await self._job(job_id), await self._unfinished(job_id))

    @on_kernel_loop
    async def parameters(self, job_id: str) -> dict[str, Any]:
        _, registered = await self._job(job_id)
        return own_value(parameters_schema(registered.job, registered.body))

    @on_kernel_loop
    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        return await self._store.log(execution_id, after, limit) if is_writable(execution_id) else []

    @on_kernel_loop
    async def kernels(self) -> list[KernelMember]:
        return []  # those that followed are not in the log

    def health(self) -> Health:
        return self._health

    async def _own_end_of(self, execution_id: str) -> Execution:
        execution = await self._get(execution_id)
        if not execution.is_over:
            raise PastError(f"execution {execution_id} had not ended at {self.moment.at.isoformat()}")
        return execution

    async def _job(self, job_id: str) -> tuple[JobState, RegisteredJob]:
        states = await self._store.jobs([job_id]) if is_writable(job_id) else []
        known = [] if states else [state.job_id for state in await self._store.jobs(removed=False)]
        return self._jobs.one(job_id, states, known)

    async def _unfinished(self, job_id: str | None) -> list[Execution]:
        query = ExecutionQuery(job_id=job_id, status=("scheduled", "running"), limit=MOST_OPEN, brief=True)
        return list((await self._store.executions(query)).items)

    def _view(self, state: JobState, registered: RegisteredJob, live: Iterable[Execution]) -> JobView:
        due = first_after(registered.job, state, self.moment.at)
        return self._jobs.view(state, registered, live, next_fire=due, problem=state.problem)


def _leads_or_stops(event: Event) -> bool:
    return isinstance(event, events.KernelStarted | events.KernelLed | events.KernelStopped)


def _newest(facts: list[Event], wanted: Callable[[Event], bool]) -> Event | None:
    return next(filter(wanted, reversed(facts)), None)


def _refusal(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def refuse(self: PastKernel, *_args: Any, **_how: Any) -> Any:
        raise PastError(
            f"the past cannot be changed: `{name}` needs the present kernel, and this one is as of "
            f"{self.moment.at.isoformat()}"
        )

    return refuse


for _name, _method in (
    *vars(LogApi).items(),
    *vars(KernelApi).items(),
):  # the questions are defined above, and the rest are orders
    if inspect.iscoroutinefunction(_method) and getattr(PastKernel, _name) is _method:
        setattr(PastKernel, _name, _refusal(_name))
