"""A kernel that leads: it builds its components, starts them in order and stops them in the reverse order.

What a running kernel answers and does is documented in `gnomon.api.KernelApi` and implemented in engine/queries.py and
engine/commands.py. The way of a fire: timetable → launcher (guards, admission) → supervisor (runners) → journal →
store → plugins.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from gnomon.api import KernelApi
from gnomon.domain.events import Event
from gnomon.domain.operator_actions import KERNEL
from gnomon.engine.added_jobs import AddedJobs
from gnomon.engine.admission import Admission
from gnomon.engine.asked_trigger import AskedTrigger
from gnomon.engine.attached_schedulers import AttachedSchedulers
from gnomon.engine.attachment_commands import AttachmentCommands
from gnomon.engine.backfills import Backfills
from gnomon.engine.body_orders import BodyOrders
from gnomon.engine.body_samples import BodySamples
from gnomon.engine.dependencies import Dependencies
from gnomon.engine.deployments import decide
from gnomon.engine.finished_jobs import FinishedJobs
from gnomon.engine.fire_sampler import FireSampler
from gnomon.engine.garbage_collection import collect_after_start, garbage_collection_paused
from gnomon.engine.health import KernelCondition
from gnomon.engine.job_previews import JobPreviewer
from gnomon.engine.job_recorder import Act, JobRecorder
from gnomon.engine.job_registry import JobRegistry
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.kernel_facts import KernelFacts
from gnomon.engine.kernel_hold import KernelHold, read_hold
from gnomon.engine.kernel_settings import KernelSettings
from gnomon.engine.late_ends import LateEnds
from gnomon.engine.launcher import Launcher
from gnomon.engine.log_analyses import LogAnalyses
from gnomon.engine.loop_watchdog import LoopWatchdog
from gnomon.engine.members import MemberTable
from gnomon.engine.operator_commands import OperatorCommands
from gnomon.engine.progress_recorder import ProgressRecorder
from gnomon.engine.queries import KernelQueries
from gnomon.engine.queue_outages import QueueOutages
from gnomon.engine.recovery import note_recent_starts, recover
from gnomon.engine.refused_acts import RefusedActs
from gnomon.engine.restored_jobs import RestoredJobs
from gnomon.engine.runner_calls import living
from gnomon.engine.start_runs import run_at_start
from gnomon.engine.step_down import StepDown
from gnomon.engine.store_watch import StoreWatch
from gnomon.engine.supervisor import Supervisor
from gnomon.engine.timetable import Timetable
from gnomon.engine.worker_views import WorkerWatch
from gnomon.errors import DeposedError, GnomonError
from gnomon.forks import abandoned_in_children
from gnomon.jobs.dependencies import check_dependencies
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.loop_guard import LoopGuard
from gnomon.orders.calls import ExtraCalls
from gnomon.orders.serving import serving
from gnomon.plugins.companions import Companions
from gnomon.plugins.contributions import contributed_runners
from gnomon.plugins.dispatcher import Dispatcher
from gnomon.plugins.guards import Guards
from gnomon.plugins.plugin_set import PluginSet
from gnomon.plugins.store_health import health_of
from gnomon.ports import Store
from gnomon.runners.base import DurableLog
from gnomon.runners.log_capture import install_capture
from gnomon.scheduling.catch_up import Absence
from gnomon.stores.log_identity import identify_log
from gnomon.tasks import TaskSet, end, protected, running, stop_tasks

log = get_logger("gnomon.kernel")

FLUSH_LIMIT_S = 10.0
"""How long a stopping kernel waits for its last events to become durable and for its plugins to leave, together."""
MIN_PLUGIN_STOP_S = 1.0
"""Minimum time for plugins to stop, even if flushing used up the limit."""
HOUSEKEEPING_INTERVAL_S = 5.0
"""Time between two checks for plugins that hang and for runs that wait for the store."""


class Leader(KernelQueries, OperatorCommands, AttachmentCommands, StepDown):
    """A kernel that leads its log, for one term: from the moment that it opens the log until it closes it.

    `face` is the Kernel that plugins see. `companions` are its plugins that live everywhere, which outlive the term;
    they stop with it where `is_last` is set. `ready` is called as soon as queries and commands can be answered, before
    plugins start. `seen_deployment` is the number of the deployment that the process knew before this term, None at its
    start. While the kernel runs, a component that fails ends the task `owner`.
    """

    def __init__(
        self,
        settings: KernelSettings,
        store: Store,
        plugins: PluginSet,
        jobs: Iterable[Job | RegisteredJob | Callable[..., Any] | str],
        face: KernelApi,
        companions: Companions,
        ready: Callable[[Leader], None],
        extra_calls: ExtraCalls,
    ) -> None:
        self.clock = settings.clock
        self.node = settings.node
        self.drain = settings.drain
        self.plugins = plugins
        self.loop: asyncio.AbstractEventLoop | None = None
        self.log_id = ""
        self.lost_events, self.stop_reason = 0, ""
        self.owner: asyncio.Task[Any] | None = None
        self.is_last = False
        self.seen_deployment: int | None = None
        self.revision = settings.revision
        self._role, self._steps_down = settings.role, asyncio.Event()
        self._timezone = settings.timezone
        self._arguments_limit = settings.arguments_limit
        self._keeps_time = settings.keeps_time
        self._log_failures = settings.log_failures
        self._log_lines = settings.log_lines
        self._hook_timeout_s = settings.hook_timeout_s
        self._blocked_loop_after_s = settings.blocked_loop_after_s
        self._watchdog: LoopWatchdog | None = None
        self._condition: KernelCondition | None = None
        self._components: list[asyncio.Task[None]] = []
        self._flush_deadline = 0.0
        self._is_starting, self._is_stopping = True, False
        self._failure: GnomonError | None = None
        self._store, self.directory, self._analyses = store, store.directory, LogAnalyses(store)
        self._groups = settings.groups
        self._runners = contributed_runners(plugins)
        with garbage_collection_paused():
            self._jobs = JobTable(self._register(job) for job in jobs)
        self._previewer = JobPreviewer(self._jobs, plugins, settings, self._runners)
        self._companions, self._ready, self._extra_calls = companions, ready, extra_calls
        self._dispatcher = Dispatcher(plugins, self._store, face, self._hook_timeout_s)
        self._journal = Journal(self._store, self.clock, self.node, self._publish)
        self._dependencies = Dependencies(self._jobs, self._journal, self._store, self.clock)
        self._facts = KernelFacts(self._journal)
        self._refused_acts = RefusedActs(self._facts, self.clock)
        self._members = MemberTable(self.clock)
        store_health = partial(health_of, self._store)
        self._admission = Admission(
            settings.max_running, store_health, self._groups, self.clock.monotonic, settings.queue_limit
        )
        self._admission.is_open = False  # until everything has been started
        self._resources = contextlib.AsyncExitStack()
        self._hold = KernelHold()
        self._idempotency_lock = asyncio.Lock()
        self._order_lock, self._hide_lock = asyncio.Lock(), asyncio.Lock()
        self._samples = BodySamples(self.clock)

    async def start(self, owner: asyncio.Task[Any] | None) -> None:
        """Open the store, start the plugins, settle the runs of an earlier kernel, and start to keep time."""
        for _, problem in check_dependencies({registered.job.id: registered.job for registered in self._jobs}):
            raise problem
        self.loop, self.owner = asyncio.get_running_loop(), owner
        try:
            await self._start(self._resources)
        except BaseException:
            await self._stop()
            raise
        self._is_starting = False
        log.info(
            "kernel started", node=self.node, store=self._store.name, jobs=len(self._jobs), head=self._journal.head
        )

    async def stop(self, *, drains: bool) -> None:
        """Start nothing more, wait `drain` for running bodies, cancel the rest, make everything durable, close."""
        if self._parent is not None:
            return
        self._is_stopping = True
        self._start_nothing_more()
        try:
            if drains:
                await self._supervisor.drain(self.drain.total_seconds())
        finally:
            await self._stop()
        log.info("kernel stopped", node=self.node, head=self._journal.head)

    @property
    def is_deposed(self) -> bool:
        """Whether another kernel has the log now, so that this one may follow it. Nobody follows a log that is lost."""
        store = health_of(self._store)
        return self._journal.state == "deposed" and (store.state != "lost" or store.has_other_leader)

    async def _start(self, resources: contextlib.AsyncExitStack) -> None:
        """Start the components; what each needs at the end goes onto the stack, which is unwound in reverse order."""
        resources.enter_context(abandoned_in_children(self))
        guard = LoopGuard(running, lambda context, exc: self._supervisor.record_exit(context, exc))  # noqa: PLW0108 - it is built later
        guard.install(asyncio.get_running_loop())
        resources.callback(guard.remove)
        await resources.enter_async_context(self._store)
        self.log_id = await identify_log(self._store)
        with garbage_collection_paused():
            await self._journal.start()
        head = self._journal.head
        await self._companions.catch_up(head)
        tasks = TaskSet(self._on_component_end)
        resources.push_async_callback(tasks.stop)
        self._start_component(self._journal.run(), "journal")
        self._start_component(StoreWatch(self._store, self._journal, self._facts, self.clock).run(), "store watch")
        resources.push_async_callback(self._stop_components)
        resources.push_async_callback(self._stop_plugins)
        self._build(tasks)
        self._hold.current = await read_hold(self._store, self.clock.now())
        self._facts.started(self._store, keeps_time=self._keeps_time, groups=self._groups, hold=self._hold.current)
        self._start_component(self._progress.conflate(), "progress recorder")
        self._start_component(self._keep_house(), "housekeeping")
        durable_log = DurableLog(self.log_id, head, self._journal.durable, self._late_ends.report)
        await resources.enter_async_context(living(self._runners.values() if self._keeps_time else (), durable_log))
        resources.push_async_callback(self._flush)
        install_capture()
        resources.push_async_callback(self._supervisor.stop, KERNEL, "the kernel was stopped")
        resources.push_async_callback(self._attached.close)
        resources.callback(self._start_nothing_more)
        if self._watchdog is not None:
            self._watchdog.is_starting = True
            self._watchdog.start()
            resources.callback(self._watchdog.stop)
        await self._reconcile_downtime()
        await self._begin(head)

    async def _begin(self, head: int) -> None:
        """Start the plugins, then to keep time; `head` is the end of the log before this term."""
        self._ready(self)
        # Not earlier: plugins find all jobs when their lifespans are entered. No body begins before all plugins have.
        await self._companions.start(head, self._journal.head)
        await self._dispatcher.start(head, self._journal.head)
        if self._condition is not None:
            self._condition.log_changes()
        if self._watchdog is not None:
            self._watchdog.is_starting = False
        await note_recent_starts(self._store, self._admission, self._groups, self._jobs, self.clock)
        if self._keeps_time and self._hold.current is None:
            await run_at_start(self._jobs, self._journal, self._launcher, self.clock)
        collect_after_start(len(self._jobs))
        self._admission.is_open = True
        self._supervisor.begin_adopted()
        self._launcher.start_waiting()
        if self._keeps_time:
            self._start_component(self._timetable.run(), "timetable")
            self._start_component(self._late_ends.run(), "late ends")
            self._backfills.resume()
            self._start_component(self._finished_jobs.run(self._added_jobs), "removal of finished jobs")
            await self._dependencies.resume_following()
            self._start_component(self._dependencies.run(self._launcher, self._timetable), "dependencies")
        self._channel = self._store.orders() if self._keeps_time else None
        if self._channel is not None:
            await self._resources.enter_async_context(serving(self, self._channel, self._extra_calls))

    def _build(self, tasks: TaskSet) -> None:
        """Build the components that need the running event loop and the kernel's set of tasks."""
        asked = AskedTrigger()
        self._progress = ProgressRecorder(self._journal, self._store, self.clock, self._log_lines)
        self._progress.orders = BodyOrders(self, self._jobs)
        parts = (self._journal, self.clock, self._runners.values(), self._progress, tasks)
        queues = QueueOutages(self._facts, self.clock)
        self._supervisor = Supervisor(*parts, queues, log_failures=self._log_failures)
        self._admission.worker_queue_of = lambda run: live.waits_in if (live := self._supervisor.live(run)) else None
        if self._blocked_loop_after_s is not None:
            stalls = self._supervisor.stalls
            self._watchdog = LoopWatchdog(self._blocked_loop_after_s, stalls, asked, self._facts.held_up)
        guards = Guards(self.plugins, self._hook_timeout_s)
        parts_of_starts = (self._jobs, self._supervisor, tasks, self._dependencies, self._watchdog)
        self._launcher = Launcher(self._journal, self.clock, guards, self._admission, *parts_of_starts)
        self._timetable = Timetable(self.clock, self._launcher.dispatch, self._facts.clock_changed, asked)
        self._sampler = FireSampler(self._store, self._journal, self._jobs, self.clock, asked)
        self._late_ends = LateEnds(self._store, self._journal, self._launcher, self._jobs)
        recorder = JobRecorder(self._journal, self.clock, self._timetable, self._launcher, self._jobs, self._hold)
        self._finished_jobs = FinishedJobs(self._journal, self._jobs, self._timetable)
        self._registry = JobRegistry(
            self._journal, self.clock, self._timetable, self._jobs, recorder, self._hold, self._finished_jobs.note
        )
        parts_of_jobs = (self._journal, self._jobs, self._registry, recorder, self._launcher)
        self._restored_jobs = RestoredJobs(*parts_of_jobs, self._restored, self._groups, self._runners)
        self._added_jobs = AddedJobs(*parts_of_jobs, self._restored_jobs, self.clock)
        parts_of_runs = (self._launcher, self._jobs, self.clock, tasks, self._hold)
        self._backfills = Backfills(self._journal, self._store, *parts_of_runs)
        watch = WorkerWatch(self._supervisor, self.clock, queues)
        self._condition = KernelCondition(self._journal, self._timetable, self._watchdog, self._jobs, watch)
        self._start_component(watch.run(), "worker watch")
        self._attached = AttachedSchedulers(self._journal, self.clock, self._jobs, tasks)

    async def _reconcile_downtime(self) -> None:
        """Record the outcomes of fires and runs during the downtime, and enter all jobs into the timetable."""
        if not self._keeps_time:
            self._restored_jobs.restore(records=False)
            await asyncio.shield(self._journal.durable())
            return  # the runs of an earlier kernel wait for one that keeps time and knows all the jobs
        await self._restored_jobs.begin()
        await self._deploy()
        async with self._journal.recalled(registered.job.id for registered in self._jobs):
            with garbage_collection_paused():
                act = Act(KERNEL, "the kernel was started with these definitions")
                found = self._registry.apply([one for one in self._jobs if one.origin != "api"], act)
                self._restored_jobs.restore()
        await self._restored_jobs.report_dropped(found.removed, self._store)
        parts = (self._journal, self._admission, self._supervisor, self._launcher, self._jobs)
        await recover(self._store, self.clock, *parts, log_failures=self._log_failures)
        absence = Absence(down_until=self.clock.now())
        with garbage_collection_paused():
            for registered in self._jobs:
                self._registry.enter(registered.job.id, absence)
        await asyncio.shield(self._journal.durable())
        await self._sampler.start()

    async def _deploy(self) -> None:
        """Decide whether the definitions of this process count, or those of a newer deployment in the log."""
        seen, states, own = self.seen_deployment, self._journal.jobs.values(), self.defined_jobs
        decision = await decide(self._store, self.clock.now(), seen, own, states, self.revision)
        self._deployment, self._revision_problem = decision.mark, decision.problem
        if decision.jobs is not None:
            self._jobs.replace_defined(decision.jobs)
        self._facts.led("start" if seen is None else "take_over", self._deployment, decision.logged)

    def _publish(self, events: Sequence[Event]) -> None:
        self._dispatcher.publish(events)
        self._companions.publish(events)
        self._finished_jobs.note_outcomes(events)
        self._dependencies.on_events(events)

    def _start_nothing_more(self) -> None:
        self._admission.is_open = False
        self._launcher.close()
        for registered in self._jobs:
            self._timetable.remove(registered.job.id)

    async def _stop(self) -> None:
        # aclose() and not __aexit__(exc): the task group would wrap an exception of the caller's into a group.
        try:
            await self._resources.aclose()
        finally:
            self.loop = None
        if self._failure is not None:
            if self.owner is not None:
                self.owner.uncancel()
            raise self._failure

    async def _stop_plugins(self) -> None:
        await self._dispatcher.stop(max(self._flush_deadline - time.monotonic(), MIN_PLUGIN_STOP_S))
        if self.is_last:
            await self._companions.stop(max(self._flush_deadline - time.monotonic(), MIN_PLUGIN_STOP_S))

    async def _flush(self) -> None:
        if self._keeps_time:
            with contextlib.suppress(DeposedError):
                self._restored_jobs.remove_temporary("it was temporary, and its kernel stopped")
        self._facts.stopped(self.stop_reason or "its start failed")
        self._flush_deadline = time.monotonic() + FLUSH_LIMIT_S
        try:
            async with asyncio.timeout(FLUSH_LIMIT_S):
                await self._progress.flush()
                await asyncio.shield(self._journal.durable())
        except (TimeoutError, GnomonError) as exc:
            problem = self._journal.problem or str(exc)
            self.lost_events = self._journal.lost_events + self._journal.backlog
            log.critical("events could not be written", lost_events=self.lost_events, problem=problem)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_INTERVAL_S)  # real time, as the plugins' threads are real
            self._dispatcher.report_blocking()
            self._companions.report_blocking()
            if self._condition is not None:
                self._condition.log_changes()
            with contextlib.suppress(DeposedError):  # the journal has logged it
                self._launcher.start_waiting()  # no event says that a store accepts runs again
            if self._keeps_time:
                await self._sampler.advance()

    def _start_component(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a component that runs until the kernel stops. If it ends before, for any reason, the kernel fails."""
        task = protected(work, name)
        self._components.append(task)
        task.add_done_callback(self._on_component_end)

    def _on_component_end(self, task: asyncio.Task[None]) -> None:
        if self._is_stopping or self.owner is None:
            return
        cause = asyncio.CancelledError() if task.cancelled() else task.exception()
        name, what = task.get_name(), repr(cause) if cause is not None else "it returned"
        log.critical("a component of the kernel failed", component=name, exc_info=cause)
        self._is_stopping = True
        self._failure = GnomonError(f"the {name} of the kernel ended: {what}; the kernel stops, this is a bug")
        self._failure.__cause__ = cause
        end(self.owner)  # the other components go on until the last events are written

    async def _stop_components(self) -> None:
        self._is_stopping = True
        await stop_tasks(self._components)
