"""A plugin that is told of events: on a thread and event loop of its own, in order, isolated, with its own cursor.

A thread for each plugin is what makes «a bad plugin hurts nobody» true: a hook that blocks, be it `def` or `async def`,
stops neither the clock nor another plugin. It costs a wake-up of the plugin's loop for each commit, not for each event.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

import structlog

from gnomon.api import KernelApi, PluginHealth, PluginState
from gnomon.domain.events import Event
from gnomon.domain.records import Checkpoint
from gnomon.errors import GnomonError, PluginError, StoreError
from gnomon.hookspecs import OBSERVATION_HOOKS, OBSERVATIONS
from gnomon.plugins.plugin_set import Plugin
from gnomon.ports import Store
from gnomon.threads import thread_of

log = structlog.stdlib.get_logger("gnomon.plugins.subscriber")

BUFFER = 10_000
"""Events that wait for one plugin in memory; what lags further behind reads from the store instead."""
PAGE = 1_000
"""Events read from the store at a time, and delivered at most between two checkpoints of a durable plugin."""
DEGRADED_AFTER = 10
"""Failures in a row after which a plugin is shown as degraded; it gets its events all the same."""

STORE_PAUSE = 1.0
"""Seconds until a plugin asks a store again that is away."""

T = TypeVar("T")


class Subscriber:
    """One plugin's thread, event loop and cursor. `offer` and the properties are for the kernel's thread."""

    def __init__(
        self,
        plugin: Plugin,
        kernel: KernelApi,
        store: Store,
        kernel_loop: asyncio.AbstractEventLoop,
        hook_timeout: float,
        cursor: int,
        replay_until: int,
        head: int,
    ) -> None:
        self.plugin = plugin
        self.cursor = cursor
        self.delivered = self.failures = self._failures_in_a_row = 0
        self.problem: str | None = None
        self.entered: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.left: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._kernel = kernel
        self._store = store
        self._kernel_loop = kernel_loop
        self._hook_timeout = hook_timeout
        self._replay_until = replay_until
        self._head = head
        self._impls = {hook: plugin.observers(hook) for hook in OBSERVATION_HOOKS}
        self._observes = any(self._impls.values())
        self._observes_single = any(impls for hook, impls in self._impls.items() if hook != "on_events")
        self._lock = threading.Lock()
        self._pending: deque[Sequence[Event]] = deque()
        self._queued = 0
        self._signalled = self._stopping = False
        self._life: asyncio.Task[None] | None = None
        self._wake: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._busy: tuple[float, str, Event] | None = None
        self._blocked_reported: Event | None = None

    def start(self) -> None:
        """Start the thread; `entered` is done when the plugin's lifespan has been entered."""
        # A daemon, because a hook that hangs must not keep the process from ending.
        threading.Thread(target=self._thread, name=thread_of(self.plugin.name), daemon=True).start()

    def offer(self, events: Sequence[Event]) -> None:
        """Hand over a commit; never blocks."""
        if not self._observes:
            self.cursor = self._head = events[-1].position
            return
        with self._lock:
            self._head = events[-1].position
            if self._queued + len(events) > BUFFER:
                self._pending.clear()  # the store has them all; the gap tells the consumer to read there
                self._queued = 0
            else:
                self._pending.append(events)
                self._queued += len(events)
        self._signal()

    def stop(self) -> None:
        """Ask the thread to deliver what is there, leave the lifespan and end; `left` is done then."""
        self._stopping = True
        self._signal()

    @property
    def is_idle(self) -> bool:
        """Whether the plugin has taken in everything, or has gone."""
        return self.left.done() or (self.cursor >= self._head and self._busy is None)

    def health(self) -> PluginHealth:
        """Tell how the plugin is doing."""
        blocked, told = self._blocked(), self.plugin.problem
        state: PluginState = (
            "stopped" if self.left.done()
            else "starting" if not self.entered.done()
            else "blocked" if blocked is not None
            else "degraded" if told or self._failures_in_a_row >= DEGRADED_AFTER
            else "healthy"
        )  # fmt: skip
        lag = max(self._head - self.cursor, 0)
        problem = blocked or told or self.problem
        return PluginHealth(self.plugin.name, state, self.cursor, lag, self.delivered, self.failures, problem)

    def report_blocking(self) -> None:
        """Say once of each call that it blocks the plugin's loop; called now and then."""
        if (blocked := self._blocked()) is None or (busy := self._busy) is None:
            return
        if busy[2] is not self._blocked_reported:
            self._blocked_reported = busy[2]
            log.error("plugin blocks", plugin=self.plugin.name, problem=blocked, execution=busy[2].stream)

    def _blocked(self) -> str | None:
        # A hook that awaits is ended by its time limit; one that is still in there after twice that does not await.
        return self.busy(2 * self._hook_timeout)

    def busy(self, at_least: float = 0.0) -> str | None:
        """Say which hook is being called for that many seconds, if one is."""
        busy = self._busy
        if busy is None or (spent := time.monotonic() - busy[0]) < at_least:
            return None
        return f"hook {busy[1]} has not returned from event {busy[2].position} ({busy[2].type}) for {spent:.0f} s"

    def _signal(self) -> None:
        with self._lock:
            if self._signalled or not self.entered.done() or self.left.done():
                return
            self._signalled = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # its thread has just ended, and nobody may be hurt by that
            log.debug("plugin has ended", plugin=self.plugin.name)

    # --- from here on: the plugin's own thread ---

    def _thread(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as exc:  # whatever a plugin does to its thread, it is that plugin's end only
            what = "ended" if self.entered.done() else "could not start"
            then = "; it is told nothing more until the kernel is started again" if self.entered.done() else ""
            problem = PluginError(self.plugin.name, f"{what}: {_cause(exc)}{then}")
            problem.__cause__ = exc
            self.problem = str(problem)
            # An error of ours is a sentence for whoever starts the kernel, who gets it.
            if self.entered.done() or not isinstance(exc, GnomonError):
                log.error("plugin ended", plugin=self.plugin.name, exc_info=exc)
            for future in (self.entered, self.left):
                if not future.done():
                    future.set_exception(problem)  # not a SystemExit, which would end whoever waits
        else:
            self.left.set_result(None)

    async def _live(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._life = asyncio.current_task()
        async with AsyncExitStack() as stack:
            for impl in self.plugin.observers("lifespan"):
                await stack.enter_async_context(self._lifespan(impl))
            self.entered.set_result(None)
            # In a task of its own: a hook may cancel the task in which it is called, and a task group in the lifespan
            # whose work has failed cancels the one in which it was entered. The second must end the plugin.
            async with asyncio.TaskGroup() as hooks:
                hooks.create_task(self._consume())

    def _lifespan(self, impl: Any) -> AbstractAsyncContextManager[None]:
        lifespan = impl.function(*_arguments(impl, kernel=self._kernel))
        if not isinstance(lifespan, AbstractAsyncContextManager):
            raise TypeError(
                f"its lifespan returned {lifespan!r}, expected an async context manager: "
                "write `async def` with one `yield`, and @contextlib.asynccontextmanager under @hookimpl"
            )
        return lifespan

    async def _consume(self) -> None:
        while True:
            batch = await self._take()
            for part in self._new(batch):
                await self._deliver(part)
            if batch and self.plugin.durable:
                await self._ask_store(self._store.save_checkpoint, cursor_name(self.plugin), Checkpoint(self.cursor))
            if self._stopping and self.cursor >= self._head:
                return
            if not batch and self.cursor >= self._head:
                await self._wake.wait()
                self._wake.clear()

    async def _take(self) -> Sequence[Event]:
        """Take what is next: the queued events if they follow on, else a page from the store."""
        with self._lock:
            self._signalled = False
            while self._pending and self._pending[0][-1].position <= self.cursor:
                self._queued -= len(self._pending.popleft())
            if self._pending and self._pending[0][0].position <= self.cursor + 1:
                batch = self._pending.popleft()
                self._queued -= len(batch)
                return batch
            head = self._head
        if not self._observes or self.cursor >= head:
            self.cursor = max(self.cursor, head)
            return ()
        page: list[Event] = await self._ask_store(self._store.read, self.cursor, PAGE)
        if not page:
            self.cursor = head  # what was between has been pruned
        return page

    def _new(self, batch: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """Leave out what was taken in before; what is replayed comes apart from what is new."""
        until = self._replay_until
        if batch and batch[0].position > max(self.cursor, until):
            return iter((batch,))  # unchanged, with the JSON that it carries
        replayed = [event for event in batch if self.cursor < event.position <= until]
        new = [event for event in batch if event.position > max(self.cursor, until)]
        return (part for part in (replayed, new) if part)

    async def _deliver(self, events: Sequence[Event]) -> None:
        for impl in self._impls["on_events"]:
            await self._call(impl, events[-1], events=events)
        before = self.delivered
        for number, event in enumerate(events if self._observes_single else (), 1):
            for hook in ("on_event", OBSERVATIONS.get(event.type)):
                for impl in self._impls[hook] if hook else ():
                    await self._call(impl, event, event=event)
            self._took_in(event.position, before + number)
        self._took_in(events[-1].position, before + len(events))

    def _took_in(self, position: int, delivered: int) -> None:
        # In this order: who sees by the cursor, on another thread, that the plugin is idle is told the whole number.
        self.delivered = delivered
        self.cursor = position

    async def _call(self, impl: Any, event: Event, /, **told: Any) -> None:
        """Call one implementation with what it is told; `event` is the one that is named should it fail."""
        self._busy = (time.monotonic(), impl.function.__name__, event)
        limit = asyncio.timeout(self._hook_timeout)
        try:
            async with limit:
                result = impl.function(*_arguments(impl, replaying=event.position <= self._replay_until, **told))
                if inspect.isawaitable(result):
                    await result
        except BaseException as exc:  # isolation: what a hook raises is logged and counted, never passed on
            if self._life is not None and self._life.cancelling():
                raise
            _outlive_cancellation()
            problem = f"took longer than {self._hook_timeout:g} s" if limit.expired() else _text(exc)
            self._failed(impl, event, exc, problem)
        else:
            self._failures_in_a_row = 0
        finally:
            self._busy = None

    def _failed(self, impl: Any, event: Event, exc: BaseException, what: str) -> None:
        self.failures += 1
        self._failures_in_a_row += 1
        self.problem = f"hook {impl.function.__name__} on event {event.position} ({event.type}): {what}"
        # Powers of two only, once it is degraded: the log must survive a plugin that fails 5,000 times a second.
        in_a_row = self._failures_in_a_row
        if in_a_row <= DEGRADED_AFTER or in_a_row & (in_a_row - 1) == 0:
            log.error(
                "plugin hook failed",
                plugin=self.plugin.name,
                hook=impl.function.__name__,
                event_type=event.type,
                position=event.position,
                execution=event.stream,
                failures_in_a_row=in_a_row,
                problem=what,
                exc_info=exc,
            )

    async def _ask_store(self, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Ask the store, on the kernel's loop, again and again until it answers.

        Also where it says that it never will: a page of the log that cannot be read must not end a plugin that serves
        people, and its health tells.
        """
        while True:
            try:
                answer = await self._on_kernel_loop(call(*args))
            except StoreError as exc:
                if self._stopping:
                    raise
                if self.problem != str(exc):
                    self.problem = str(exc)
                    log.warning("plugin waits for the store", plugin=self.plugin.name, problem=self.problem)
                await asyncio.sleep(STORE_PAUSE)
            else:
                return answer

    async def _on_kernel_loop(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._kernel_loop)
        except RuntimeError:  # that loop is closed: this plugin hung for longer than the kernel waited
            call.close()
            raise
        return await asyncio.wrap_future(future)


def cursor_name(plugin: Plugin) -> str:
    """Name the checkpoint that holds a durable plugin's cursor."""
    return f"cursor:{plugin.name}"


def _outlive_cancellation() -> None:
    """Forget that a hook has cancelled the very task in which it was called: nobody else cancels that one."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _cause(exc: BaseException) -> str:
    """Name what has happened: of a task group that failed, what failed in it."""
    if isinstance(exc, BaseExceptionGroup):
        return ", ".join(map(_cause, exc.exceptions))
    return str(exc) if isinstance(exc, GnomonError) else f"{type(exc).__name__}: {exc}"


def _text(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception:  # noqa: BLE001 - the repr of a plugin's exception may raise
        return type(exc).__name__


def _arguments(impl: Any, **available: Any) -> list[Any]:
    """Pick what the implementation asked for, as pluggy does it."""
    return [available[name] for name in impl.argnames]
