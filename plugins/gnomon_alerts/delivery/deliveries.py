"""The deliveries to all channels in the process that leads: they read the book of alerts and save what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from gnomon import Checkpoint, GnomonError, KernelApi
from gnomon.logs import get_logger
from gnomon.outbox.destination import Refusal
from gnomon.safe_text import safe_str
from gnomon.ticks import seconds_to_tick
from gnomon.wire.alerts import Alert
from gnomon_alerts.book import Book
from gnomon_alerts.delivery.channel import ChannelDelivery, problem_of
from gnomon_alerts.delivery.config import Channel, Heartbeat, Route
from gnomon_alerts.delivery.heartbeat import Pings
from gnomon_alerts.delivery.ledger import CHECKPOINT, ChannelRecord, Ledger, from_checkpoint, to_checkpoint
from gnomon_alerts.delivery.message import Surroundings

log = get_logger("gnomon.alerts")

STOP_GRACE_S = 5.0
"""Time at a stop for what is being sent and what is due; a lifespan has ten seconds."""
LOOK_S = 1.0
"""How often a process looks whether it has begun, or ceased, to lead."""


class ChannelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel is doing: `waiting` counts the alerts that it has to tell of, `problem` is a sentence or None."""

    name: str
    kind: str
    waiting: int = 0
    accepted_at: datetime | None = None
    refused: int = 0
    refusal: Refusal | None = None
    problem: str | None = None


class Source(Protocol):
    """What is known from the log. It changes on the loop of the plugin alone."""

    @property
    def book(self) -> Book:
        """The alerts, up to a position of the log."""

    def tags(self, job_id: str) -> list[str]:
        """Return the tags of a job."""


class Deliveries:
    """Sends notifications while this process leads. Its methods are called on the loop of the plugin."""

    def __init__(
        self, channels: Sequence[Channel], routes: Sequence[Route], heartbeat: Heartbeat | None, source: Source
    ) -> None:
        self._channels, self._routes, self._heartbeat = list(channels), list(routes), heartbeat
        self._source = source
        self._pings: Pings | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._ledger: Ledger | None = None
        self._deliveries: dict[str, ChannelDelivery] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._saving = asyncio.Lock()
        self._news = asyncio.Event()
        self._begin = 0
        """Where the log ended before this process led: a channel that is new begins there."""
        self._has_changes = False
        self._kernel: KernelApi

    @property
    def problem(self) -> str | None:
        """What is wrong with the channels, for the plugin's attribute `problem`."""
        found = [problem_of(name, one.record) for name, one in list(self._deliveries.items())]
        found.append(self._pings.problem if self._pings is not None else None)
        return "; ".join(text for text in found if text) or None

    @property
    def book(self) -> Book:
        """The alerts, up to a position of the log."""
        return self._source.book

    @property
    def channels(self) -> list[Channel]:
        """The channels of the config."""
        return list(self._channels)

    @property
    def wanted(self) -> set[str]:
        """The ids of the alerts that channels have yet to tell of, as far as this process leads."""
        records = self._ledger.channels.values() if self._ledger is not None else ()
        return {alert_id for record in records for alert_id in record.told}

    def note(self) -> None:
        """Note that the book has changed."""
        self._news.set()

    def reload(self, channels: Sequence[Channel], routes: Sequence[Route], heartbeat: Heartbeat | None) -> None:
        """Deliver by another config from now on. A channel is known by its name; one that is new begins now."""
        self._channels, self._routes, self._heartbeat = list(channels), list(routes), heartbeat
        self._news.set()

    def enter(self, kernel: KernelApi) -> None:
        """Begin with a kernel, when the plugin starts."""
        self._kernel = kernel
        self._saving, self._news = asyncio.Lock(), asyncio.Event()
        self._begin, self._has_changes = kernel.health().position, False
        self._ledger = self._pings = self._pinging = None
        self._deliveries, self._tasks = {}, {}

    async def run(self) -> None:
        """Deliver whenever this process leads, until the task is cancelled."""
        while True:
            try:
                if not self._leads:
                    self._begin = self._kernel.health().position
                elif self._channels or self._heartbeat is not None:
                    await self._lead()
            except GnomonError as exc:
                log.warning("notifications wait for the log", problem=safe_str(exc))
            await self._look_again()

    @property
    def _leads(self) -> bool:
        return self._kernel.health().role == "leader"

    async def _look_again(self) -> bool:
        """Wait for news, or for the next look at who leads; return whether there is news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_to_tick(LOOK_S)):
                await self._news.wait()
        has_news = self._news.is_set()
        self._news.clear()
        return has_news

    async def _lead(self) -> None:
        """Deliver until this process leads no longer."""
        head = self._kernel.health().position
        while self._leads and self.book.position < head:  # what has ended or is acknowledged needs no message
            await self._look_again()
        self._ledger = ledger = await self._load()
        has_news = True
        async with asyncio.TaskGroup() as group:
            try:
                while self._leads:
                    if has_news:
                        self._apply_config(group, ledger)
                        self._spread(ledger)
                    if self._has_changes:
                        with suppress(GnomonError):  # the store is away: later
                            await self.save()
                    has_news = await self._look_again()
                    self._begin = self.book.position
            finally:
                await self._close(ledger)

    def _apply_config(self, group: asyncio.TaskGroup, ledger: Ledger) -> None:
        """Start and end deliveries, so that they are those of the config; the others are not disturbed."""
        wanted = {channel.name: channel for channel in self._channels}
        for name in [one for one in ledger.channels if one not in wanted]:
            waiting = ledger.channels.pop(name).waiting(self.book.alerts)
            self._has_changes = True
            log.warning("a channel was removed", channel=name, alerts_not_sent=waiting)
        for name, delivery in list(self._deliveries.items()):
            if wanted.get(name) != delivery.channel:
                delivery.retire()
                del self._deliveries[name]
        for channel in [one for name, one in wanted.items() if name not in self._deliveries]:
            self._has_changes = True
            record = ledger.channels.setdefault(channel.name, ChannelRecord(self._begin))
            self._deliveries[channel.name] = delivery = ChannelDelivery(channel, record, self._kernel, self)
            before = self._tasks.get(channel.name)
            self._tasks[channel.name] = group.create_task(_run_after(before, delivery))
        if self._pings is None or self._pings.heartbeat != self._heartbeat:
            self._start_pings(group)

    def _start_pings(self, group: asyncio.TaskGroup) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
        self._pings = self._pinging = None
        if self._heartbeat is not None:
            self._pings = Pings(self._heartbeat, self._kernel)
            self._pinging = group.create_task(self._pings.run())

    def _spread(self, ledger: Ledger) -> None:
        """Pass the alerts that have opened to each channel, and wake all channels up."""
        for name, record in ledger.channels.items():
            self._has_changes |= record.note(self.book, partial(self._goes_to, name))
        for delivery in self._deliveries.values():
            delivery.wake()

    def _goes_to(self, name: str, alert: Alert) -> bool:
        return name in self._route(alert)

    def _route(self, alert: Alert) -> set[str]:
        """Return the names of the channels that an alert goes to."""
        tags = self._source.tags(alert.job_id)
        fitting = [route for route in self._routes if route.fits(alert.rule, alert.severity, alert.job_id, tags)]
        wanted = {channel.name for channel in self._channels if channel.wants(alert.severity)}
        return wanted & {name for route in fitting for name in route.channels} if fitting else wanted

    async def _close(self, ledger: Ledger) -> None:
        """End: channels send what is due, unless another process leads."""
        if self._pinging is not None:
            self._pinging.cancel()
        if self._leads:
            self._spread(ledger)
            for delivery in self._deliveries.values():
                delivery.stop()
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=STOP_GRACE_S)
        for task in self._tasks.values():
            task.cancel()
        with suppress(GnomonError):
            await self.save()
        self._deliveries, self._tasks, self._pings, self._pinging = {}, {}, None, None

    async def save(self) -> None:
        """Save what was sent; return when it is durable."""
        async with self._saving:
            if self._ledger is not None and self._leads:
                self._has_changes, checkpoint = False, to_checkpoint(self._ledger)
                try:
                    await self._kernel.save_checkpoint(CHECKPOINT, checkpoint)
                except BaseException:
                    self._has_changes = True
                    raise

    def surroundings(self) -> Surroundings:
        """Return where messages are from."""
        return Surroundings(self._kernel.node, self._kernel.log_id, public_url(self._kernel))

    async def _load(self) -> Ledger:
        checkpoint = await self._kernel.checkpoint(CHECKPOINT)
        if checkpoint is not None:
            try:
                return from_checkpoint(checkpoint)
            except ValueError as exc:
                log.error("what was sent to channels cannot be read: alerts from now on are sent", problem=str(exc))
        return Ledger()


async def _run_after(before: asyncio.Task[None] | None, delivery: ChannelDelivery) -> None:
    """Run a delivery once the one before it for the same channel has ended: a message of it may be on its way."""
    if before is not None:
        await asyncio.wait({before})
    await delivery.run()


def public_url(kernel: KernelApi) -> str | None:
    """Return the address of the dashboard, as the plugin `web` has it, or None."""
    for plugin in kernel.plugins:
        config = getattr(plugin, "config", None)
        if plugin.name == "web" and (url := getattr(config, "public_url", None)):
            base: str = getattr(config, "base_path", "")
            return str(url).rstrip("/").removesuffix(base) + base
    return None


def health_of(channels: Sequence[Channel], kept: Checkpoint | None, book: Book) -> list[ChannelHealth]:
    """Return how channels are doing, by the checkpoint that the process that leads has saved."""
    records: dict[str, ChannelRecord] = {}
    if kept is not None:
        with suppress(ValueError):
            records = from_checkpoint(kept).channels
    return [_health(channel, records.get(channel.name, ChannelRecord(0)), book.alerts) for channel in channels]


def _health(channel: Channel, record: ChannelRecord, alerts: Mapping[str, Alert]) -> ChannelHealth:
    return ChannelHealth(
        name=channel.name,
        kind=channel.kind,
        waiting=record.waiting(alerts),
        accepted_at=record.accepted_at,
        refused=record.refused,
        refusal=record.refusal,
        problem=problem_of(channel.name, record),
    )
