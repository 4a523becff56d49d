"""The kernel: wires the parts together, and is what programs, plugins and frontends talk to."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import msgspec
import structlog

from gnomon.admission import Admission
from gnomon.catch_up import Absence
from gnomon.clock import SystemClock
from gnomon.dispatcher import Dispatcher
from gnomon.errors import (
    DeposedError,
    ExecutionOverError,
    ExecutionRunningError,
    GnomonError,
    JobError,
    UnknownExecutionError,
)
from gnomon.events import Event, FailedReason, Hidden
from gnomon.execution import Execution, manual_execution_id
from gnomon.job_state import JobState
from gnomon.jobs import Job, check_arguments
from gnomon.journal import Journal
from gnomon.launcher import Launcher, Registered
from gnomon.log_capture import captured
from gnomon.log_identity import identify
from gnomon.memory import MemoryStore
from gnomon.plugins import PluginSet
from gnomon.ports import (
    ActionPage,
    ActionQuery,
    Checkpoint,
    Clock,
    ExecutionQuery,
    LogLine,
    Page,
    Runner,
    Store,
)
from gnomon.progress import Timing
from gnomon.recovery import recover
from gnomon.registry import Difference, Registry, check_json, register
from gnomon.runners.async_task import AsyncRunner
from gnomon.runners.process import ProcessRunner
from gnomon.runners.thread import ThreadRunner
from gnomon.supervisor import Supervisor
from gnomon.timetable import Timetable
from gnomon.timing import timing
from gnomon.views import Health, JobView, LiveRun, Triggered

log = structlog.stdlib.get_logger("gnomon.kernel")
P = ParamSpec("P")
R = TypeVar("R")

FLUSH_LIMIT = 10.0
"""Seconds that a stopping kernel waits for its last events to become durable, and for plugins to leave."""
TYPICAL_RUNS = 20
"""Newest successful runs of a job whose median says how long the next one takes."""
HOUSEKEEPING = 5.0
"""Seconds between two looks at plugins that may hang."""


def on_kernel_loop(
    method: Callable[Concatenate[Kernel, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Kernel, P], Coroutine[Any, Any, R]]:
    """Let a coroutine method be awaited from any event loop: plugins live on loops of their own."""

    @functools.wraps(method)
    async def hop(self: Kernel, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.loop is None:
            raise GnomonError("the kernel is not running: use it inside of `async with kernel:`")
        call = method(self, *args, **kwargs)
        if asyncio.get_running_loop() is self.loop:
            return await call
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self.loop))

    return hop


class Kernel:
    """Keeps time, runs jobs, and writes down everything that happens.

    Used as `async with Kernel(...) as kernel:`; it runs until the block is left. All coroutine methods may be awaited
    from any thread that has an event loop. `actor` says who wants something, and is kept in the log.

    `log_id` names the log for as long as it exists, and no other one has it: positions mean something only together
    with it. `timezone` is the zone of jobs that name none. `drain` is how long leaving waits for bodies that are going.
    `keeps_time=False` makes a kernel that runs only what is triggered.
    """

    def __init__(  # noqa: PLR0913 - what a deployment may set, all by name
        self,
        *,
        store: Store | None = None,
        jobs: Iterable[Job | Callable[..., Any]] = (),
        plugins: PluginSet | None = None,
        clock: Clock | None = None,
        timezone: str = "UTC",
        node: str | None = None,
        max_running: int = 100,
        drain: timedelta = timedelta(seconds=30),
        hook_timeout: timedelta = timedelta(seconds=10),
        keeps_time: bool = True,
    ) -> None:
        self.clock = clock or SystemClock()
        self.node = node or socket.gethostname()
        self.drain = drain
        self.plugins = plugins if plugins is not None else PluginSet()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.log_id = ""
        self._timezone = timezone
        self._keeps_time = keeps_time
        self._store = store or MemoryStore()
        self._jobs: dict[str, Registered] = {}
        for one in jobs:
            self.add(one)
        seconds = hook_timeout.total_seconds()
        self._dispatcher = Dispatcher(self.plugins, self._store, self, seconds)
        self._journal = Journal(self._store, self.clock, self.node, self._dispatcher.publish)
        self._admission = Admission(max_running, lambda: self._store.health().accepts_runs)
        self._admission.is_open = False  # until everything has been started
        self._launcher = Launcher(self._journal, self.clock, self.plugins, self._admission, self._jobs, seconds)
        self._supervisor = Supervisor(self._journal, self._store, self.clock, self._runners(), self._launcher.over)
        self._timetable = Timetable(self.clock, self._launcher.dispatch)
        self._registry = Registry(self._journal, self.clock, self._timetable, self._launcher, self._jobs)
        self._resources = AsyncExitStack()
        self._keyed_turn = asyncio.Lock()
        self._hiding_turn = asyncio.Lock()

    def _runners(self) -> dict[str, Runner]:
        runners = (AsyncRunner(self.clock), ThreadRunner(self.clock), ProcessRunner(self.clock))
        return {runner.name: runner for runner in runners}

    # --- lifetime ---

    async def __aenter__(self) -> Self:
        """Open the store, start the plugins, settle what an earlier kernel left, and begin to keep time."""
        self.loop = asyncio.get_running_loop()
        try:
            await self._start(self._resources)
        except BaseException:
            await self._leave()
            raise
        log.info(
            "kernel started", node=self.node, store=self._store.name, jobs=len(self._jobs), head=self._journal.head
        )
        return self

    async def _start(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._store)
        await self._journal.start()
        self.log_id = await identify(self._store)
        head = self._journal.head
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [_part(tasks, self._journal.run(), "journal")]
        stack.push_async_callback(_cancel, background)
        stack.push_async_callback(self._dispatcher.stop, FLUSH_LIMIT)
        self._supervisor.begin(tasks)
        self._launcher.begin(self._supervisor, tasks)
        background += [
            _part(tasks, self._supervisor.conflate(), "supervisor"),
            _part(tasks, self._housekeep(), "housekeeping"),
        ]
        stack.push_async_callback(self._flush)
        stack.enter_context(captured())
        await self._settle_the_past()
        # Not earlier: what plugins call from their lifespans finds all jobs. No body begins before all plugins have.
        await self._dispatcher.start(head, self._journal.head)
        self._admission.is_open = True
        self._launcher.pump()
        if self._keeps_time:
            background.append(_part(tasks, self._timetable.run(), "timetable"))

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Start nothing more, let bodies end within `drain`, cancel the rest, make everything durable, close."""
        self._stop_starting()
        try:
            if exc_type is None:
                await self._supervisor.drain(self.drain.total_seconds())
        finally:
            await self._leave()
        log.info("kernel stopped", node=self.node, head=self._journal.head)

    def _stop_starting(self) -> None:
        self._admission.is_open = False
        self._launcher.close()
        for job_id in self._jobs:
            self._timetable.take(job_id)

    async def _leave(self) -> None:
        # aclose() and not __aexit__(exc): the task group would wrap an exception of the caller's into a group.
        self._stop_starting()
        try:
            await self._supervisor.stop("kernel", "the kernel was stopped")
        finally:
            await self._resources.aclose()
            self.loop = None

    async def _settle_the_past(self) -> None:
        if not self._keeps_time:
            return  # what an earlier kernel left waits for one that keeps time and knows all the jobs
        self._registry.apply(list(self._jobs.values()), "kernel", "the kernel was started with these definitions")
        await recover(self._store, self._journal, self._launcher, self.clock, self._jobs)
        absence = Absence(down_until=self.clock.now())
        for job_id in self._jobs:
            self._registry.enter(job_id, absence)
        await asyncio.shield(self._journal.durable())

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_LIMIT):
                await self._supervisor.flush()
                await asyncio.shield(self._journal.durable())
        except (TimeoutError, GnomonError) as exc:
            problem = self._journal.problem or str(exc)
            log.critical("events could not be kept", lost_events=self._journal.backlog, problem=problem)

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING)  # real time, as the plugins' threads are real
            self._dispatcher.report_blocking()
            with contextlib.suppress(DeposedError):  # the journal has said so
                self._launcher.pump()  # nothing else tells that a store takes runs again that took none

    # --- jobs ---

    def add(self, job: Job | Callable[..., Any]) -> Job:
        """Add a Job, or a function declared with @job, before the kernel starts; afterwards use `add_job`."""
        registered = self._register(job)
        if self.loop is not None:
            raise JobError(f"job {registered.job.id!r}: the kernel is running; use `await kernel.add_job(...)`")
        if registered.job.id in self._jobs:
            raise JobError(f"there are two jobs with the id {registered.job.id!r}; ids must be unique")
        self._jobs[registered.job.id] = registered
        return registered.job

    @on_kernel_loop
    async def add_job(self, job: Job | Callable[..., Any], *, actor: str | None = None, why: str | None = None) -> Job:
        """Add a job to the running kernel, or put a new definition in place of the one with its id."""
        registered = self._register(job)
        await self._timetable.idle()
        self._registry.add(registered, actor, why)
        await self._durable()
        return registered.job

    @on_kernel_loop
    async def remove_job(self, job_id: str, *, actor: str | None = None, why: str | None = None) -> None:
        """Take a job away; its executions stay in the log. UnknownJobError where there is none."""
        await self._timetable.idle()
        self._registry.remove(job_id, actor, why)
        await self._durable()

    @on_kernel_loop
    async def apply_jobs(
        self, jobs: Iterable[Job | Callable[..., Any]], *, actor: str | None = None, why: str = "reload"
    ) -> Difference:
        """Put these definitions in place of all jobs, at once and whole; fires are neither lost nor doubled by it."""
        wanted = [self._register(job) for job in jobs]  # everything that can be wrong is wrong before anything changes
        await self._timetable.idle()  # what is due by the old definitions gets its outcome by them
        found = self._registry.apply(wanted, actor, why)
        for job_id in (*(job.id for job in found.added), *found.changed):
            self._registry.enter(job_id)
        await self._durable()
        return found

    @on_kernel_loop
    async def pause(self, job_id: str, *, actor: str | None = None, why: str | None = None) -> bool:
        """Hold a job's fires back until it is resumed, restarts included; False where it is paused already."""
        await self._timetable.idle()
        changed = self._registry.pause(job_id, actor, why)
        await self._durable()
        return changed

    @on_kernel_loop
    async def resume(self, job_id: str, *, actor: str | None = None, why: str | None = None) -> bool:
        """Let a job fire again; its `catch_up` decides about what was held back. False where it is not paused."""
        await self._timetable.idle()
        changed = self._registry.resume(job_id, actor, why)
        await self._durable()
        return changed

    @on_kernel_loop
    async def describe(
        self, job_id: str, *, display_name: str | None = None, note: str | None = None, actor: str | None = None
    ) -> bool:
        """Keep an operator's own name (at most 50 characters) and note (at most 200) for a job, restarts included.

        None leaves what there is, an empty text takes it away. The definition is not touched, nor are these by a
        reload of the config. False where nothing changes. UnknownJobError; JobError for what is too long.
        """
        changed = self._registry.describe(job_id, display_name, note, actor)
        await self._durable()
        return changed

    @on_kernel_loop
    async def jobs(self) -> list[JobView]:
        """List the jobs by id."""
        return [self._view(self._jobs[job_id]) for job_id in sorted(self._jobs)]

    @on_kernel_loop
    async def job(self, job_id: str) -> JobView:
        """Return one job; UnknownJobError where there is none."""
        return self._view(self._registry.get(job_id))

    # --- executions ---

    @on_kernel_loop
    async def trigger(
        self,
        job_id: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        force: bool = False,
        resume: bool = True,
        actor: str | None = None,
        idempotency_key: str | None = None,
    ) -> Triggered:
        """Run a job now, once, and return when the run is durably accepted.

        `kwargs` are merged into the job's for this run only. `force` skips guards. A paused job is resumed, unless
        `resume` is false: then it runs once and stays paused. The schedule is not touched. A repeated `idempotency_key`
        returns the run of the first request. UnknownJobError, JobError for arguments that do not fit.
        """
        merged = _merge(self._registry.get(job_id), kwargs or {})
        identity = manual_execution_id(job_id, self.clock.now(), idempotency_key)
        async with AsyncExitStack() as turn:
            if idempotency_key is not None:
                await turn.enter_async_context(self._keyed_turn)  # else two at once would both find no first run
                if (known := await self._find(identity)) is not None:
                    return Triggered(known, resumed=False, is_new=False)
            await self._timetable.idle()
            job = self._registry.get(job_id).job
            resumed = resume and self._registry.resume(job_id, actor, "the job was triggered by hand")
            facts = {"args": job.args, "kwargs": merged, "actor": actor}
            execution = await self._launcher.trigger(job, identity, force=force, **facts)
        await self._durable()
        return Triggered(copy.copy(execution), resumed, is_new=True)

    @on_kernel_loop
    async def cancel(self, execution_id: str, *, actor: str | None = None, reason: str | None = None) -> Execution:
        """Ask a run to stop; one that has not started never will.

        Returns the execution as it is then: a body that is going may take its time, or end in another way.
        UnknownExecutionError; ExecutionOverError where there is nothing left to stop.
        """
        execution = await self._not_over(execution_id)
        if execution.status == "scheduled":
            self._launcher.take_back(execution, actor, reason)
        elif not self._supervisor.cancel(execution_id, actor, reason):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def fail(
        self, execution_id: str, message: str, *, reason: FailedReason = "marked", actor: str | None = None
    ) -> Execution:
        """End a running execution as failed, now, whatever its body does; the body is told to stop.

        For those who know that a run is dead: an operator (`marked`), the reaper (`zombie`). What the body reports
        afterwards is kept as a late result. UnknownExecutionError, ExecutionOverError.
        """
        execution = await self._not_over(execution_id)
        if not self._supervisor.fail(execution_id, reason, message, actor):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def hide(self, execution_id: str, *, actor: str | None = None) -> Execution:
        """Take the record of a run that is over out of the lists; the log is not cut, and by its id it is still found.

        What is hidden already stays so. UnknownExecutionError, ExecutionRunningError.
        """
        async with self._hiding_turn:  # two at once would both add the next event to what one of them has read
            execution = await self._get(execution_id)
            if not execution.is_over:
                raise ExecutionRunningError(execution_id, execution.status)
            if execution.hidden:
                return execution
            execution = self._journal.adopt(execution)
            self._journal.record(Hidden, execution_id, execution.job_id, actor=actor)
            if self._supervisor.live(execution_id) is None:  # else its body is going on, and may have a late result
                self._journal.forget(execution_id)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def warn(self, execution_id: str, kind: str, message: str, *, actor: str | None = None) -> Execution:
        """Record that a running execution needs a look; it goes on. UnknownExecutionError, ExecutionOverError.

        `kind` is a word to filter by, `message` the whole sentence, of which 4,096 characters are kept.
        """
        execution = await self._not_over(execution_id)
        if not self._supervisor.warn(execution_id, kind, message, actor):
            raise ExecutionOverError(execution_id, execution.status)
        await self._durable()
        return copy.copy(execution)

    @on_kernel_loop
    async def live_runs(self) -> list[LiveRun]:
        """List the runs whose bodies are going and that have no outcome yet."""
        return [
            LiveRun(copy.copy(active.execution), active.job, self._supervisor.quiet(active))
            for active in self._supervisor.bodies
            if active.execution.status == "running" and not active.is_over
        ]

    @on_kernel_loop
    async def sleep(self, seconds: float) -> None:
        """Wait on the kernel's clock, which a test may move: for plugins that do something again and again."""
        await self.clock.sleep(seconds)

    @on_kernel_loop
    async def wait(self, execution_id: str) -> Execution:
        """Wait until a run is over, and return it; UnknownExecutionError."""
        while not (execution := await self._get(execution_id)).is_over:
            await self._journal.changed(execution_id)
        await self._durable()
        return execution

    @on_kernel_loop
    async def execution(self, execution_id: str) -> Execution:
        """Return one execution as it stands; UnknownExecutionError."""
        return await self._get(execution_id)

    @on_kernel_loop
    async def executions(self, query: ExecutionQuery) -> Page:
        """List executions, newest first."""
        return await self._store.executions(query)

    @on_kernel_loop
    async def actions(self, query: ActionQuery) -> ActionPage:
        """List what operators did, newest first: everything in the log that has an actor other than the kernel."""
        return await self._store.actions(query)

    @on_kernel_loop
    async def history(self, execution_id: str) -> list[Event]:
        """Return the events of one execution in order; UnknownExecutionError."""
        if not (history := await self._store.stream(execution_id)):
            raise UnknownExecutionError(execution_id)
        return history

    @on_kernel_loop
    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        """Return the lines that a run logged, up to `limit` with numbers greater than `after`.

        Only the newest lines of a run are kept: the first number tells how many are gone.
        """
        await self._supervisor.flush()
        return await self._store.log(execution_id, after, limit)

    @on_kernel_loop
    async def timing(self, execution_id: str) -> Timing:
        """Say how long a run has been going and will be, by its progress and by past runs; UnknownExecutionError."""
        execution = await self._get(execution_id)
        query = ExecutionQuery(job_id=execution.job_id, status=("success",), limit=TYPICAL_RUNS)
        past = (await self._store.executions(query)).items
        return timing(execution, past, self.clock.now())

    @on_kernel_loop
    async def events(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Read the log: up to `limit` events after a position."""
        return await self._store.read(after, limit)

    @on_kernel_loop
    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return what a plugin has kept under that name, or None."""
        return await self._store.checkpoint(name)

    @on_kernel_loop
    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a plugin's view together with the position up to which it is folded; durable when it returns.

        One with a lower position than the kept one is ignored. `name` is the plugin's own; begin it with its name.
        """
        await self._store.save_checkpoint(name, checkpoint)

    # --- the kernel itself ---

    def health(self) -> Health:
        """Tell how the kernel is doing."""
        journal, store = self._journal, self._store.health()
        return Health(
            state=store.state if journal.state == "healthy" else journal.state,
            problem=journal.problem or store.problem,
            store=self._store.name,
            position=journal.head,
            backlog=journal.backlog + store.backlog,
            accepts_runs=store.accepts_runs,
            running=self._admission.running,
            waiting=self._admission.waiting,
            plugins=self._dispatcher.health(),
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due, nothing is being written and plugins have seen everything; bodies may be going."""
        return self._timetable.is_idle and self._journal.is_idle and self._dispatcher.is_idle

    def _register(self, job: Job | Callable[..., Any]) -> Registered:
        if not isinstance(job, Job):
            declared = getattr(job, "__gnomon_job__", None)
            if not isinstance(declared, Job):
                raise JobError(f"{job!r} is no Job and no function declared with @job")
            job = declared
        return register(job, self._timezone)

    def _view(self, registered: Registered) -> JobView:
        job = registered.job
        return JobView(
            job=job,
            state=copy.copy(self._journal.jobs.get(job.id)) or JobState(job_id=job.id, anchor=self.clock.now()),
            next_fire=self._timetable.next_fire(job.id),
            running=self._admission.running_of(job.id),
            waiting=[ticket.execution_id for ticket in self._admission.waiting_of(job.id)],
        )

    async def _find(self, execution_id: str) -> Execution | None:
        if (live := self._journal.live.get(execution_id)) is not None:
            return copy.copy(live)
        with contextlib.suppress(DeposedError):  # what is in a log that is not ours any more can be read all the same
            await self._durable()  # the end of a run leaves the live views before it is in the store
        return await self._store.execution(execution_id)

    async def _get(self, execution_id: str) -> Execution:
        if (execution := await self._find(execution_id)) is None:
            raise UnknownExecutionError(execution_id)
        return execution

    async def _not_over(self, execution_id: str) -> Execution:
        live = self._journal.live.get(execution_id)
        execution = live if live is not None else await self._get(execution_id)
        if execution.is_over or live is None:
            raise ExecutionOverError(execution_id, execution.status)
        return execution

    async def _durable(self) -> None:
        await asyncio.shield(self._journal.durable())


def _merge(registered: Registered, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the arguments of one run into those of its job; JobError where they do not fit or are no JSON."""
    job = registered.job
    merged = msgspec.structs.replace(job, kwargs={**job.kwargs, **kwargs})
    check_arguments(merged, registered.body)
    check_json(merged)
    return merged.kwargs


def _part(tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a part of the kernel; should it fail, which is a bug, it is named before everything stops."""
    task = tasks.create_task(work, name=name)

    def report(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.critical("a part of the kernel failed", part=name, exc_info=exc)

    task.add_done_callback(report)
    return task


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
