"""SIGTERM and SIGINT: the first one requests a stop, the second one ends the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from gnomon.forks import abandon_in_children
from gnomon.kernel import Kernel

LAST_RECORDS_S = 2.0
"""Time that a process has, after the second signal, to record what it can."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Handles the signals while its block runs.

    At the first signal `on_request` is called on the loop, and `on_first` at once; at the second one `record` runs on
    the loop and the process ends with 128 plus the number of the signal, as in a shell. Plain handlers and a thread are
    used, because neither a body that blocks the event loop nor a thread that never ends may keep the process from
    ending.
    """

    def __init__(
        self,
        on_request: Callable[[], None],
        record: Callable[[], Coroutine[Any, Any, None]],
        on_first: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_request = on_request
        self._record = record
        self._on_first = on_first
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self.first: str | None = None
        """The name of the first signal, once it has arrived."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers; only the main thread can."""
        self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        abandon_in_children(self)
        return self

    def __exit__(self, *exc: object) -> None:
        """Restore the previous handlers."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def abandon(self, _parent: int) -> None:
        """Restore the previous handlers in a forked child, which a signal would otherwise not end."""
        if threading.current_thread() is threading.main_thread():
            self.__exit__()

    def restore(self) -> list[str]:
        """Install the handlers again that a body has replaced, and return the names of their signals."""
        replaced = [number for number in SIGNALS if signal.getsignal(number) != self._handle]
        for number in replaced:
            signal.signal(number, self._handle)
        return [number.name for number in replaced]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            self.first = signal.Signals(number).name
            self._on_first()
            self._loop.call_soon_threadsafe(self._on_request)
        elif self._count == 2:
            threading.Thread(target=self._end, args=[number], name="gnomon second signal", daemon=True).start()

    def _end(self, number: int) -> None:
        with suppress(Exception):
            sys.stderr.write("gnomon: stopping now\n")
        with suppress(Exception):  # the process ends whatever fails here
            asyncio.run_coroutine_threadsafe(self._record(), self._loop).result(LAST_RECORDS_S)
        with suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(128 + number)


async def record_lost_runs(kernel: Kernel) -> None:
    """Record the runs with a live body as failed(lost), because the process ends without waiting for them."""
    if kernel.health().role != "leader":
        return  # they run elsewhere
    running = [run for view in await kernel.jobs() for run in view.running]
    message = "the kernel received a second stop signal and did not wait for the run"
    ends = [kernel.fail(run, message, reason="lost", actor="signal") for run in running]
    await asyncio.gather(*ends, return_exceptions=True)  # together, for one commit
