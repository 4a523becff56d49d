"""Delivers events to plugins: starts and stops their subscribers, and offers them what has become durable."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from gnomon.api import KernelApi
from gnomon.domain.events import Event
from gnomon.domain.kernel_health import PluginHealth
from gnomon.errors import PluginError
from gnomon.hookspecs import OBSERVATION_HOOKS
from gnomon.logs import get_logger
from gnomon.plugins.calls import PluginCallError
from gnomon.plugins.plugin_set import Plugin, PluginRole, PluginSet
from gnomon.plugins.subscriber import Subscriber, cursor_name
from gnomon.ports import Store

log = get_logger("gnomon.plugins.dispatcher")

START_LIMIT_S = 60.0
"""For entering a plugin's lifespan, which may import and connect a lot on a busy machine. With the limit of a hook,
10 s, the web plugin could not start beside ten busy processes."""

SLOW_START_S = 10.0
"""After which a plugin that is still starting is logged."""


class Dispatcher:
    """The subscribers of all plugins that live in one place: with the leader, or everywhere."""

    role: ClassVar[PluginRole] = "leader"

    def __init__(self, plugins: PluginSet, store: Store, kernel: KernelApi, hook_timeout: float) -> None:
        self._plugins = plugins
        self._store = store
        self._kernel = kernel
        self._hook_timeout = hook_timeout
        self._subscribers: list[Subscriber] = []
        self._only_guards: list[Plugin] = []
        self.head = 0

    async def start(self, since: int, head: int) -> None:
        """Start every plugin that observes or has a lifespan, one after the other; raise PluginError if one fails.

        A durable plugin continues at its checkpoint, the first time at position 0. The others start at `since`, the end
        of the log before this kernel. `head` is its end now.
        """
        self.head = head
        for plugin in self._plugins.of_role(self.role):
            if not any(plugin.observers(hook) for hook in (*OBSERVATION_HOOKS, "lifespan", "reload")):
                if plugin.observers("guard"):
                    self._only_guards.append(plugin)
                continue
            cursor = since
            if plugin.durable:
                checkpoint = await self._store.checkpoint(cursor_name(plugin))
                cursor = min(checkpoint.position, self.head) if checkpoint is not None else 0
            loop, limit = asyncio.get_running_loop(), self._hook_timeout
            subscriber = Subscriber(plugin, self._kernel, self._store, loop, limit, cursor, since, self.head)
            subscriber.start()
            self._subscribers.append(subscriber)
            await self._entered(subscriber)

    async def add(self, plugin: Plugin) -> None:
        """Start a plugin that is added while the kernel runs; it receives the events from now on. PluginError."""
        loop, head = asyncio.get_running_loop(), self.head
        subscriber = Subscriber(plugin, self._kernel, self._store, loop, self._hook_timeout, head, head, head)
        subscriber.start()
        self._subscribers.append(subscriber)
        await self._entered(subscriber)

    async def remove(self, name: str, within: float) -> None:
        """Stop a plugin; does nothing where none has that name."""
        for subscriber in [one for one in self._subscribers if one.plugin.name == name]:
            subscriber.stop()
            if not await _is_done(subscriber.left, within):
                log.error("plugin did not stop", plugin=name, problem=subscriber.waiting_for() or "it has not left")
            if subscriber in self._subscribers:  # else the kernel has stopped it meanwhile
                self._subscribers.remove(subscriber)

    async def _entered(self, subscriber: Subscriber) -> None:
        name, limit = subscriber.plugin.name, max(START_LIMIT_S, self._hook_timeout)
        if not await _is_done(subscriber.entered, min(SLOW_START_S, limit)):
            log.warning("plugin is still starting", plugin=name, hook="lifespan", given_up_after_s=limit)
        if not await _is_done(subscriber.entered, limit - min(SLOW_START_S, limit)):
            raise PluginError(name, f"did not start within {limit:g} s: its hook lifespan has not yielded")
        subscriber.entered.result()

    def publish(self, events: Sequence[Event]) -> None:
        """Offer durable events to every plugin; never blocks."""
        self.head = events[-1].position
        for subscriber in self._subscribers:
            subscriber.offer(events)

    async def reload(self, configs: Mapping[str, msgspec.Struct]) -> dict[str, frozenset[str]]:
        """Call the hook `reload` of every plugin that has it with its new config.

        Return the keys that count from now on, by plugin; a plugin whose hook failed has applied none.
        """
        applied = {}
        for subscriber in self._subscribers:
            name = subscriber.plugin.name
            if subscriber.plugin.observers("reload") and (config := configs.get(name)) is not None:
                try:
                    applied[name] = await subscriber.reload(config)
                except PluginCallError as exc:
                    log.error("plugin could not reload its section", plugin=name, problem=str(exc))
                    applied[name] = frozenset()
        return applied

    async def stop(self, within: float) -> None:
        """Stop all plugins after they have handled what is left and left their lifespans; abandon one that hangs."""
        deadline = time.monotonic() + within
        for subscriber in self._subscribers:
            subscriber.stop()
        while self._subscribers:
            subscriber = self._subscribers.pop()
            if not await _is_done(subscriber.left, max(deadline - time.monotonic(), 0.1)):
                problem = subscriber.waiting_for() or "it has not left its lifespan"
                log.error("plugin did not stop", plugin=subscriber.plugin.name, problem=problem)

    @property
    def is_idle(self) -> bool:
        """Whether every plugin has handled all published events."""
        return all(subscriber.is_idle for subscriber in self._subscribers)

    def health(self) -> list[PluginHealth]:
        """Return the health of each plugin."""
        guards = (_guard_health(plugin, self.head) for plugin in self._only_guards)
        return [*(subscriber.health() for subscriber in self._subscribers), *guards]

    def report_blocking(self) -> None:
        """Log plugins whose hooks do not return."""
        for subscriber in self._subscribers:
            subscriber.report_blocking()


def _guard_health(plugin: Plugin, head: int) -> PluginHealth:
    """Return the health of a plugin with a guard only, which has no thread and no cursor."""
    problem = plugin.problem
    return PluginHealth(plugin.name, "degraded" if problem else "healthy", head, 0, 0, 0, problem)


async def _is_done(future: concurrent.futures.Future[None], within: float) -> bool:
    """Wait for a future of a plugin's thread. wrap_future would cancel it at the time limit."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def wake(_: concurrent.futures.Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, nothing waits any more
            loop.call_soon_threadsafe(done.set_result, None)

    future.add_done_callback(wake)
    await asyncio.wait((done,), timeout=within)
    return future.done()
