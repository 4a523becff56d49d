"""The kernel of a process: it leads its log, or follows the kernel that does, and changes from one to the other.

                      ┌───────────── the log is free, and the role is not "follower" ─────────────┐
                      │                                                                           ▼
    start ──► following: questions from the store, orders to the leader            leading: engine/leader.py
                      ▲                                                                           │
                      └────────────── another kernel has the log: it was deposed ─────────────────┘

What holds in every role:

* The store decides who leads when it is opened for writing, and its fence refuses what a deposed leader appends. The
  role that a kernel believes to have only saves work: each event has one position, each fire one id.
* Each win is a term with a `Leader` of its own, built from nothing; its first act is that of every start, so nothing
  stays stopped after a change.
* A kernel that cannot start to lead says why, follows, and tries again after RETRY_S, and at first after FIRST_RETRY_S
  where the store was unavailable.
* A leader that stops in order makes everything durable before it releases the log; followers look for that all the
  time. One that dies is followed by another as soon as its store says that the log is free.
* A leader that steps down, as an operator asks, ends as at a stop, and follows; see engine/step_down.py.
* A leader that was deposed stops its bodies, and follows. One whose log was deleted or replaced has nobody to
  follow: it stays, and its health says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec

from gnomon.backoff import Backoff
from gnomon.clock import SystemClock
from gnomon.domain.execution import Execution
from gnomon.domain.kernel_health import Health, Role, with_problem
from gnomon.domain.parameter_checks import checked
from gnomon.domain.revision import revision_of
from gnomon.engine.admission import QUEUE_LIMIT
from gnomon.engine.kernel_settings import KernelSettings
from gnomon.engine.leader import Leader
from gnomon.engine.leader_calls import LeaderCalls
from gnomon.engine.leader_starts import start_leader
from gnomon.errors import GnomonError, NoLogError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.following.follower import Follower
from gnomon.forks import abandoned_in_children
from gnomon.jobs.allowed_functions import AllowedFunctions
from gnomon.jobs.groups import Group, convert_groups
from gnomon.jobs.job import Job
from gnomon.jobs.registered import ARGUMENTS_LIMIT, RegisteredJob
from gnomon.logs import get_logger
from gnomon.plugins.companions import Companions
from gnomon.plugins.contributions import contributed_jobs, contributed_store
from gnomon.plugins.plugin_set import PluginSet, as_plugin_set
from gnomon.ports import Clock, Store
from gnomon.runners.log_buffer import MAX_LINES
from gnomon.stores.memory import MemoryStore
from gnomon.tasks import end, protected, stop_tasks

log = get_logger("gnomon.kernel")

FIRST_RETRY_S, RETRY_S = 0.1, 5.0
"""Seconds until a kernel that could not start to lead tries again: the first ones where the store was unavailable."""
NO_LOG_LIMIT_S, NO_LOG_RETRY_S = 10.0, 0.1
"""Seconds that a follower waits for a log that its leader is about to create, and between two looks."""
KEEPER_STOP_S = 60.0
"""Seconds that a change of role may take to end, when the kernel stops meanwhile."""
PLUGIN_STOP_S = 10.0
"""Seconds in which the plugins of a follower that stops may leave, together."""


class Kernel(LeaderCalls):
    """Keeps time, runs jobs, and records everything that happens.

    Use it as `async with Kernel(...) as kernel:`; it runs until the block is left. `plugins` are objects, modules or
    classes with hooks, by name or in a list. They provide jobs and, unless `store` is given, the store; a PluginSet is
    that of a deployment, which has collected both. Without a store the log is in memory. `timezone` is the zone of jobs
    that have none. `drain` is how long leaving waits for running bodies. A run that blocks the event loop for longer
    than `blocked_loop_after` is reported; None or 0 turns that off. The arguments of a run may have `arguments_limit`
    bytes as JSON. Orders from outside, such as over HTTP, may name the functions in `allow_functions`, such as
    "myapp.tasks:*". A kernel with `keeps_time=False` runs only what is triggered. Failed runs are reported to
    `logging`, with the logger `gnomon.jobs`, unless `log_failures` is false. Inside the block, `log_id` is the id of
    the log and `loop` the event loop of the kernel; the text that is set as `stop_reason` there is recorded.
    `extra_calls` are answered to other processes besides those of KernelApi.

    Of all kernels on one log, one leads: it keeps time, runs bodies and alone writes the log. With the `role` "auto" a
    kernel leads where nobody does, and else follows: it answers every question from the log, passes every order to the
    leader, and leads when that one is gone. With "leader" it raises StoreInUseError where another kernel leads, and
    with "follower" it never leads. `revision` orders the definitions of old and new processes on one log: a number, a
    version such as "2.4.1", or a time. A process of an older revision leads with the definitions of the log.

    `max_running` runs of all jobs may be active at once. Of a job without a `queue_limit` of its own, `queue_limit`
    runs may wait. The newest `log_lines` of a run are kept. `groups` has the limits that jobs with a `group` share:
    `{"warehouse": 2, "api": {"limit": 2, "rate": "100/m"}}`.
    """

    @checked
    def __init__(  # noqa: PLR0913 - what a deployment may set, all by name
        self,
        *,
        store: Store | None = None,
        jobs: Iterable[Job | RegisteredJob | Callable[..., Any] | str] = (),
        plugins: PluginSet | Mapping[str, Any] | Iterable[Any] = (),
        clock: Clock | None = None,
        timezone: str = "UTC",
        node: str | None = None,
        role: Role = "auto",
        revision: int | str | datetime | None = None,
        max_running: int = 100,
        queue_limit: int = QUEUE_LIMIT,
        groups: Mapping[str, int | Mapping[str, Any] | Group] = {},
        drain: timedelta = timedelta(seconds=30),
        hook_timeout: timedelta = timedelta(seconds=10),
        blocked_loop_after: timedelta | None = timedelta(seconds=1),
        arguments_limit: int = ARGUMENTS_LIMIT,
        log_lines: int = MAX_LINES,
        allow_functions: Iterable[str] = (),
        keeps_time: bool = True,
        log_failures: bool = True,
    ) -> None:
        self.clock = clock or SystemClock()
        self.node = node or socket.gethostname()
        self.drain = drain
        self.plugins = as_plugin_set(plugins)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.log_id, self.stop_reason = "", ""
        self.extra_calls: dict[str, Callable[[], Awaitable[Any]]] = {}
        self.role = role
        self._settings = KernelSettings(
            clock=self.clock,
            node=self.node,
            role=role,
            timezone=timezone,
            max_running=max_running,
            queue_limit=queue_limit,
            groups=convert_groups(groups),
            drain=drain,
            hook_timeout_s=hook_timeout.total_seconds(),
            blocked_loop_after_s=blocked_loop_after.total_seconds() if blocked_loop_after else None,
            arguments_limit=arguments_limit,
            log_lines=log_lines,
            allowed=AllowedFunctions(allow_functions),
            keeps_time=keeps_time,
            log_failures=log_failures,
            revision=revision_of(revision),
        )
        own = () if isinstance(plugins, PluginSet) else self.plugins
        self._store = store or contributed_store(own) or MemoryStore()
        self.directory = self._store.directory
        self._companions = Companions(self.plugins, self._store, self, self._settings.hook_timeout_s)
        self._leader = self._new_leader((*jobs, *contributed_jobs(own)))
        self.part: Leader | Follower = self._leader
        self._seen_deployment: int | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._retries = Backoff(FIRST_RETRY_S, RETRY_S)
        self._cannot_lead: str | None = None
        self._resources = contextlib.ExitStack()

    def _new_leader(self, jobs: Iterable[Job | RegisteredJob | Callable[..., Any] | str]) -> Leader:
        ready = self._answer_with
        return Leader(self._settings, self._store, self.plugins, jobs, self, self._companions, ready, self.extra_calls)

    def add(self, job: Job | RegisteredJob | Callable[..., Any] | str, /, **keys: Any) -> Job:
        """Add a Job or a function before the kernel starts; afterwards use `add_job`, which takes the same."""
        return self._leader.add(job, **keys)

    async def __aenter__(self) -> Self:
        """Lead or follow: open the log and start the plugins; who leads settles the past, and starts to keep time."""
        self._leader.expect_own_process()
        self.settled = asyncio.Event()
        self.loop, self._owner = asyncio.get_running_loop(), asyncio.current_task()
        self._resources.enter_context(abandoned_in_children(self))
        try:
            await self._join()
        except BaseException:
            await self._companions.stop(PLUGIN_STOP_S)
            self._ended()
            raise
        if self.role == "auto" and self._store.orders() is not None:
            self._keeper = protected(self._keep_role(), "role keeper")
            self._keeper.add_done_callback(self._on_keeper_end)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Start nothing more, wait `drain` for running bodies, cancel the rest, make everything durable, close."""
        if self.loop is None:  # in a child that was forked from the process of the kernel
            return
        if self._keeper is not None:
            await stop_tasks((self._keeper,), again_s=KEEPER_STOP_S)
        try:
            if isinstance(self.part, Leader):
                self.part.is_last = True
                default = f"{exc_type.__name__} was raised" if exc_type else "it was closed"
                self.part.stop_reason = self.stop_reason or default
                await self.part.stop(drains=exc_type is None)
            else:
                await self._companions.stop(PLUGIN_STOP_S)
                await self.part.stop(leaves=True)
        finally:
            self._ended()

    def _ended(self) -> None:
        self.loop = None
        self.is_changing = False
        self.settled.set()
        self._resources.close()

    def abandon(self, parent: int) -> None:  # noqa: ARG002 - what the kernel has knows it
        """Forget that the kernel runs: this process was forked from the one in which it does."""
        self.loop, self.is_changing = None, False

    # --- the role ---

    async def _join(self) -> None:
        """Lead, or follow where another kernel leads; wait for a log that its leader is about to create."""
        deadline = asyncio.get_running_loop().time() + NO_LOG_LIMIT_S
        while True:
            if self.role != "follower" and await self._leads():
                return
            try:
                await self._follow()
            except NoLogError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(NO_LOG_RETRY_S)
            else:
                return

    async def _leads(self) -> bool:
        """Start to lead; False where another kernel does, which this one may follow."""
        self._leader.seen_deployment = self._seen_deployment
        try:
            self._leader = await start_leader(self._leader, self._new_leader, self._owner)
        except StoreInUseError as exc:
            if self.role == "leader" or exc.is_here or self._store.orders() is None:
                raise
            self._leader = self._new_leader(self._leader.defined_jobs)
            return False
        return True

    async def _follow(self) -> None:
        channel, jobs = self._store.orders(), self._leader.defined_jobs
        if channel is None:
            raise StoreError(f"the store {self._store.name} has no followers: only the process that leads can use it")
        await Follower(
            self._settings, self._store, channel, self.plugins, jobs, self._companions, self._answer_with
        ).start()

    def _answer_with(self, part: Leader | Follower) -> None:
        """Pass calls to this part from now on: it can answer them, and plugins that start now ask."""
        self.part, self.log_id = part, part.log_id
        if isinstance(part, Follower) and self._seen_deployment is None:
            self._seen_deployment = part.seen_deployment
        self.is_changing = False
        self.settled.set()

    async def _keep_role(self) -> None:
        """Change the role when the log is free, or was lost to another kernel: a component of the kernel."""
        while True:
            part = self.part
            if isinstance(part, Leader):
                await part.term_ends()
                if self.loop is None:  # in a forked child
                    return
                pause = await self._change(self._step_back(part))
                if not part.is_deposed and isinstance(self.part, Follower):
                    await self.part.another_leads()  # or this one would take the log back
            else:
                await self._store.wait_until_free()
                pause = await self._change(self._take_over(part))
            await asyncio.sleep(pause)

    async def _change(self, change: Coroutine[Any, Any, float]) -> float:
        """Change the role while all calls wait; return the seconds until the next change may be tried."""
        self.is_changing = True
        self.settled.clear()
        try:
            return await change
        finally:
            self.is_changing = False
            self.settled.set()

    async def _take_over(self, follower: Follower) -> float:
        await follower.stop(leaves=False)
        pause = 0.0
        try:
            if await self._leads():
                log.info("the kernel leads now", node=self.node, store=self._store.name)
                self._retries.reset()
                self._cannot_lead = None
                return pause
        except GnomonError as exc:
            self._leader, self._cannot_lead = self._new_leader(self._leader.defined_jobs), str(exc)
            pause = self._retries.next() if isinstance(exc, StoreUnavailableError) else RETRY_S
            log.error("the kernel cannot lead, and follows", problem=str(exc), next_try_s=pause)
        await self._follow_again()
        return pause

    async def _step_back(self, leader: Leader) -> float:
        if leader.is_deposed:
            log.warning("the kernel was deposed: it stops its bodies, and follows", problem=leader.health().problem)
        with contextlib.suppress(GnomonError):  # it was logged
            await leader.stop(drains=False)
        self._seen_deployment = leader.deployment_number
        self._settings = msgspec.structs.replace(self._settings, revision=leader.revision)
        self._leader = self._new_leader(leader.defined_jobs)
        await self._follow_again()
        return 0.0

    async def _follow_again(self) -> None:
        """Follow as soon as the store can be read, or lead if it is free before."""
        while True:
            try:
                await self._follow()
            except StoreError as exc:
                log_at = log.debug if self._cannot_lead == str(exc) else log.warning  # once for each problem
                log_at("the log cannot be read yet", problem=str(exc), next_try_s=NO_LOG_RETRY_S)
                self._cannot_lead = str(exc)
                await asyncio.sleep(NO_LOG_RETRY_S)
                with contextlib.suppress(GnomonError):
                    if self.role != "follower" and await self._leads():
                        return
            else:
                return

    def _on_keeper_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._owner is None:
            return
        log.critical("a component of the kernel failed", component=task.get_name(), exc_info=task.exception())
        end(self._owner)

    # --- what is not in KernelApi ---

    def health(self) -> Health:
        """Return the kernel's health, from memory; may be called in any thread and before the start."""
        health = self.part.health()
        problem = (self._leader.health().problem if self.is_changing else None) or self._cannot_lead
        if self.part is self._leader or problem is None or (health.leader is not None and not self.is_changing):
            return health
        return with_problem(health, "role", f"nobody leads the log, and this kernel cannot: {problem}")

    @property
    def lost_events(self) -> int:
        """The number of events that could not be written before the stop."""
        return self._leader.lost_events

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due or being written and plugins have handled everything; bodies may be running."""
        return self.part.is_idle

    @property
    def in_threads(self) -> set[str]:
        """The ids of executions with bodies in threads: those take real time on any clock."""
        return self._leader.in_threads if self.part is self._leader else set()

    @property
    def longest_grace_s(self) -> float:
        """The longest `cancel_grace` of all jobs, in seconds: how long a stop may wait for cancelled bodies."""
        return self._leader.longest_grace_s

    async def end_of(self, execution_id: str) -> Execution:
        """Wait until this very run has ended, also by a snooze, and return it."""
        await self.settle()
        return await self.part.end_of(execution_id)

    async def reload_plugins(self, configs: Mapping[str, msgspec.Struct]) -> dict[str, frozenset[str]]:
        """Pass new configs to running plugins; return the keys that they have applied, by plugin.

        Plugins without the hook `reload` are not in the result.
        """
        await self.settle()
        applied = await self._companions.reload(configs)
        return applied | (await self.part.reload_plugins(configs) if isinstance(self.part, Leader) else {})

    async def add_plugin(self, plugin: Any, /, name: str | None = None) -> str:
        """Add an object, a class or a module that observes, and return its name when its lifespan has been entered.

        It receives the events from now on. PluginError for one that cannot be added, or that guards, provides a store
        or registers jobs: such a plugin is given to the kernel before the start. So is one that lives with the leader,
        in a process that follows.
        """
        await self.settle()
        return await self.part.add_plugin(plugin, name)

    async def remove_plugin(self, name: str, /) -> None:
        """Remove a plugin that was added at run time, when it has left its lifespan; does nothing for another name."""
        await self.settle()
        await self.part.remove_plugin(name)
