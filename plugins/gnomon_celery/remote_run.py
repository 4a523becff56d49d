"""A run whose body is elsewhere: what its worker has reported, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import cast, get_args

import msgspec

from gnomon import Job
from gnomon.domain.body_sample import BodySample
from gnomon.domain.events import FailedReason
from gnomon.logs import get_logger
from gnomon.runners.base import Outcome, Run
from gnomon.runners.orders import BodyOrder, OrderFailure, TriggerOrder
from gnomon.runners.outcome import sent_fields
from gnomon.tasks import protected
from gnomon_celery.messages import (
    Alive,
    Answered,
    Begun,
    Died,
    Ended,
    Lines,
    MessageOfWorker,
    Ordered,
    Report,
    Sampled,
)
from gnomon_celery.sending import TaskMessage

log = get_logger("gnomon.celery")

CONFLATED_S = 1.0
"""How long progress may wait to be recorded together with what comes after it."""
MOST_SENDINGS = 3
"""How often a run is sent whose message died with the process that had taken it, before it counts as lost."""


class Mark(msgspec.Struct, frozen=True):
    """Up to where a run has to be recorded, for an entry of the stream to have had its effect.

    `at` is when its progress was reported here, 0 where the entry had none; `line` is the number of a line.
    """

    run: RemoteRun
    at: float
    line: int

    @property
    def is_reached(self) -> bool:
        """Whether everything that the entry said about the run is recorded, and waits at most for the log."""
        return self.run.has_recorded(self.at, self.line)


class RemoteRun:
    """One run. Used on the kernel's loop only.

    `answer` posts the answer to an order of the body, `send_again` puts its message into the queue once more.
    """

    def __init__(
        self,
        run: Run,
        message: TaskMessage,
        answer: Callable[[str, Answered], Awaitable[None]],
        send_again: Callable[[RemoteRun], None],
    ) -> None:
        self.run = run
        self.id = run.execution.id
        self.message = message
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.worker: str | None = None
        self.is_sent = False
        self.is_returned = False
        self.is_stopping = False
        self.waits_since = self.sent_at = self.begun_at = time.monotonic()
        self.heard_ms = 0
        self.shown_wait: str | None = None
        self.questions: dict[str, asyncio.Future[BodySample]] = {}
        self._answer = answer
        self._send_again = send_again
        self._last_number = 0
        self._recorded_before = run.execution.progress.number  # by an earlier kernel
        self._sendings = 1
        self._answering: dict[int, asyncio.Task[None]] = {}

    @property
    def has_begun(self) -> bool:
        """Whether a worker is known to have begun the body."""
        return self.worker is not None

    @property
    def is_over(self) -> bool:
        """Whether its outcome is known."""
        return self.ended.done()

    def begin(self, worker: str) -> None:
        """Note that a worker runs the body, as this kernel or an earlier one has recorded."""
        self.worker = worker
        self.begun_at = time.monotonic()
        self.message.is_dropped = True

    def end(self, outcome: Outcome) -> None:
        """End the run, unless its outcome is known already."""
        if not self.ended.done():
            self.message.is_dropped = True
            self.ended.set_result(outcome)

    def show_wait(self, reason: str | None) -> None:
        """Show why the body does not begin; None: nothing is known any more that keeps it."""
        if reason != self.shown_wait and not (self.has_begun or self.is_over) and self.run.placement is not None:
            self.shown_wait = reason
            self.run.placement.waits(reason)

    def lose(self, message: str) -> None:
        """End the run as lost: nothing is heard of its body any more."""
        seconds = time.monotonic() - self.begun_at if self.has_begun else 0.0
        self.end(Outcome(seconds, error_type="WorkerLost", error_message=message, reason="lost"))

    def receive(self, message: MessageOfWorker) -> Mark | None:
        """Carry out what a worker says, but not a second time; return up to where it has to be recorded."""
        if self._was_read(message):
            return None
        at, line = 0.0, 0
        match message:
            case Report():
                if message.n > self._recorded_before:
                    fields = {**message.fields, "number": message.n}
                    self.run.context.report(fields, immediately="step" in fields or "steps" in fields)
                    at = time.monotonic()
            case Lines():
                line = self._keep_lines(message)
            case Alive():
                self.run.context.report({})
            case Begun():
                self.note_begun(message.worker, message.at, message.code)
            case Ordered():
                self._carry_out(message)
            case Sampled():
                self._note_sample(message)
            case Ended() | Died():
                self._note_end(message)
        return Mark(self, at, line)

    def has_recorded(self, at: float, line: int) -> bool:
        """Whether what was reported until then is recorded, all orders are answered, and an end has been returned."""
        if self._answering or (self.is_over and not self.is_returned):
            return False
        context = self.run.context
        if at and context.has_pending_progress:
            if time.monotonic() - at < CONFLATED_S:
                return False
            context.flush()
        return not line or context.log_buffer is None or context.log_buffer.flushed >= line

    def stop_answering(self) -> None:
        """End what is being carried out for the body: the kernel stops, and the next one will find the order."""
        for task in self._answering.values():
            task.cancel()

    def _was_read(self, message: MessageOfWorker) -> bool:
        """Whether a message came before, in a batch that was posted twice, or says nothing new: the run is over."""
        if self.is_over or 0 < message.n <= self._last_number:
            return True
        self._last_number = message.n or self._last_number
        return False

    def note_begun(self, worker: str, at: datetime, code: str | None = None) -> None:
        """Record that a worker has begun the body, and with which code."""
        self.begin(worker)
        assert self.run.placement is not None  # noqa: S101 - the runner is remote
        self.run.placement.begun(worker, at, code)

    def _keep_lines(self, message: Lines) -> int:
        """Add the lines that are not kept yet: the worker numbers them. Return the number of the last one."""
        for line in message.lines:
            self.run.context.log_line(line.level, line.text, line.logger, line.at, line.number)
        return message.lines[-1].number if message.lines else 0

    def _carry_out(self, message: Ordered) -> None:
        """Carry out an order of the body once, and answer."""
        if message.number in self._answering:
            return

        async def answer() -> None:
            try:
                result = await self.run.context.give(self._repeatable(message))
                answered = Answered(
                    number=message.number, result=result.definition() if isinstance(result, Job) else result
                )
            except Exception as exc:  # noqa: BLE001 - whatever it is, the body waits for an answer
                answered = Answered(number=message.number, failure=OrderFailure.of(exc))
            await self._answer(self.id, answered)

        task = self._answering[message.number] = protected(answer(), "order of a body in a worker")
        task.add_done_callback(lambda _: self._answering.pop(message.number, None))

    def _repeatable(self, message: Ordered) -> BodyOrder:
        """Return an order that has no second effect if a kernel ends before its answer, and the next one reads it."""
        order = message.order
        if isinstance(order, TriggerOrder) and "idempotency_key" not in order.options:
            key = f"order {message.number} of run {self.id}"
            return msgspec.structs.replace(order, options={**order.options, "idempotency_key": key})
        return order

    def _note_sample(self, message: Sampled) -> None:
        question = self.questions.get(message.token)  # none where an earlier kernel has asked
        if question is not None and not question.done():
            question.set_result(message.sample)

    def _note_end(self, message: Ended | Died) -> None:
        if isinstance(message, Ended):
            self.end(outcome_of(message))
        elif message.had_begun:
            if self.worker == message.worker:
                seconds = time.monotonic() - self.begun_at
                self.end(
                    Outcome(
                        seconds,
                        error_type="ProcessDied",
                        error_message=message.message,
                        cancelled=self.is_stopping,
                        killed=True,
                    )
                )
        elif not self.has_begun:
            self._sendings += 1
            if self._sendings > MOST_SENDINGS:
                self.lose(f"its message was taken {MOST_SENDINGS} times by processes that died: {message.message}")
            else:
                log.warning("a worker died with a message, sent again", run=self.id, problem=message.message)
                self._send_again(self)


_REASONS = get_args(FailedReason)


def outcome_of(ended: Ended) -> Outcome:
    """Return the outcome that a worker has reported."""
    reason = cast(FailedReason, ended.reason) if ended.reason in _REASONS else None
    return Outcome(killed=ended.killed, reason=reason, **sent_fields(ended))
