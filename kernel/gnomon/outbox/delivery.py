"""The delivery to one destination: a position in the log, which moves when an event has been sent or is not wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gnomon.api import KernelApi
from gnomon.domain.events import Event
from gnomon.errors import DeposedError, GnomonError
from gnomon.logs import get_logger
from gnomon.outbox.attempts import Attempts
from gnomon.outbox.delivery_errors import DeliveryRefusedError
from gnomon.outbox.destination import DeliveryRecord, Destination, DestinationHealth, Refusal
from gnomon.outbox.pauses import pause
from gnomon.safe_text import safe_str

log = get_logger("gnomon.outbox")

PAGE = 500
"""Events read at once: all that a destination holds in memory, however far it is behind."""
SAVE_EVERY = 1_000
"""Events without a message after which the position is saved anyway, so that a restart need not read them again."""
STORE_RETRY_S = 1.0


class Delivery:
    """Sends the events that one destination wants, in log order, each until it is accepted or refused.

    Nothing is queued in memory: the log is the queue. All calls are made on the loop of the plugin.
    """

    def __init__(
        self, destination: Destination, record: DeliveryRecord, kernel: KernelApi, save: Callable[[], Awaitable[None]]
    ) -> None:
        self.destination = destination
        self.record = record
        self._kernel = kernel
        self._save = save
        self._saved = record.position
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_idle = False
        self._store_problem: str | None = None
        self._attempts = Attempts(
            destination.name,
            timeout_s=destination.timeout.total_seconds(),
            longest_pause_s=destination.longest_pause.total_seconds(),
        )

    def note(self, events: Sequence[Event]) -> None:
        """Move on past new events that the destination does not want; wake it up for others."""
        position = self.record.position
        follows_on = self._is_idle and events[0].position <= position + 1
        if follows_on and not self._wants_any([event for event in events if event.position > position]):
            self.record.position = max(position, events[-1].position)
            if self.record.position - self._saved < SAVE_EVERY:
                return
        self._news.set()

    def stop(self) -> None:
        """Send what the log has, unless the destination is unreachable, and end."""
        self._stopping.set()
        self._news.set()

    def health(self) -> DestinationHealth:
        """Return how the destination is doing."""
        record, attempts = self.record, self._attempts
        return DestinationHealth(
            self.destination.name, record.position, self._problem(), attempts.failures, record.refused, record.refusal
        )

    def _problem(self) -> str | None:
        name, record = self.destination.name, self.record
        if self._attempts.problem is not None:
            return f"{name} does not accept messages: {self._attempts.problem}; it is tried again"
        if record.refusal is not None:
            count = "a message" if record.refused == 1 else f"{record.refused} messages"
            return f"{name} refused {count}, which are not sent again; the last answer: {record.refusal.problem}"
        return self._store_problem and f"{name} waits for the log: {self._store_problem}"

    async def run(self) -> None:
        """Send until `stop` is called; what remains is sent by the next call."""
        try:
            while True:
                may_have_more = await self._read_on()
                if self.record.position - self._saved >= SAVE_EVERY:
                    await self._save_position()
                if may_have_more:
                    continue
                if self._stopping.is_set():
                    return
                self._is_idle = True
                await self._news.wait()
                self._is_idle = False
        except (_StoppedError, DeposedError):
            return

    async def _read_on(self) -> bool:
        """Send what the log has after the position; return whether there may be more."""
        self._news.clear()
        try:
            events = await self._kernel.events(self.record.position, PAGE)
        except DeposedError:
            raise
        except GnomonError as exc:
            self._store_problem = safe_str(exc)
            await self._pause(STORE_RETRY_S)
            return True
        self._store_problem = None
        for event in events:
            if await self._is_wanted(event):
                await self._deliver(event)
            self.record.position = max(self.record.position, event.position)
        return bool(events)

    def _wants_any(self, events: Sequence[Event]) -> bool:
        try:
            return any(self.destination.wants(event) for event in events)
        except Exception:  # noqa: BLE001 - it is called again where the problem can be shown
            return True

    async def _is_wanted(self, event: Event) -> bool:
        has_failed = False
        while True:
            try:
                wanted = bool(self.destination.wants(event))
            except Exception as exc:  # noqa: BLE001 - code of a plugin, which must hold back its own destination only
                has_failed = True
                await self._pause(self._note_failure(event, self._attempts.note_failure(exc)))
            else:
                if has_failed:
                    self._attempts.note_success()
                return wanted

    async def _deliver(self, event: Event) -> None:
        while True:
            try:
                pause_s = await self._attempts.attempt(self.destination.send, event)
            except DeliveryRefusedError as exc:
                self._refuse(event, safe_str(exc))
                break
            if not pause_s:
                self.record.refused, self.record.refusal = 0, None
                break
            if self._is_too_old(event):
                self._refuse(event, f"given up after {self.destination.give_up_after}: {self._attempts.problem}")
                self._attempts.note_success()
                break
            await self._pause(self._note_failure(event, pause_s))
        self.record.position = event.position
        await self._save_position()

    def _note_failure(self, event: Event, pause_s: float) -> float:
        name, problem = self.destination.name, self._attempts.problem
        next_s = round(pause_s, 1)
        log.warning(
            "message not accepted", destination=name, position=event.position, problem=problem, next_attempt_s=next_s
        )
        return pause_s

    def _is_too_old(self, event: Event) -> bool:
        limit = self.destination.give_up_after
        return limit is not None and self._kernel.clock.now() - event.at > limit

    def _refuse(self, event: Event, problem: str) -> None:
        self.record.refused += 1
        self.record.refusal = Refusal(event.position, self._kernel.clock.now(), problem)
        log.error("message refused", destination=self.destination.name, position=event.position, problem=problem)

    async def _save_position(self) -> None:
        """Save the position before the next event is sent, so that a kill repeats one message and no more."""
        while True:
            position = self.record.position
            try:
                await self._save()
            except DeposedError:
                raise
            except GnomonError as exc:
                self._store_problem = safe_str(exc)
                await self._pause(STORE_RETRY_S)
            else:
                self._saved, self._store_problem = position, None
                return

    async def _pause(self, seconds: float) -> None:
        """Wait on the kernel's clock; a stop ends the wait and the delivery."""
        await pause(self._kernel, seconds, self._stopping)
        if self._stopping.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """The delivery ends while a message waits for its next attempt."""
