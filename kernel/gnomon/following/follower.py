"""A kernel that follows: it answers questions from the log that another kernel leads, and passes orders to that one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from gnomon.analysis.upcoming import upcoming
from gnomon.api import JobView
from gnomon.domain.events import Event, Hold, KernelHeld, KernelLed, KernelReleased, KernelStopped
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.kernel_health import Health, plugin_problems
from gnomon.domain.kernel_member import KernelMember
from gnomon.engine.deployments import DeploymentMark, mark_of, problem_of_follower, read_deployment
from gnomon.engine.kernel_hold import KernelHold, read_hold
from gnomon.engine.kernel_settings import KernelSettings
from gnomon.engine.log_analyses import LogAnalyses
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.logged_job_queries import LoggedJobQueries
from gnomon.engine.logged_jobs import LoggedJobs
from gnomon.errors import PluginError
from gnomon.following.live_runs import LiveRuns
from gnomon.following.log_tail import LogTail
from gnomon.following.member_reports import NOBODY_RETRY_S, MemberReports
from gnomon.following.passed_orders import PassedOrders
from gnomon.following.sent_arguments import SentArguments
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger
from gnomon.plugins.added_plugins import add_plugin, remove_plugin
from gnomon.plugins.companions import Companions
from gnomon.plugins.dispatcher import Dispatcher
from gnomon.plugins.plugin_set import Plugin, PluginSet
from gnomon.ports import OrderChannel, Store
from gnomon.stores.log_identity import read_log_id
from gnomon.tasks import protected, stop_tasks

log = get_logger("gnomon.following")

HAND_OVER_LIMIT_S = 15.0
"""Seconds after which a kernel that has stepped down may lead again: none of those that follow has done so."""
LEADER_LOOK_S = 0.1


class Follower(LoggedJobQueries, PassedOrders):
    """The part of a kernel that follows, from the moment that it opens the log for reading until it closes it.

    `ready` is called as soon as queries can be answered, before plugins start. `seen_deployment` is the number of the
    deployment that was in force then.
    """

    def __init__(
        self,
        settings: KernelSettings,
        store: Store,
        channel: OrderChannel,
        plugins: PluginSet,
        defined: Iterable[RegisteredJob],
        companions: Companions,
        ready: Callable[[Follower], None],
    ) -> None:
        self.clock = settings.clock
        self.node = settings.node
        self.plugins = plugins
        self.directory = store.directory
        self.log_id = ""
        self.seen_deployment = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._store = store
        self._analyses = LogAnalyses(store)
        self._channel = channel
        self._companions = companions
        self._ready = ready
        self._jobs = LoggedJobs(defined)
        self._sent = SentArguments(self._jobs, self._job, settings.arguments_limit)
        self._live = LiveRuns(settings.clock)
        self._tail = LogTail(store, self._publish)
        self._reports = MemberReports(channel, settings, self.health)
        self._may_lead = settings.role == "auto"
        self._revision = settings.revision
        self._revision_problem: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_starting = True
        self._hold = KernelHold()

    async def start(self) -> None:
        """Open the log for reading, and start the plugins that live everywhere; NoLogError where there is none yet."""
        await self._store.open(read_only=True)
        try:
            self.log_id = await read_log_id(self._store)
            self.loop = asyncio.get_running_loop()
            await self._tail.begin()
            await self._live.load(self._store)
            self._hold.current = await read_hold(self._store, self.clock.now())
            deployment = await read_deployment(self._store, self.clock.now())
            self.seen_deployment = deployment.number
            self._note_deployment(deployment)
            self._ready(self)
            await self._companions.start(self._tail.head, self._tail.head)
            await self._companions.catch_up(self._tail.head)
        except BaseException:
            self.loop = None
            await self._store.close()
            raise
        self._tasks = [protected(self._tail.run(), "log tail"), protected(self._reports.run(), "member reports")]
        if not self._may_lead:  # else the kernel does, in order to lead
            self._tasks.append(protected(self._watch_leader(), "leader watch"))
        self._is_starting = False
        log.info("the kernel follows", node=self.node, store=self._store.name, position=self._tail.head)

    async def another_leads(self) -> None:
        """Return when another kernel leads, or none has done so for HAND_OVER_LIMIT_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_LIMIT_S):
                while self._reports.leader is None:  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(LEADER_LOOK_S)

    async def stop(self, *, leaves: bool) -> None:
        """Stop reading, and close the log; its plugins go on. A process that `leaves` reports that."""
        if leaves:
            await self._reports.leave()
        await stop_tasks(self._tasks)
        self._tasks = []
        self.loop = None
        self._tail.close()
        await self._store.close()

    # --- questions ---

    @on_kernel_loop
    async def kernels(self) -> list[KernelMember]:
        return await self._reports.members()

    def health(self) -> Health:
        self.expect_own_process()
        plugins = self._companions.health()
        problems = plugin_problems(plugins)
        if (held := self._hold.problem) is not None:
            problems["hold"] = held
        if self._revision_problem is not None:
            problems["revision"] = self._revision_problem
        if (leaderless := self._store.holder_problem or self._reports.problem) is not None:
            problems["leader"] = leaderless
        store_problem = self._tail.problem
        return Health(
            state="degraded" if problems or store_problem else "healthy",
            problem="; ".join(filter(None, (store_problem, *problems.values()))) or None,
            store=self._store.name,
            position=self._tail.head,
            backlog=0,
            accepts_runs=store_problem is None,
            running=self._live.active,
            waiting=self._live.waiting,
            groups=self._live.groups(),
            plugins=plugins,
            store_state="degraded" if store_problem else "healthy",
            store_problem=store_problem,
            problems=problems,
            hold=self._hold.current,
            is_starting=self._is_starting,
            role="follower" if self.loop is not None else None,
            leader=self._reports.leader,
        )

    @property
    def is_idle(self) -> bool:
        """Whether its plugins have handled everything that was read."""
        return self._companions.is_idle

    # --- plugins that come and go ---

    @on_kernel_loop
    async def add_plugin(self, plugin: Any, /, name: str | None = None) -> str:
        """See `Kernel.add_plugin`."""
        return await add_plugin(self.plugins, self._dispatcher_of, plugin, name)

    @on_kernel_loop
    async def remove_plugin(self, name: str, /) -> None:
        """See `Kernel.remove_plugin`."""
        await remove_plugin(self.plugins, (self._companions,), name)

    # --- inside ---

    def abandon(self, parent: int) -> None:
        """Forget that the kernel runs: this process was forked from the one in which it does."""
        self._parent, self.loop = parent, None

    def _dispatcher_of(self, plugin: Plugin) -> Dispatcher:
        if plugin.role == "everywhere":
            return self._companions
        raise PluginError(
            plugin.name,
            "lives with the leader, and this kernel follows another one: add it there, or give it the attribute "
            'role = "everywhere"',
        )

    async def _watch_leader(self) -> None:
        """Report as soon as the log is free: nobody may lead then."""
        while True:
            await self._store.wait_until_free()
            self._reports.wake(NOBODY_RETRY_S)
            await asyncio.sleep(NOBODY_RETRY_S)

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, KernelLed):
                self._note_deployment(mark_of(event))
                if event.why != "reload":
                    self._reports.wake()
            elif isinstance(event, KernelStopped):
                self._store.expect_release()
            if isinstance(event, KernelHeld):
                self._hold.current = Hold(event.at, event.actor, event.reason)
            elif isinstance(event, KernelReleased):
                self._hold.release()
        self._live.fold(events)
        self._companions.publish(events)

    def _note_deployment(self, mark: DeploymentMark) -> None:
        problem = problem_of_follower(mark, self._revision) if self._may_lead else None
        if problem is not None and problem != self._revision_problem:
            log.warning("this process is of an older revision", problem=problem)
        self._revision_problem = problem

    def _view(self, state: JobState, registered: RegisteredJob, unfinished: Iterable[Execution]) -> JobView:
        fires = upcoming(registered.job, state, self.clock.now(), 1)
        due = fires.overdue or (fires.fires[0] if fires.fires else None)
        return self._jobs.view(
            state, registered, unfinished, next_fire=due, problem=state.problem or registered.problem
        )

    async def _own_end_of(self, execution_id: str) -> Execution:
        while True:
            changed = self._tail.watch(execution_id)  # before the read, or its end could fall in between
            if (view := await self._get(execution_id)).is_over:
                return view
            await changed
