"""The attempts to reach one destination: a time limit for each, and the pauses after those that failed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from gnomon.backoff import Backoff
from gnomon.outbox.delivery_errors import DeliveryDelayedError, DeliveryRefusedError
from gnomon.safe_text import safe_str, type_name
from gnomon.text import shorten
from gnomon.threads import in_thread

FIRST_PAUSE_S = 1.0
SHORTEST_PAUSE_S = 0.001
JITTER = 0.2
"""The share of a pause that is random, so that destinations behind one server do not return at the same instant."""
LONGEST_DELAY_S = 24 * 3600.0
"""The longest pause that a destination may ask for."""
LONGEST_PROBLEM = 500
"""Characters of a problem: an answer may be a page of HTML."""


class Attempts:
    """The attempts to reach one destination, one at a time.

    `problem` says what is wrong since the last attempt that failed, None after one that succeeded. A `def` is called in
    a thread; one that hangs keeps its thread, and is not called again before it has ended.
    """

    def __init__(self, name: str, *, timeout_s: float, longest_pause_s: float) -> None:
        self.name = name
        self.problem: str | None = None
        self.failures = 0
        self._timeout_s = timeout_s
        self._backoff = Backoff(min(FIRST_PAUSE_S, longest_pause_s), longest_pause_s, jitter=JITTER)
        self._thread: asyncio.Future[Any] | None = None

    async def attempt(self, send: Callable[..., Awaitable[None] | None], *args: Any) -> float:
        """Call `send` once; return 0 where that succeeded, else the seconds to wait before the next attempt.

        DeliveryRefusedError is raised: there is nothing to wait for.
        """
        try:
            await self._call(send, *args)
        except DeliveryRefusedError:
            self.note_success()  # it answers
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a destination raises, a later attempt may succeed
            return self.note_failure(exc)
        self.note_success()
        return 0.0

    def note_success(self) -> None:
        """Note that the destination answers: the next failure is followed by the shortest pause."""
        self.problem, self.failures = None, 0
        self._backoff.reset()

    def note_failure(self, exc: Exception) -> float:
        """Note a failed attempt, and return the seconds to wait before the next one."""
        pause_s = self._backoff.next()
        if isinstance(exc, DeliveryDelayedError) and exc.after_s is not None:
            pause_s = min(max(pause_s, exc.after_s), LONGEST_DELAY_S)
        self.failures += 1
        self.problem = describe_failure(exc, self._timeout_s)
        return max(pause_s, SHORTEST_PAUSE_S)

    async def _call(self, send: Callable[..., Awaitable[None] | None], *args: Any) -> None:
        if inspect.iscoroutinefunction(send):
            async with asyncio.timeout(self._timeout_s):
                await send(*args)
            return
        if self._thread is not None and not self._thread.done():
            await asyncio.wait({self._thread}, timeout=self._timeout_s)
            if not self._thread.done():
                raise TimeoutError
        self._thread = thread = in_thread(lambda: send(*args), f"gnomon-outbox-{self.name}")
        thread.add_done_callback(_retrieve)
        # Not asyncio.timeout, which would cancel the future: it shows when a thread that hangs has ended.
        await asyncio.wait({thread}, timeout=self._timeout_s)
        if not thread.done():
            raise TimeoutError
        thread.result()


def describe_failure(exc: Exception, timeout_s: float) -> str:
    """Return what went wrong in an attempt, as one short line."""
    text = " ".join(safe_str(exc).split())
    if isinstance(exc, TimeoutError) and not text:
        return f"no answer within {timeout_s:g} s"
    if isinstance(exc, DeliveryDelayedError):
        return shorten(text, LONGEST_PROBLEM)
    return shorten(f"{type_name(exc)}: {text}" if text else type_name(exc), LONGEST_PROBLEM)


def _retrieve(thread: asyncio.Future[Any]) -> None:
    if not thread.cancelled():
        thread.exception()  # else asyncio reports that nobody has seen it, where the attempt has been given up
