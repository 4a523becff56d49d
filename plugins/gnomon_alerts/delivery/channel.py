"""The delivery to one channel: it sends what is due, notes how that went, and waits for the next moment."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gnomon import DeliveryRefusedError, GnomonError, KernelApi
from gnomon.logs import get_logger
from gnomon.outbox.attempts import Attempts
from gnomon.outbox.destination import Refusal
from gnomon.outbox.pauses import pause
from gnomon.safe_text import safe_str
from gnomon.wire.alerts import Alert
from gnomon_alerts.book import Book
from gnomon_alerts.delivery.config import Channel
from gnomon_alerts.delivery.ledger import ChannelRecord
from gnomon_alerts.delivery.message import Message, Surroundings, compose
from gnomon_alerts.delivery.senders import Send, sender_of
from gnomon_alerts.delivery.timing import Due, Notice, forget_what_is_not_news, plan

log = get_logger("gnomon.alerts")

MOST_ERRORS = 20
"""Runs of a message whose errors are read from the log."""


class Keeper(Protocol):
    """What a channel needs of the deliveries of all channels."""

    @property
    def book(self) -> Book:
        """The alerts, up to a position of the log."""

    async def save(self) -> None:
        """Save what was sent; return when it is durable."""

    def surroundings(self) -> Surroundings:
        """Return where messages are from."""


class ChannelDelivery:
    """Sends the messages of one channel, one at a time. All calls are made on the loop of the plugin."""

    def __init__(self, channel: Channel, record: ChannelRecord, kernel: KernelApi, keeper: Keeper) -> None:
        self.channel = channel
        self.record = record
        self._kernel = kernel
        self._keeper = keeper
        self._send = _for_attempts(sender_of(channel))
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_retired = False
        self._attempts = Attempts(
            channel.name,
            timeout_s=channel.timeout.total_seconds(),
            longest_pause_s=channel.longest_pause.total_seconds(),
        )

    def wake(self) -> None:
        """Start another look at what is due."""
        self._news.set()

    def stop(self) -> None:
        """Send what is due without waiting for more, unless the channel is unreachable, and end."""
        self._stopping.set()
        self._news.set()

    def retire(self) -> None:
        """End without another attempt: the channel has another config, or has been removed."""
        self._is_retired = True
        self.stop()

    async def run(self) -> None:
        """Send until `stop` is called; what remains is sent by the next kernel that leads."""
        while True:
            self._news.clear()
            if self._stopping.is_set() and (self._is_retired or self._attempts.problem is not None):
                return
            now, alerts = self._kernel.clock.now(), self._keeper.book.alerts
            forget_what_is_not_news(self.record, self.channel, alerts)
            found = plan(self.channel, self.record, alerts, now, is_closing=self._stopping.is_set())
            if found.due is not None:
                await self._attempt(found.due, now)
            elif self._stopping.is_set():
                return
            else:
                await self._wait(None if found.look_at is None else (found.look_at - now).total_seconds(), self._news)

    async def _attempt(self, due: Due, now: datetime) -> None:
        message = await self._compose(due, now)
        try:
            pause_s = await self._attempts.attempt(self._send, message)
        except DeliveryRefusedError as exc:
            self._refuse(safe_str(exc), now)
        else:
            if pause_s and all(now - _changed_at(one) > self.channel.give_up_after for one in due.notices):
                self._refuse(f"given up after {self.channel.give_up_after}: {self._attempts.problem}", now)
            elif pause_s:
                await self._note_failure(pause_s)
                return
            else:
                self._accept(now)
        self.record.settle(due.group, due.alerts, now, self.channel.interval)
        await self._save()

    def _accept(self, now: datetime) -> None:
        record = self.record
        record.accepted_at, record.refused, record.refusal, record.problem = now, 0, None, None

    def _refuse(self, problem: str, now: datetime) -> None:
        """Note a message that is not sent again; it counts as sent, so that the end of an alert is a message, too."""
        record = self.record
        record.refused, record.refusal = record.refused + 1, Refusal(self._keeper.book.position, now, problem)
        record.problem = None
        self._attempts.note_success()
        log.error("notification refused", channel=self.channel.name, problem=problem)

    async def _note_failure(self, pause_s: float) -> None:
        problem, name = self._attempts.problem, self.channel.name
        log.warning("notification not accepted", channel=name, problem=problem, next_attempt_s=round(pause_s, 1))
        if self.record.problem != problem:
            self.record.problem = problem  # for the other processes on the log
            await self._save()
        await self._wait(pause_s, self._stopping)

    async def _compose(self, due: Due, now: datetime) -> Message:
        where = self._keeper.surroundings()
        errors = await self._errors(due.alerts[:MOST_ERRORS])
        return compose(self.channel.name, due, errors, where, now)

    async def _errors(self, alerts: Sequence[Alert]) -> Mapping[str, str]:
        """Return the first lines of the errors of the last runs, as far as the log has them."""
        errors: dict[str, str] = {}
        for alert in alerts:
            if alert.last_execution is None or alert.resolved_at is not None:
                continue
            try:
                run = await self._kernel.execution(alert.last_execution)
            except GnomonError:
                continue
            if run.error_message or run.error_type:
                first = (run.error_message or "").strip().partition("\n")[0]
                errors[alert.last_execution] = ": ".join(part for part in (run.error_type, first) if part)
        return errors

    async def _save(self) -> None:
        while True:
            try:
                await self._keeper.save()
            except GnomonError as exc:
                log.warning("what was sent cannot be saved yet", channel=self.channel.name, problem=safe_str(exc))
                await self._wait(1.0, self._stopping)
                if self._stopping.is_set():
                    return
            else:
                return

    async def _wait(self, seconds: float | None, event: asyncio.Event) -> None:
        """Wait on the kernel's clock, until an event at the latest."""
        if seconds is None:
            await event.wait()
            return
        await pause(self._kernel, max(seconds, 0.0), event)


def problem_of(name: str, record: ChannelRecord) -> str | None:
    """Return what is wrong with a channel as a sentence, or None."""
    if record.problem is not None:
        return f"channel {name} does not accept notifications: {record.problem}; it is tried again"
    if record.refusal is not None:
        count = "a notification" if record.refused == 1 else f"{record.refused} notifications"
        return (
            f"channel {name} refused {count}: {record.refusal.problem}; correct the channel and try it with "
            f"`gnomon alerts test {name}`"
        )
    return None


def _for_attempts(send: Send) -> Callable[[Message], Awaitable[None] | None]:
    """Return a function without a result, which is `async def` where `send` is: the other is called in a thread."""
    if inspect.iscoroutinefunction(send):

        async def send_here(message: Message) -> None:
            await send(message)

        return send_here

    def send_in_thread(message: Message) -> None:
        send(message)

    return send_in_thread


def _changed_at(notice: Notice) -> datetime:
    return notice.alert.resolved_at or notice.told_at or notice.alert.opened_at
