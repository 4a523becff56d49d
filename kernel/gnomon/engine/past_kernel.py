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
from gnomon.engine.log_analyses import LogAnalyses
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.logged_job_queries import LoggedJobQueries
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import PastError
from gnomon.jobs.registered import RegisteredJob
from gnomon.log_api import LogApi
from gnomon.past.log_index import Past
from gnomon.past.past_store import PastStore
from gnomon.ports import Clock
from gnomon.stores.reading import hold_of, tells_of_a_hold


class StandingClock(SystemClock):
    """A clock whose wall time stands still; waiting takes real time."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def time(self) -> float:
        return self._at.timestamp()


class PastKernel(LoggedJobQueries):
    """Answers the questions of KernelApi as of a moment, and refuses every order with PastError.

    Its health says what the log keeps of that time. The next fire of a job is the first one after the moment that its
    schedule of then has.
    """

    def __init__(
        self, kernel: KernelApi, loop: asyncio.AbstractEventLoop, store: PastStore, past: Past, analyses: LogAnalyses
    ) -> None:
        self.clock: Clock = StandingClock(past.moment.at)
        self.node, self.log_id, self.directory, self.plugins = kernel.node, kernel.log_id, None, ()
        self.loop = loop
        self.moment, self._facts = past.moment, past.facts
        self._store = self._past = store
        self._analyses = analyses
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
    async def kernels(self) -> list[KernelMember]:
        return []  # those that followed are not in the log

    def health(self) -> Health:
        return self._health

    async def _own_end_of(self, execution_id: str) -> Execution:
        execution = await self._get(execution_id)
        if not execution.is_over:
            raise PastError(f"execution {execution_id} had not ended at {self.moment.at.isoformat()}")
        return execution

    def _view(self, state: JobState, registered: RegisteredJob, unfinished: Iterable[Execution]) -> JobView:
        due = first_after(registered.job, state, self.moment.at)
        return self._jobs.view(state, registered, unfinished, next_fire=due, problem=state.problem)


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
