"""Calls the observation hooks of one plugin: with a time limit, counting failures, naming a hook that blocks."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import pluggy

from gnomon.domain.events import Event
from gnomon.logs import get_logger
from gnomon.safe_text import safe_repr, safe_traceback

log = get_logger("gnomon.plugins.subscriber")

DEGRADED_AFTER = 10
"""Failures in a row after which a plugin is shown as degraded; it still gets its events."""


class HookCaller:
    """Calls hooks in the plugin's thread. The properties may be read from any thread."""

    def __init__(self, plugin: str, timeout_s: float) -> None:
        self.failures = self.failures_in_a_row = 0
        self.problem: str | None = None
        self._plugin = plugin
        self._timeout_s = timeout_s
        self._current: tuple[float, str, Event] | None = None
        self._reported: Event | None = None

    @property
    def is_calling(self) -> bool:
        """Whether a hook is being called."""
        return self._current is not None

    @property
    def is_failing(self) -> bool:
        """Whether so many calls in a row have failed that the plugin is degraded."""
        return self.failures_in_a_row >= DEGRADED_AFTER

    def waiting_for(self, at_least_s: float = 0.0) -> str | None:
        """Describe the hook that has been called for at least that long, if there is one."""
        current = self._current
        if current is None or (spent := time.monotonic() - current[0]) < at_least_s:
            return None
        return (
            f"hook {current[1]} has not returned from event {current[2].position} ({current[2].type}) for {spent:.0f} s"
        )

    def blocked(self) -> str | None:
        """Describe the hook that blocks the plugin's event loop, if there is one.

        A hook that awaits is ended by its time limit. One that has not returned after twice that does not await.
        """
        return self.waiting_for(2 * self._timeout_s)

    def report_blocking(self) -> None:
        """Log a call that blocks, once."""
        if (blocked := self.blocked()) is None or (current := self._current) is None:
            return
        if current[2] is not self._reported:
            self._reported = current[2]
            log.error("plugin blocks", plugin=self._plugin, problem=blocked, run=current[2].stream)

    def note_exit(self, exc: BaseException) -> None:
        """Record that a task or callback of the plugin tried to end the process; a hook that awaits it fails."""
        self.problem = f"a task or callback tried to end the process: {safe_repr(exc)}"
        log.error("plugin tried to end the process", plugin=self._plugin, exception=safe_traceback(exc))

    async def call(self, hook: str, impl: pluggy.HookImpl, event: Event, /, **available: Any) -> None:
        """Call one implementation with the arguments that it asks for; `event` is the one named if it fails.

        Whatever it raises is logged and counted. Only the cancellation of the whole plugin passes.
        """
        self._current = (time.monotonic(), hook, event)
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                result = impl.function(*(available[name] for name in impl.argnames))
                if inspect.isawaitable(result):
                    await result
        except BaseException as exc:  # noqa: BLE001 - isolation: see above
            _uncancel()
            problem = f"took longer than {self._timeout_s:g} s" if limit.expired() else safe_repr(exc)
            self._failed(hook, event, exc, problem)
        else:
            self.failures_in_a_row = 0
        finally:
            self._current = None

    def _failed(self, hook: str, event: Event, exc: BaseException, problem: str) -> None:
        self.failures += 1
        self.failures_in_a_row += 1
        self.problem = f"hook {hook} on event {event.position} ({event.type}): {problem}"
        # Once degraded only powers of two: the log must survive a plugin that fails 5,000 times a second.
        in_a_row = self.failures_in_a_row
        if in_a_row <= DEGRADED_AFTER or in_a_row & (in_a_row - 1) == 0:
            log.error(
                "plugin hook failed",
                plugin=self._plugin,
                hook=hook,
                event_type=event.type,
                position=event.position,
                run=event.stream,
                failures_in_a_row=in_a_row,
                problem=problem,
                exception=safe_traceback(exc),
            )


def _uncancel() -> None:
    """Revert the cancellations of a hook that cancelled the task in which it was called."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
