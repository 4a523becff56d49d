"""The outbox of a plugin: it delivers events of the log to destinations, each at least once, none held back by another.

    class Plugin:
        def __init__(self, config):
            pager = Destination(name="pager", wants=lambda event: isinstance(event, Failed), send=self.send)
            self.outbox = Outbox("pager", [pager])

        @hookimpl
        def lifespan(self, kernel):
            return self.outbox.run(kernel)

        @hookimpl
        def on_events(self, events):
            self.outbox.note(events)

        @property
        def problem(self):
            return self.outbox.problem

The log is the queue: each destination has a position in it, up to which everything it wants was accepted or refused.
The positions are a checkpoint in the log's store, saved after each message. So a kernel that is killed between the
receiver's answer and the next commit sends one message again, and the kernel that leads next continues there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from gnomon.api import KernelApi
from gnomon.domain.events import Event
from gnomon.domain.records import Checkpoint
from gnomon.errors import GnomonError
from gnomon.logs import get_logger
from gnomon.outbox.delivery import Delivery
from gnomon.outbox.destination import DeliveryRecord, Destination, DestinationHealth

log = get_logger("gnomon.outbox")

STOP_GRACE_S = 5.0
"""Time at a stop for messages that are being sent and those that the log still has; a lifespan has ten seconds."""


class Outbox:
    """Delivers events to destinations while a plugin runs; `name` is that of its checkpoint, such as the plugin's.

    A destination that is new begins at the end of the log. One that has been removed is forgotten. The plugin has the
    default role `leader`, so that one process delivers.
    """

    def __init__(self, name: str, destinations: Iterable[Destination]) -> None:
        self.name = name
        self._destinations = list(destinations)
        names = [one.name for one in self._destinations]
        if wrong := sorted({one for one in names if names.count(one) > 1 or not one}):
            raise ValueError(f"outbox {name!r}: each destination has its own name, got {', '.join(map(repr, wrong))}")
        self._deliveries: list[Delivery] = []
        self._saving = asyncio.Lock()

    @property
    def problem(self) -> str | None:
        """What is wrong with the destinations, for the plugin's attribute `problem`; None where all is well."""
        return "; ".join(one.problem for one in self.health() if one.problem) or None

    def health(self) -> list[DestinationHealth]:
        """Return how each destination is doing; may be called from any thread."""
        return [delivery.health() for delivery in self._deliveries]

    def note(self, events: Sequence[Event]) -> None:
        """Note new events: call it in the hook `on_events`."""
        for delivery in self._deliveries:
            delivery.note(events)

    @asynccontextmanager
    async def run(self, kernel: KernelApi) -> AsyncIterator[None]:
        """Deliver from here on: return this as the plugin's lifespan, or enter it there."""
        if kernel.health().role == "follower":
            raise GnomonError(
                f"the outbox {self.name!r} runs in a process that follows: another one would send the same messages; "
                'give its plugin role = "leader"'
            )
        self._saving = asyncio.Lock()
        records = await self._load(kernel)

        async def save() -> None:
            async with self._saving:
                position = min((one.position for one in records.values()), default=0)
                await kernel.save_checkpoint(self.name, Checkpoint(position, msgspec.json.encode(records)))

        self._deliveries = [Delivery(one, records[one.name], kernel, save) for one in self._destinations]
        await save()  # where the log ends now, for destinations that are new
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(delivery.run()) for delivery in self._deliveries]
            yield
            for delivery in self._deliveries:
                delivery.stop()
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
                for task in late:
                    task.cancel()
        with suppress(GnomonError):  # events without messages are read again
            await save()

    async def _load(self, kernel: KernelApi) -> dict[str, DeliveryRecord]:
        head = kernel.health().position
        checkpoint = await kernel.checkpoint(self.name)
        kept: dict[str, DeliveryRecord] = {}
        if checkpoint is not None and checkpoint.view is None:  # a position alone, as plugins without an outbox save it
            kept = {one.name: DeliveryRecord(checkpoint.position) for one in self._destinations}
        elif checkpoint is not None:
            try:
                kept = msgspec.json.decode(checkpoint.view or b"", type=dict[str, DeliveryRecord])
            except msgspec.DecodeError as exc:
                lost = f"messages about events up to {head} that were not sent"
                log.error("the positions of an outbox cannot be read", outbox=self.name, problem=str(exc), lost=lost)
        records = {one.name: kept.get(one.name) or DeliveryRecord(head) for one in self._destinations}
        for record in records.values():
            record.position = min(record.position, head)
        return records
