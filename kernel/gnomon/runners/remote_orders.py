"""Orders of a body that runs away from its kernel: sent in a message, each answered by its number."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.api import Triggered
from gnomon.domain.run_exits import RunCancelled
from gnomon.errors import GnomonError, JobError
from gnomon.jobs.definition import convert_job
from gnomon.runners.orders import AddJobOrder, Answer, BodyOrder, OrderFailure
from gnomon.safe_text import safe_str

MESSAGE_LIMIT = 4 * 1024 * 1024
"""Bytes of the longest message of a body: a bounded traceback and value, with all characters escaped."""


class OrderAnswer(msgspec.Struct, frozen=True):
    """What the kernel returned for an order, or its error."""

    result: Any = None
    failure: OrderFailure | None = None


class RemoteOrders:
    """The orders that wait for an answer; used by all threads of the body.

    `send` receives each order with its number. With `awaits`, an order that is given on an event loop does not block
    it: its answer is to be awaited.
    """

    def __init__(self, send: Callable[[int, BodyOrder], None], *, awaits: bool = False) -> None:
        self._send = send
        self._awaits = awaits
        self._numbers = itertools.count(1)
        self._process_id = os.getpid()
        self._waiting: dict[int, Callable[[OrderAnswer | None], None]] = {}

    def carry_out(self, order: BodyOrder) -> Answer[Any]:
        """Send an order, wait for the kernel, and return its answer; raise its error."""
        if os.getpid() != self._process_id:
            raise GnomonError(
                "an order was given in a process that the body has forked, which the kernel cannot answer: give it in "
                "the body itself"
            )
        number = next(self._numbers)
        portable = _checked(number, order)
        if self._awaits and (loop := _running_loop()) is not None:
            return Answer(future=self._send_from_loop(loop, number, portable))
        is_answered, answers = threading.Event(), list[OrderAnswer | None]()

        def receive(answer: OrderAnswer | None) -> None:
            answers.append(answer)
            is_answered.set()

        self._waiting[number] = receive
        try:
            self._send(number, portable)
            is_answered.wait()
        finally:
            self._waiting.pop(number, None)
        return Answer(_result(portable, answers[0]))

    def answered(self, number: int, answer: OrderAnswer) -> None:
        """Pass an answer to what waits for it; called by the thread that reads the messages of the kernel."""
        if (receive := self._waiting.get(number)) is not None:  # else the body was interrupted meanwhile
            receive(answer)

    def abandon(self) -> None:
        """Raise RunCancelled where an answer is waited for: the run was asked to stop."""
        for receive in list(self._waiting.values()):
            receive(None)

    @property
    def unanswered(self) -> list[int]:
        """The numbers of the orders that wait."""
        return list(self._waiting)

    def _send_from_loop(self, loop: asyncio.AbstractEventLoop, number: int, order: BodyOrder) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = loop.create_future()

        def settle(answer: OrderAnswer | None) -> None:
            if future.done():
                return
            try:
                future.set_result(_result(order, answer))
            except RunCancelled:
                future.cancel()
            except Exception as exc:  # noqa: BLE001 - it is raised where the answer is awaited
                future.set_exception(exc)

        def receive(answer: OrderAnswer | None) -> None:
            self._waiting.pop(number, None)
            try:
                loop.call_soon_threadsafe(settle, answer)
            except RuntimeError:
                return  # the loop is closed, so nothing awaits the answer

        self._waiting[number] = receive
        self._send(number, order)
        return future


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _checked(number: int, order: BodyOrder) -> BodyOrder:
    """Return an order as it is sent; JobError for arguments that JSON cannot hold."""
    try:
        portable = order.portable()
        written = msgspec.json.encode((number, portable))
        msgspec.json.decode(written)  # the kernel could not read a number with hundreds of digits
    except GnomonError:
        raise  # a JobError is a ValueError, too
    except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError) as exc:
        raise JobError(f"the arguments of an order must be JSON, because the log keeps them: {safe_str(exc)}") from exc
    if len(written) > MESSAGE_LIMIT:
        raise JobError(
            f"the order has {len(written):,} bytes as JSON, and {MESSAGE_LIMIT:,} are allowed: pass a reference"
        )
    return portable


def _result(order: BodyOrder, answer: OrderAnswer | None) -> Any:
    if answer is None:
        raise RunCancelled
    if answer.failure is not None:
        raise answer.failure.error()
    if isinstance(order, AddJobOrder):
        return convert_job(answer.result)
    return msgspec.convert(answer.result, Triggered)
