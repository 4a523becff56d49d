"""SIGTERM and SIGINT: the first one asks to stop, the second one does not ask."""

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

from gnomon.kernel import Kernel

LAST_WORDS = 2.0
"""Seconds that a process which is told twice to stop has to write down what it can."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Listens while its block runs. `asked` is called on the loop; `last_words` is run there before the process ends.

    Plain handlers and a thread, for a body that blocks the event loop, or a thread that never ends, must not keep the
    process from ending. The exit code is then 128 and the signal's number, as a shell has it.
    """

    def __init__(self, asked: Callable[[], None], last_words: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._asked = asked
        self._last_words = last_words
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals; only the main thread can."""
        self._before = {number: signal.signal(number, self._came) for number in SIGNALS}
        return self

    def __exit__(self, *exc: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            self._loop.call_soon_threadsafe(self._asked)
        elif self._count == 2:
            threading.Thread(target=self._end, args=[number], name="gnomon last words", daemon=True).start()

    def _end(self, number: int) -> None:
        with suppress(Exception):
            sys.stderr.write("gnomon: stopping now\n")
        with suppress(Exception):  # whatever goes wrong now, the process ends
            asyncio.run_coroutine_threadsafe(self._last_words(), self._loop).result(LAST_WORDS)
        with suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(128 + number)


async def record_lost(kernel: Kernel) -> None:
    """Write down that the bodies that are going will not be seen to their end."""
    going = [run for view in await kernel.jobs() for run in view.running]
    message = "the kernel was told twice to stop, and did not wait for the run"
    # All at once, for one commit.
    ends = [kernel.fail(run, message, reason="lost", actor="signal") for run in going]
    await asyncio.gather(*ends, return_exceptions=True)
