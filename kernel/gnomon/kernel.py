"""The kernel: makes its parts, starts and stops them. What it can be asked and told: questions.py and orders.py."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import structlog

from gnomon.clock import SystemClock
from gnomon.domain.records import Checkpoint
from gnomon.engine.admission import Admission
from gnomon.engine.commands import KernelCommands
from gnomon.engine.job_registry import JobRegistry
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.engine.progress_recorder import ProgressRecorder
from gnomon.engine.queries import KernelQueries
from gnomon.engine.recovery import recover
from gnomon.engine.supervisor import Supervisor
from gnomon.engine.timetable import Timetable
from gnomon.errors import DeposedError, GnomonError
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.plugins.dispatcher import Dispatcher
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Clock, Store
from gnomon.runners.async_task import AsyncRunner
from gnomon.runners.base import Runner
from gnomon.runners.log_capture import captured
from gnomon.runners.process import ProcessRunner
from gnomon.runners.thread import ThreadRunner
from gnomon.scheduling.catch_up import Absence
from gnomon.stores.memory import MemoryStore

log = structlog.stdlib.get_logger("gnomon.kernel")

FLUSH_LIMIT = 10.0
"""Seconds that a stopping kernel waits for its last events to become durable, and for plugins to leave."""
HOUSEKEEPING = 5.0
"""Seconds between two looks at plugins that may hang."""


class Kernel(KernelQueries, KernelCommands):
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
        jobs: Iterable[Job | RegisteredJob | Callable[..., Any]] = (),
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
        self._jobs: dict[str, RegisteredJob] = {}
        with nothing_to_collect():
            for one in jobs:
                self.add(one)
        seconds = hook_timeout.total_seconds()
        self._dispatcher = Dispatcher(self.plugins, self._store, self, seconds)
        self._journal = Journal(self._store, self.clock, self.node, self._dispatcher.publish)
        self._admission = Admission(max_running, self._store.health)
        self._admission.is_open = False  # until everything has been started
        self._launcher = Launcher(self._journal, self.clock, self.plugins, self._admission, self._jobs, seconds)
        self._reports = ProgressRecorder(self._journal, self._store, self.clock)
        self._supervisor = Supervisor(self._journal, self.clock, self._runners(), self._reports, self._launcher.over)
        self._timetable = Timetable(self.clock, self._launcher.dispatch)
        self._registry = JobRegistry(self._journal, self.clock, self._timetable, self._launcher, self._jobs)
        self._resources = AsyncExitStack()
        self._keyed_turn = asyncio.Lock()
        self._hiding_turn = asyncio.Lock()

    def _runners(self) -> dict[str, Runner]:
        runners = (AsyncRunner(self.clock), ThreadRunner(self.clock), ProcessRunner(self.clock))
        return {runner.name: runner for runner in runners}

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
        with nothing_to_collect():
            await self._journal.start()
        self.log_id = await identify(self._store)
        head = self._journal.head
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [_part(tasks, self._journal.run(), "journal")]
        stack.push_async_callback(_cancel, background)
        stack.push_async_callback(self._dispatcher.stop, FLUSH_LIMIT)
        self._reports.begin()
        self._supervisor.begin(tasks)
        self._launcher.begin(self._supervisor, tasks)
        background += [
            _part(tasks, self._reports.conflate(), "reports"),
            _part(tasks, self._housekeep(), "housekeeping"),
        ]
        stack.push_async_callback(self._flush)
        stack.enter_context(captured())
        await self._settle_the_past()
        # Not earlier: what plugins call from their lifespans finds all jobs. No body begins before all plugins have.
        await self._dispatcher.start(head, self._journal.head)
        self._admission.is_open = True
        self._launcher.start_waiting()
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
        with nothing_to_collect():
            self._registry.apply(list(self._jobs.values()), "kernel", "the kernel was started with these definitions")
        await recover(self._store, self._journal, self._launcher, self.clock, self._jobs)
        absence = Absence(down_until=self.clock.now())
        with nothing_to_collect():
            for job_id in self._jobs:
                self._registry.enter(job_id, absence)
        await asyncio.shield(self._journal.durable())

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_LIMIT):
                await self._reports.flush()
                await asyncio.shield(self._journal.durable())
        except (TimeoutError, GnomonError) as exc:
            problem = self._journal.problem or str(exc)
            log.critical("events could not be kept", lost_events=self._journal.backlog, problem=problem)

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING)  # real time, as the plugins' threads are real
            self._dispatcher.report_blocking()
            with contextlib.suppress(DeposedError):  # the journal has said so
                self._launcher.start_waiting()  # nothing else tells that a store takes runs again that took none


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


@contextmanager
def nothing_to_collect() -> Iterator[None]:
    """Keep the collector from looking at jobs again and again while they become more and more; for a short while.

    Of a start with 100,000 jobs that was a fifth: 0.7 s of 3.5.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


NAME = "log"
"""The checkpoint that holds it: every store has checkpoints, and a copy of the log takes them along."""


async def identify(store: Store) -> str:
    """Return the name of the log, 24 hex characters; a new log gets one."""
    if (kept := await store.checkpoint(NAME)) is not None and kept.view is not None:
        return kept.view.decode()
    name = secrets.token_hex(12)
    await store.save_checkpoint(NAME, Checkpoint(0, name.encode()))
    return name
