"""One run in the process of a worker: its context, and what it reports until that is posted.

The body and its threads add to it; the thread of the channel collects messages, posts them, and passes on requests to
stop and answers. While Redis is away, one batch waits and the rest is kept in bounded form: newer progress is merged,
and of the log lines the newest are kept, as in a kernel. How the body ended is never dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any, Literal, cast

import msgspec

from gnomon.domain.body_sample import BodySample
from gnomon.domain.progress import MAX_STEPS
from gnomon.runners.base import Outcome
from gnomon.runners.body_place import BodyPlace
from gnomon.runners.context import Context, merged_fields
from gnomon.runners.orders import Answer, BodyOrder
from gnomon.runners.outcome import sent_fields
from gnomon.runners.progress_fields import ProgressFields
from gnomon.runners.remote_orders import OrderAnswer, RemoteOrders
from gnomon.runners.stack_frames import with_sources
from gnomon.safe_text import safe_str
from gnomon_celery.channel import Channel
from gnomon_celery.messages import (
    Alive,
    Answered,
    Assignment,
    Ended,
    Line,
    Lines,
    Ordered,
    Report,
    Sampled,
    WorkerMessage,
)

log = logging.getLogger("gnomon.celery")

BATCHED_S = 0.1
"""How long progress and log lines wait for more of them."""
SIGN_OF_LIFE_INTERVAL_S = 5.0
"""Seconds between two signs of life of a body that makes context calls and reports nothing; less for short silences."""
STALL_S = 2.0
"""A look at the limits of a run that comes so much too late shows that the worker stood still, and not the body."""

Limit = Literal["timeout", "silence"]


class Poster:
    """What a run needs of its channel: to be looked at soon. `is_pool_child`: this process has one run at a time."""

    is_pool_child = False

    def wake(self, within: float) -> None:
        """Post what has been reported within so many seconds."""
        raise NotImplementedError


class HostedContext(Context):
    """The context of a run in a worker. `partial_lines` holds what the body has printed without an end of line."""

    def __init__(self, assignment: Assignment, run: HostedRun) -> None:
        super().__init__(assignment.execution, run, rate=assignment.rate)
        self.partial_lines: dict[str, str] = {}


class HostedRun:
    """A run whose body this process executes; the sink of its context."""

    def __init__(self, assignment: Assignment, token: str, poster: Poster) -> None:
        self.id = assignment.execution.id
        self.assignment = assignment
        self.token = token
        self.channel = Channel(assignment.channel)
        self.context = HostedContext(assignment, self)
        self.orders = RemoteOrders(self._send_order, awaits=True)
        self.delivered = threading.Event()
        self.must_die = False
        """Whether this process is to be killed when the end of the run is posted: its body does not stop."""
        self.is_terminated = False
        """Whether the body was interrupted by SIGTERM."""
        self.place = BodyPlace(owns_process=poster.is_pool_child)
        self._poster = poster
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._reports: list[dict[str, Any]] = []
        self._given: list[tuple[int, BodyOrder]] = []
        self._samples: list[tuple[str, BodySample]] = []
        self._ended: Ended | None = None
        self._collected: list[WorkerMessage] = []
        self._number = 1  # of `begun`, which is posted with the claim
        self._began_at = self._looked_at = self._shown_alive_at = time.monotonic()
        self._stopped_at: float | None = None
        self._stopped_by: tuple[Limit, str] | None = None
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    # --- the side of the body ---

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:  # noqa: ARG002 - there is only one
        """Keep the fields of a progress event until they are posted."""
        if os.getpid() != self._process_id:
            return  # a process that the body has forked has no thread that would post it
        with self._lock:
            if len(self._reports) > MAX_STEPS:
                self._reports[-1] = merged_fields(self._reports[-1], fields)
            else:
                self._reports.append(fields)
        self._poster.wake(BATCHED_S)

    def flush_later(self, context: Context) -> None:  # noqa: ARG002 - there is only one
        """Have the thread of the channel flush the context, and post the lines that it has logged."""
        if os.getpid() == self._process_id:
            self._poster.wake(BATCHED_S)

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:  # noqa: ARG002 - there is only one
        """Send an order to the kernel and wait for its answer, also while no kernel leads."""
        return self.orders.carry_out(order)

    def run_on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the body to its end; a request to stop cancels its task."""

        async def cancellable() -> Any:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asyncio.run made it
            with self._lock:
                self._task = (asyncio.get_running_loop(), task)
            if self.context.cancel_requested:
                task.cancel()
            try:
                return await coroutine
            finally:
                with self._lock:
                    self._task = None

        return self.place.run(cancellable())

    def end(self, outcome: Outcome, reason: str | None = None) -> bool:
        """Keep how the body ended, to be posted with the next batch; False where it has been ended before."""
        self.context.flush()
        if reason is None and self._stopped_by is not None and outcome.cancelled and outcome.snooze is None:
            reason, message = self._stopped_by
            outcome = Outcome(outcome.execution_time, error_type="TimeoutError", error_message=message)
        with self._lock:
            is_first = self._ended is None
            if is_first:
                self._ended = _ended(self.id, outcome, reason)
        return is_first

    def _send_order(self, number: int, order: BodyOrder) -> None:
        with self._lock:
            self._given.append((number, order))
        self._poster.wake(0.0)

    # --- the side of the channel's thread ---

    @property
    def is_ended(self) -> bool:
        """Whether the body has ended."""
        return self._ended is not None

    def collect(self) -> list[WorkerMessage]:
        """Return what is to be posted: what could not be posted the last time, else what was reported since."""
        if not self._collected:
            if self.context.has_pending_progress and self.context.may_record_progress:
                self.context.flush()
            with self._lock:
                reports, self._reports = self._reports, []
                given, self._given = self._given, []
                samples, self._samples = self._samples, []
                ended = self._ended
            messages: list[WorkerMessage] = [
                Report(id=self.id, n=0, fields=cast("ProgressFields", fields)) for fields in reports
            ]
            if lines := self._new_lines():
                messages.append(Lines(id=self.id, n=0, lines=lines))
            messages += [Ordered(id=self.id, n=0, number=number, order=order) for number, order in given]
            if ended is not None:
                messages.append(ended)
            elif messages or self._is_alive():
                self._shown_alive_at = self.context.last_sign_of_life
                messages += [] if messages else [Alive(id=self.id, n=0)]
            if ended is None:  # nobody asks any more
                messages += [Sampled(id=self.id, n=0, token=token, sample=sample) for token, sample in samples]
            self._collected = self._numbered(messages)
        return self._collected

    def posted(self) -> None:
        """Drop what was collected: it is in the stream."""
        is_over = any(isinstance(message, Ended) for message in self._collected)
        self._collected = []
        if is_over:
            self.delivered.set()

    def stop(self) -> None:
        """Request that the body stops: at its next context call, where it waits for an answer, or as a task."""
        if self._stopped_at is not None:
            return
        self._stopped_at = time.monotonic()
        self.context.request_cancel()
        self.orders.abandon()
        with self._lock:
            if self._task is not None:
                loop, task = self._task
                loop.call_soon_threadsafe(task.cancel)

    def look(self, token: str) -> None:
        """Find out where the body is, in a thread: it reads files of source code."""

        def work() -> None:
            sample, mask = self.place.sample(), self.context.mask
            stacks = with_sources(sample.stacks, str if mask is None else mask.hide)
            with self._lock:
                self._samples.append((token, msgspec.structs.replace(sample, stacks=stacks)))
            self._poster.wake(0.0)

        with contextlib.suppress(RuntimeError):  # the machine has no thread left, and the kernel waits in vain
            threading.Thread(target=work, name="gnomon sample", daemon=True).start()

    def answered(self, answer: Answered) -> None:
        """Pass on the answer to an order."""
        self.context.last_sign_of_life = time.monotonic()
        self.orders.answered(answer.number, OrderAnswer(answer.result, answer.failure))

    def enforce_limits(self, *, can_kill: bool) -> None:
        """Stop a body beyond its timeout, or silent for too long; end it by force where it does not stop.

        The kernel does the same. It may be away, though, and then the worker is on its own.
        """
        now = time.monotonic()
        if now - self._looked_at > STALL_S or self.orders.unanswered:
            self.context.last_sign_of_life = now
        self._looked_at = now
        if self.is_ended:
            return
        if self._stopped_by is None and self._stopped_at is None:
            if (found := self._exceeded(now)) is not None:
                self._stopped_by = found
                self.stop()
        elif can_kill and self._stopped_by is not None and self._stopped_at is not None:
            grace = self.assignment.cancel_grace
            if now - self._stopped_at > grace:
                reason, message = self._stopped_by
                message = f"{message}; it did not stop within {grace:g} s, so its process was killed"
                outcome = Outcome(now - self._began_at, error_type="TimeoutError", error_message=message, killed=True)
                self.must_die = self.end(outcome, reason)

    def _exceeded(self, now: float) -> tuple[Limit, str] | None:
        timeout, silence = self.assignment.timeout, self.assignment.silence
        if timeout is not None and now - self._began_at >= timeout:
            return "timeout", f"the run took longer than its timeout of {timeout:g} s"
        if silence is not None and now - self.context.last_sign_of_life >= silence:
            return "silence", f"the run gave no sign of life for {silence:g} s"
        return None

    def _is_alive(self) -> bool:
        silence = self.assignment.silence
        interval = SIGN_OF_LIFE_INTERVAL_S if silence is None else min(SIGN_OF_LIFE_INTERVAL_S, silence / 4)
        return self.context.last_sign_of_life - self._shown_alive_at >= interval

    def _new_lines(self) -> list[Line]:
        if (buffer := self.context.log_buffer) is None:
            return []
        lines, _ = buffer.unflushed()
        if lines:
            buffer.mark_flushed(lines)
        return [Line(line.number, line.at, line.level, line.text, line.logger) for line in lines]

    def _numbered(self, messages: list[WorkerMessage]) -> list[WorkerMessage]:
        """Return messages with their numbers; one that JSON cannot hold would keep back those of all other runs."""
        numbered: list[WorkerMessage] = []
        for message in messages:
            try:
                msgspec.json.encode(message)
            except (ValueError, TypeError, RecursionError) as exc:  # ValueError: half a character, say
                log.error("a message of run %s cannot be sent: %s", self.id, safe_str(exc))
                if not isinstance(message, Ended):
                    continue
                problem = f"how the body ended cannot be sent: {safe_str(exc)}"
                outcome = Outcome(message.execution_time, error_type=type(exc).__name__, error_message=problem)
                message = _ended(self.id, outcome, None)  # noqa: PLW2901 - it stands for the other
            self._number += 1
            numbered.append(msgspec.structs.replace(message, n=self._number))
        return numbered


def _ended(execution_id: str, outcome: Outcome, reason: str | None) -> Ended:
    return Ended(id=execution_id, n=0, killed=outcome.killed, reason=reason, **sent_fields(outcome))
