"""Notices an event loop that is blocked: a thread that measures, since a blocked loop cannot notice anything itself.

    loop answers ──ping──► no answer for `limit_s` ──► the stack of the loop's thread is taken, the culprit is named
         ▲                                                            │
         └──────────── the loop answers again: the length is known ◄──┘

A loop of asyncio that waits for events is recognized by its stack, and not pinged: each ping wakes it up, and ten a
second took a third of the CPU time of an idle kernel. A loop of another kind is always pinged.

Time in which the whole process did not run (suspended, stopped, starved by other processes) is not counted: the
watchdog's own wake-ups are late then too, and the process has used no CPU time. Such a pause is a fact in the log.

The culprit is a run, or the trigger of a job. While the kernel starts, which itself holds the loop where it has many
jobs, only triggers are named: one that never returns would otherwise stop the start without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from types import CodeType
from typing import Any, Literal, Protocol

import msgspec

from gnomon.engine.asked_trigger import AskedTrigger
from gnomon.engine.pauses import Pause, PauseDetector
from gnomon.logs import get_logger
from gnomon.text import length

log = get_logger("gnomon.engine.loop_watchdog")

TICKS = 10
"""Wake-ups in the time after which a loop counts as blocked."""
STACK_FRAMES = 12
"""Innermost frames that are logged."""
REMEMBERED_S = 60.0
"""How long health names a stall that has ended."""


_SELECT: CodeType = selectors.DefaultSelector.select.__code__
_RUN_ONCE: CodeType = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]  # noqa: SLF001 - the stack has it


def is_waiting(loop_thread: int) -> bool:
    """Return whether the event loop of a thread waits for events, as far as its stack shows that.

    Code that blocks the loop may wait for events, too, in a second loop: then the stack has both.
    """
    frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 - there is no other way
    if frame is None or frame.f_code is not _SELECT or frame.f_back is None or frame.f_back.f_code is not _RUN_ONCE:
        return False
    outer = frame.f_back.f_back
    while outer is not None and outer.f_code is not _RUN_ONCE:
        outer = outer.f_back
    return outer is None


class Stall(msgspec.Struct):
    """A time in which the loop did not answer; `began` is monotonic, `began_at` wall time in seconds.

    `execution_id` and `job_id` name the run that held the loop, `job_id` alone the job whose trigger did.
    """

    began: float
    began_at: float
    place: str
    execution_id: str | None = None
    job_id: str | None = None
    seconds: float = 0.0
    is_over: bool = False
    is_recorded: bool = False

    @property
    def culprit(self) -> str:
        """What held the loop, for people."""
        if self.execution_id:
            return f"run {self.execution_id} of job {self.job_id!r}"
        return f"the trigger of job {self.job_id!r}" if self.job_id else "code outside of runs"

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.job_id and not self.execution_id:
            return "a trigger computes the next time at once: read what it needs in advance, in another thread"
        return 'move blocking code to a plain `def`, which runs in a thread, or set `runner = "process"`'


class Runs(Protocol):
    """Knows the runs that have tasks on the loop."""

    def note_stall(self, task: asyncio.Task[Any] | None, stall: Stall) -> None:
        """Write the run whose task holds the loop into the stall, and remember it; called in the watchdog's thread."""

    def record_stall(self, stall: Stall) -> None:
        """Record a stall that has ended; called on the loop."""


class RecordHoldUp(Protocol):
    """Records that the kernel could process nothing for some time; called on the loop."""

    def __call__(
        self,
        kind: Literal["paused", "blocked"],
        seconds: float,
        until: datetime,
        detail: str,
        held_by: str | None = None,
    ) -> None:
        """Record it."""


class LoopWatchdog:
    """Watches the loop that it is started on. `is_starting`: only triggers are named."""

    def __init__(
        self, limit_s: float, runs: Runs, asked: AskedTrigger | None = None, record: RecordHoldUp = lambda *_: None
    ) -> None:
        self.count = 0
        self.total_s = 0.0
        self.is_starting = False
        self.pauses = PauseDetector(self._on_pause)
        self._asked = asked or AskedTrigger()
        self._record = record
        self._limit_s = limit_s
        self._runs = runs
        self._last: Stall | None = None
        self._stop = threading.Event()
        self._answered = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0

    def start(self) -> None:
        """Start the thread; called on the loop."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._stop.clear()
        self.pauses.restart()
        threading.Thread(target=self._watch, name="gnomon watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    @property
    def problem(self) -> str | None:
        """A sentence while the loop is blocked, and for a minute afterwards."""
        if (stall := self._recent) is None:
            return None
        verb = "was" if stall.is_over else "has been"
        return f"the event loop {verb} blocked for {stall.seconds:.1f} s by {stall.culprit}, at {stall.place}"

    @property
    def blocked_by(self) -> str | None:
        """The execution that blocks the loop, or did so within the last minute."""
        stall = self._recent
        return stall.execution_id if stall is not None else None

    @property
    def _recent(self) -> Stall | None:
        stall = self._last
        if stall is None or (stall.is_over and time.monotonic() > stall.began + stall.seconds + REMEMBERED_S):
            return None
        return stall

    def stall_since(self, moment: float) -> Stall | None:
        """Return the last stall if the loop was, or is, blocked at some time after `moment`, a wall time."""
        stall = self._last
        return stall if stall is not None and stall.began_at + stall.seconds >= moment else None

    def _on_end(self, stall: Stall) -> None:
        """Record a stall that has ended. On the loop."""
        if stall.execution_id is not None:
            self._runs.record_stall(stall)
            return
        until = datetime.fromtimestamp(stall.began_at + stall.seconds, UTC)
        took = length(timedelta(seconds=stall.seconds))
        detail = f"the event loop was blocked for {took} by {stall.culprit}, at {stall.place}"
        self._record("blocked", stall.seconds, until, detail, stall.job_id)

    def _on_pause(self, pause: Pause) -> None:
        """Record a pause. In any thread."""
        if not self._stop.is_set():
            until = datetime.fromtimestamp(pause.until, UTC)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._record, "paused", pause.seconds, until, str(pause))

    # --- from here on: the watchdog's thread ---

    def _watch(self) -> None:
        tick_s = self._limit_s / TICKS
        with contextlib.suppress(RuntimeError):  # the loop is closed
            while not self._stop.wait(tick_s):
                self.pauses.look()
                if is_waiting(self._loop_thread):
                    continue
                self._answered.clear()
                self._loop.call_soon_threadsafe(self._answered.set)
                self._wait_for_answer(tick_s)

    def _wait_for_answer(self, tick_s: float) -> None:
        silent, last, cpu, asked = 0.0, time.monotonic(), time.process_time(), self._asked.job_id
        began, stall = last, None
        while not self._answered.wait(tick_s) and not self._stop.is_set():
            self.pauses.look()
            now, used = time.monotonic(), time.process_time()
            silent += min(now - last, 2 * tick_s + max(used - cpu, 0.0))
            last, cpu = now, used
            before, asked = asked, self._asked.job_id
            trigger = asked if asked == before else None  # the same one for a whole tick, and not each of many
            if stall is None and silent >= self._limit_s and (trigger or not self.is_starting):
                stall = self._last = self._report(began, trigger)
            if stall is not None:
                stall.seconds = now - began
        if stall is not None:
            stall.seconds, stall.is_over = time.monotonic() - began, True
            self.count += 1
            self.total_s += stall.seconds
            if not self._stop.is_set():
                self._loop.call_soon_threadsafe(self._on_end, stall)

    def _report(self, began: float, trigger: str | None) -> Stall:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - there is no other way
        frames = traceback.extract_stack(frame)[-STACK_FRAMES:] if frame is not None else []
        place = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "an unknown place"
        stall = Stall(began, time.time() - (time.monotonic() - began), place)
        if trigger is not None:
            stall.job_id = trigger
        else:
            self._runs.note_stall(asyncio.current_task(self._loop), stall)
        log.error(
            "the event loop is blocked",
            by=stall.culprit,
            at=place,
            limit_s=self._limit_s,
            advice=stall.advice,
            stack="".join(traceback.format_list(frames)),
        )
        return stall
