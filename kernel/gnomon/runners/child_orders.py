"""Orders of a process body: sent over the pipe to the kernel, each answered by its number."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.api import Triggered
from gnomon.errors import GnomonError, JobError
from gnomon.jobs.definition import convert_job
from gnomon.runners.child_protocol import MESSAGE_LIMIT, MessageToKernel, OrderAnswered, OrderSent
from gnomon.runners.orders import AddJobOrder, Answer, BodyOrder
from gnomon.safe_text import safe_str


class ChildOrders:
    """The orders that wait for an answer; used by all threads of the body."""

    def __init__(self, send: Callable[[MessageToKernel], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._process_id = os.getpid()
        self._waiting: dict[int, tuple[threading.Event, list[OrderAnswered]]] = {}

    def carry_out(self, order: BodyOrder) -> Answer[Any]:
        """Send an order, wait for the kernel, and return its answer; raise its error."""
        if os.getpid() != self._process_id:
            raise GnomonError(
                "an order was given in a process that the body has forked, which the kernel cannot answer: give it in "
                "the body itself"
            )
        message = self._message(order)
        is_answered, answers = self._waiting[message.number] = threading.Event(), []
        try:
            self._send(message)
            is_answered.wait()
        finally:
            del self._waiting[message.number]
        (answer,) = answers
        if answer.failure is not None:
            raise answer.failure.error()
        return Answer(_result(order, answer.result))

    def answered(self, answer: OrderAnswered) -> None:
        """Pass an answer to the thread that waits for it; called by the thread that reads the pipe."""
        if (waiting := self._waiting.get(answer.number)) is not None:  # else the body was interrupted meanwhile
            waiting[1].append(answer)
            waiting[0].set()

    def _message(self, order: BodyOrder) -> OrderSent:
        """Return an order as it is sent; JobError for arguments that JSON cannot hold."""
        try:
            message = OrderSent(next(self._numbers), order.portable())
            written = msgspec.json.encode(message)
            msgspec.json.decode(written)  # the kernel could not read a number with hundreds of digits
        except GnomonError:
            raise  # a JobError is a ValueError, too
        except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError) as exc:
            raise JobError(
                f"the arguments of an order must be JSON, because the log keeps them: {safe_str(exc)}"
            ) from exc
        if len(written) > MESSAGE_LIMIT:
            raise JobError(
                f"the order has {len(written):,} bytes as JSON, and {MESSAGE_LIMIT:,} are allowed: pass a reference"
            )
        return message


def _result(order: BodyOrder, result: Any) -> Any:
    return convert_job(result) if isinstance(order, AddJobOrder) else msgspec.convert(result, Triggered)
