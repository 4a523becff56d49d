"""The queries of KernelApi that the log answers, in every role, and how calls reach the loop of the kernel."""

from __future__ import annotations

import asyncio
import functools
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import date, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain, explain_run
from gnomon.analysis.job_changes import definition_changes
from gnomon.analysis.run_difference import compare_run
from gnomon.api import KernelApi
from gnomon.domain.audits import AuditReport
from gnomon.domain.estimates import TYPICAL_RUNS, Timing, timing
from gnomon.domain.events import Event, job_stream
from gnomon.domain.execution import Execution
from gnomon.domain.given_values import ACT_TEXTS, expect_act_texts, expect_ids
from gnomon.domain.parameter_checks import Parameters
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page
from gnomon.domain.run_difference import LoggedAct, RunDifference
from gnomon.engine.log_analyses import LogAnalyses
from gnomon.engine.loop_calls import NOT_RUNNING, call_on
from gnomon.errors import GnomonError, ParameterError, UnknownExecutionError, UnknownJobError
from gnomon.explanations import Explanation
from gnomon.forks import forked_error
from gnomon.ports import Clock, Store
from gnomon.text import is_writable

MOST_AUDITED = 300_000
"""Events of an audit beside a running kernel, which reads them within some seconds."""
P = ParamSpec("P")
R = TypeVar("R")
Self_ = TypeVar("Self_", bound="LogQueries")


def on_kernel_loop(
    method: Callable[Concatenate[Self_, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Self_, P], Coroutine[Any, Any, R]]:
    """Run a coroutine method on the kernel's loop, whatever loop it is awaited on: plugins have loops of their own.

    Values of wrong types are refused first. So is an actor, owner or reason that the log could not give back, and an
    actor with a reserved name: its acts would pass for those of the kernel.
    """
    parameters = Parameters(method, left_out=ACT_TEXTS)

    @functools.wraps(method)
    async def call_on_kernel_loop(self: Self_, /, *args: P.args, **kwargs: P.kwargs) -> R:
        loop = self.loop  # read once: the kernel may stop at any moment in its own thread
        if loop is None:
            self.expect_own_process()
            raise GnomonError(NOT_RUNNING)
        parameters.expect(args, kwargs)
        expect_act_texts(kwargs)
        return await call_on(loop, method(self, *args, **kwargs))

    return call_on_kernel_loop


class LogQueries(KernelApi):
    """The part of KernelApi that reads the log alone; see there for each method."""

    clock: Clock
    loop: asyncio.AbstractEventLoop | None
    _store: Store
    _analyses: LogAnalyses
    _parent: int | None = None
    """The process in which the kernel runs, in one that was forked from it."""

    def expect_own_process(self) -> None:
        """Raise ForkedProcessError in a forked child: everything that the kernel has is its parent's."""
        if self._parent is not None:
            raise forked_error("the kernel", self._parent)

    @on_kernel_loop
    async def execution(self, execution_id: str) -> Execution:
        return await self._get(execution_id)

    @on_kernel_loop
    async def executions(self, query: ExecutionQuery) -> Page:
        return await self._store.executions(query)

    @on_kernel_loop
    async def actions(self, query: ActionQuery) -> ActionPage:
        return await self._store.actions(query)

    @on_kernel_loop
    async def history(self, execution_id: str) -> list[Event]:
        if not is_writable(execution_id) or not (history := await self._store.stream(execution_id)):
            raise UnknownExecutionError(execution_id)
        return history

    @on_kernel_loop
    async def timing(self, execution_id: str) -> Timing:
        execution = await self._get(execution_id)
        query = ExecutionQuery(job_id=execution.job_id, status=("success",), limit=TYPICAL_RUNS)
        past = (await self._store.executions(query)).items
        return timing(execution, past, self.clock.now())

    @on_kernel_loop
    async def explain(self, job_id: str, at: datetime | None = None, *, day: date | None = None) -> Explanation:
        if not is_writable(job_id):
            raise UnknownJobError(job_id)
        if at is not None and day is not None:
            raise ParameterError("day", "`at` and `day` both say what is asked about: pass one of them")
        now = self.clock.now()
        return await self._analyses.run(lambda store: explain(store, job_id, at or day, now))

    @on_kernel_loop
    async def explain_run(self, execution_id: str) -> Explanation:
        now, run = self.clock.now(), await self._get(execution_id)
        return await self._analyses.run(lambda store: explain_run(store, run.id, now))

    @on_kernel_loop
    async def audit(self, since: datetime, job_ids: Sequence[str] | None = None) -> AuditReport:
        now, wanted = self.clock.now(), list(job_ids) if job_ids is not None else None
        return await self._analyses.run(lambda store: audit(store, since, now, wanted, most_events=MOST_AUDITED))

    @on_kernel_loop
    async def job_changes(self, job_id: str) -> list[LoggedAct]:
        stream = await self._store.stream(job_stream(job_id)) if is_writable(job_id) else []
        if not stream:
            raise UnknownJobError(job_id)
        return definition_changes(stream)

    @on_kernel_loop
    async def compare_run(self, execution_id: str, to: str | None = None) -> RunDifference:
        run, other = await self._get(execution_id), await self._get(to) if to is not None else None
        await self._write_lines()
        return await self._analyses.run(lambda store: compare_run(store, run.id, other.id if other else None))

    @on_kernel_loop
    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        if not is_writable(execution_id):
            return []
        await self._write_lines()
        return await self._store.log(execution_id, after, limit)

    @on_kernel_loop
    async def events(self, after: int = 0, limit: int = 1000) -> list[Event]:
        return await self._store.read(after, limit)

    @on_kernel_loop
    async def checkpoint(self, name: str) -> Checkpoint | None:
        return await self._store.checkpoint(name)

    @on_kernel_loop
    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    @on_kernel_loop
    async def wait(self, execution_id: str) -> Execution:
        ended = await self._end_of(execution_id)
        await self._durable()
        return ended

    @on_kernel_loop
    async def wait_many(self, execution_ids: Iterable[str]) -> list[Execution]:
        wanted = list(execution_ids)
        expect_ids(wanted, "execution_ids")  # those of an iterator, too
        ended = [await self._end_of(execution_id) for execution_id in wanted]
        await self._durable()
        return ended

    async def _end_of(self, execution_id: str) -> Execution:
        """Wait until a run has ended, and return it; its end may not be durable yet.

        One that is snoozed has not had its outcome: this waits for the run that takes its place.
        """
        ended = await self._own_end_of(execution_id)
        while ended.snoozed_to is not None:
            ended = await self._own_end_of(ended.snoozed_to)
        return ended

    @on_kernel_loop
    async def end_of(self, execution_id: str) -> Execution:
        """Wait until this very run has ended, also by a snooze, and return it."""
        ended = await self._own_end_of(execution_id)
        await self._durable()
        return ended

    @abstractmethod
    async def _own_end_of(self, execution_id: str) -> Execution:
        """Wait until this very run has ended, and return it; its end may not be durable yet."""

    async def _write_lines(self) -> None:
        """Return when the store has the lines that runs have logged, which only a kernel that leads writes."""

    async def _durable(self) -> None:
        """Return when what was answered is durable: what a log has is, and a kernel that writes one waits for it."""

    async def _find(self, execution_id: str) -> Execution | None:
        if not is_writable(execution_id):  # no store has such an id, and some cannot be asked for it
            return None
        return await self._store.execution(execution_id)

    async def _get(self, execution_id: str) -> Execution:
        if (execution := await self._find(execution_id)) is None:
            raise UnknownExecutionError(execution_id)
        return execution
