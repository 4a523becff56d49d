"""Delivers events to one plugin: in order, on a thread and an event loop of its own, with its own cursor.

A thread per plugin isolates plugins: a hook that blocks, whether `def` or `async def`, stops neither the clock nor
another plugin. The cost is one wake-up of the plugin's loop per commit, not per event.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec

from gnomon.api import KernelApi
from gnomon.domain.codec import EventBatch
from gnomon.domain.events import Event
from gnomon.domain.kernel_health import PluginHealth, PluginState
from gnomon.domain.own_copies import own_copy
from gnomon.domain.records import Checkpoint
from gnomon.errors import GnomonError, PluginError, StoreError
from gnomon.hookspecs import OBSERVATION_HOOKS, OBSERVATIONS
from gnomon.logs import get_logger
from gnomon.loop_guard import LoopGuard, run_guarded
from gnomon.plugins.calls import PluginCallError, contained, describe
from gnomon.plugins.event_buffer import EventBuffer
from gnomon.plugins.hook_caller import HookCaller
from gnomon.plugins.plugin_set import Plugin
from gnomon.ports import Store
from gnomon.safe_text import exact, safe_repr, safe_traceback
from gnomon.tasks import submit
from gnomon.threads import thread_of

log = get_logger("gnomon.plugins.subscriber")

PAGE = 1_000
"""Events read from the store at a time, and delivered at most between two checkpoints of a durable plugin."""
STORE_RETRY_S = 1.0
"""Before a store that is unavailable is queried again."""

T = TypeVar("T")
_plugin: ContextVar[str] = ContextVar("gnomon_plugin")
"""The plugin whose code is being executed on its own loop."""


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
        self.delivered = 0
        self.entered: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.left: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._kernel = kernel
        self._store = store
        self._kernel_loop = kernel_loop
        self._replay_until = replay_until
        self._buffer = EventBuffer(head)
        self._hook_timeout = hook_timeout
        self._caller = HookCaller(plugin.name, hook_timeout)
        self._impls = {hook: plugin.observers(hook) for hook in OBSERVATION_HOOKS}
        self._observes = any(self._impls.values())
        self._observes_single = any(impls for hook, impls in self._impls.items() if hook != "on_events")
        self._lock = threading.Lock()
        self._signalled = self._stopping = False
        self._life: asyncio.Task[None] | None = None
        self._wake: asyncio.Event
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Start the thread; `entered` is done when the plugin's lifespan has been entered."""
        # A daemon, because a hook that hangs must not keep the process from ending.
        threading.Thread(target=self._thread, name=thread_of(self.plugin.name), daemon=True).start()

    def offer(self, events: Sequence[Event]) -> None:
        """Add a commit; never blocks."""
        if not self._observes:
            self.cursor = self._buffer.head = events[-1].position
            return
        self._buffer.offer(events)
        self._signal()

    def stop(self) -> None:
        """Deliver what is left, leave the lifespan and end the thread; `left` is done then."""
        self._stopping = True
        self._signal()

    async def reload(self, config: msgspec.Struct) -> frozenset[str]:
        """Call the hook `reload` on the plugin's loop, and return the keys that it has applied; PluginCallError."""
        if self.left.done() or not self.entered.done():
            raise PluginCallError("the plugin is not running")
        call = self._reload(config)
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError as exc:  # its thread has just ended
            call.close()
            raise PluginCallError("the plugin has ended") from exc
        try:
            async with asyncio.timeout(2 * self._hook_timeout):  # the loop itself may be blocked
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            raise PluginCallError(f"reload took longer than {self._hook_timeout:g} s") from exc

    @property
    def is_idle(self) -> bool:
        """Whether the plugin has handled every event, or has ended."""
        return self.left.done() or (self.cursor >= self._buffer.head and not self._caller.is_calling)

    def health(self) -> PluginHealth:
        """Return the plugin's health."""
        blocked, own_problem = self._caller.blocked(), self.plugin.problem
        state: PluginState = (
            "stopped" if self.left.done()
            else "starting" if not self.entered.done()
            else "blocked" if blocked is not None
            else "degraded" if own_problem or self._caller.is_failing
            else "healthy"
        )  # fmt: skip
        lag = max(self._buffer.head - self.cursor, 0)
        problem = blocked or own_problem or self._caller.problem
        return PluginHealth(
            self.plugin.name,
            state,
            self.cursor,
            lag,
            self.delivered,
            self._caller.failures,
            problem,
            _note(self.plugin.object),
        )

    def report_blocking(self) -> None:
        """Log a hook that blocks the plugin's loop, once; called periodically."""
        self._caller.report_blocking()

    def waiting_for(self) -> str | None:
        """Describe the hook that is being called, if there is one."""
        return self._caller.waiting_for()

    def _signal(self) -> None:
        with self._lock:
            if self._signalled or not self.entered.done() or self.left.done():
                return
            self._signalled = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # its thread has just ended, which must affect nobody else
            log.debug("plugin has ended", plugin=self.plugin.name)

    # --- from here on: the plugin's own thread ---

    def _thread(self) -> None:
        try:
            guard = LoopGuard(_plugin, lambda _, exc: self._caller.note_exit(exc), refused=("stop",), is_own_loop=True)
            run_guarded(self._live(), guard)
        except BaseException as exc:  # noqa: BLE001 - whatever a plugin does to its thread ends only that plugin
            has_entered = self.entered.done()
            what = "ended" if has_entered else "could not start"
            then = "; it gets no more events until the kernel is started again" if has_entered else ""
            problem = PluginError(self.plugin.name, f"{what}: {describe(exc)}{then}")
            problem.__cause__ = exc
            self._caller.problem = str(problem)
            # An error of Gnomon is a message for the caller that starts the kernel, and is raised there.
            if has_entered or not isinstance(exc, GnomonError):
                log.error("plugin ended", plugin=self.plugin.name, exception=safe_traceback(exc))
            for future in (self.entered, self.left):
                if not future.done():
                    future.set_exception(problem)  # not a SystemExit, which would end the waiting caller
        else:
            self.left.set_result(None)

    async def _live(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._life = asyncio.current_task()
        _plugin.set(self.plugin.name)
        async with AsyncExitStack() as stack:
            for impl in self.plugin.observers("lifespan"):
                await stack.enter_async_context(self._lifespan(impl))
            self.entered.set_result(None)
            # In its own task: a hook may cancel the task in which it is called, and a task group in the lifespan
            # whose work has failed cancels the task in which it was entered. The second must end the plugin.
            async with asyncio.TaskGroup() as hooks:
                hooks.create_task(self._consume())

    async def _reload(self, config: msgspec.Struct) -> frozenset[str]:
        applied: set[str] = set()
        for impl in self.plugin.observers("reload"):
            with contained():
                async with asyncio.timeout(self._hook_timeout):
                    found: Any = impl.function(*(config for _ in impl.argnames))
                    if inspect.isawaitable(found):
                        found = await found
                applied.update(exact(key) for key in found or ())
        return frozenset(applied)

    def _lifespan(self, impl: Any) -> AbstractAsyncContextManager[None]:
        available = {"kernel": self._kernel}
        lifespan = impl.function(*(available[name] for name in impl.argnames))
        if not isinstance(lifespan, AbstractAsyncContextManager):
            raise TypeError(
                f"its lifespan returned {safe_repr(lifespan)}, expected an async context manager: "
                "write `async def` with one `yield`, and @contextlib.asynccontextmanager under @hookimpl"
            )
        return lifespan

    async def _consume(self) -> None:
        while True:
            batch = await self._take()
            for part in self._new(batch):
                await self._deliver(part)
            if batch and self.plugin.durable:
                await self._query_store(self._store.save_checkpoint, cursor_name(self.plugin), Checkpoint(self.cursor))
            if self._stopping and self.cursor >= self._buffer.head:
                return
            if not batch and self.cursor >= self._buffer.head:
                await self._wake.wait()
                self._wake.clear()

    async def _take(self) -> Sequence[Event]:
        """Return the next events: the buffered ones if they continue at the cursor, else a page from the store."""
        with self._lock:
            self._signalled = False
        if commit := self._buffer.take(self.cursor):
            return commit
        head = self._buffer.head
        if not self._observes or self.cursor >= head:
            self.cursor = max(self.cursor, head)
            return ()
        page: list[Event] = await self._query_store(self._store.read, self.cursor, PAGE)
        if not page:
            self.cursor = head  # what was between has been pruned
        return page

    def _new(self, batch: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """Yield the events after the cursor, replayed ones apart from new ones."""
        until = self._replay_until
        if batch and batch[0].position > max(self.cursor, until):
            return iter((batch,))  # unchanged, with the JSON that it carries
        replayed = [event for event in batch if self.cursor < event.position <= until]
        new = [event for event in batch if event.position > max(self.cursor, until)]
        return (part for part in (replayed, new) if part)

    async def _deliver(self, events: Sequence[Event]) -> None:
        replaying = events[-1].position <= self._replay_until
        copies: Sequence[Event] = [own_copy(event) for event in events]  # for the plugin only, which may change them
        if isinstance(events, EventBatch):
            copies = events.of_copies(copies)
        for impl in self._impls["on_events"]:
            await self._call("on_events", impl, events[-1], events=copies, replaying=replaying)
        before = self.delivered
        for number, event in enumerate(events if self._observes_single else (), 1):
            for hook in ("on_event", OBSERVATIONS.get(event.type)):
                for impl in self._impls[hook] if hook else ():
                    await self._call(hook, impl, event, event=copies[number - 1], replaying=replaying)
            self._advance(event.position, before + number)
        self._advance(events[-1].position, before + len(events))

    async def _call(self, hook: str | None, impl: Any, event: Event, /, **available: Any) -> None:
        await self._caller.call(str(hook), impl, event, **available)
        if self._life is not None and self._life.cancelling():  # the lifespan has failed, which ends the plugin
            raise asyncio.CancelledError

    def _advance(self, position: int, delivered: int) -> None:
        # In this order: another thread that sees from the cursor that the plugin is idle reads the final count.
        self.delivered = delivered
        self.cursor = position

    async def _query_store(self, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Query the store on the kernel's loop, and retry until it answers.

        Also after an error that a retry may not cure: a page of the log that cannot be read must not end a plugin that
        serves people. Its health shows the problem.
        """
        while True:
            try:
                answer = await self._on_kernel_loop(call(*args))
            except StoreError as exc:
                if self._stopping:
                    raise
                if self._caller.problem != str(exc):
                    self._caller.problem = str(exc)
                    log.warning("plugin waits for the store", plugin=self.plugin.name, problem=self._caller.problem)
                await asyncio.sleep(STORE_RETRY_S)
            else:
                return answer

    async def _on_kernel_loop(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            future = submit(call, self._kernel_loop)
        except RuntimeError:  # that loop is closed: this plugin hung for longer than the kernel waited
            call.close()
            raise
        return await asyncio.wrap_future(future)


def cursor_name(plugin: Plugin) -> str:
    """Return the name of the checkpoint with a durable plugin's cursor."""
    return f"cursor:{plugin.name}"


def _note(plugin: Any) -> str | None:
    """Return the plain attribute `note` of a plugin; one that is code is not called, as health must not wait for it."""
    found = inspect.getattr_static(plugin, "note", None)
    return exact(found) if isinstance(found, str) and found else None
