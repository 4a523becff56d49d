"""The deliveries to all channels in the process that leads: they fold the log and save what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Protocol

import msgspec

from gnomon import AlertEvent, AlertOpened, Checkpoint, Event, GnomonError, KernelApi
from gnomon.logs import get_logger
from gnomon.outbox.destination import Refusal
from gnomon.safe_text import safe_str
from gnomon.ticks import next_tick, seconds_to_tick
from gnomon_alerts.delivery.channel import ChannelDelivery, problem_of
from gnomon_alerts.delivery.config import Channel, Heartbeat, Route
from gnomon_alerts.delivery.heartbeat import Pings
from gnomon_alerts.delivery.ledger import CHECKPOINT, ChannelRecord, Ledger, from_checkpoint, to_checkpoint
from gnomon_alerts.delivery.message import Surroundings

log = get_logger("gnomon.alerts")

PAGE = 1_000
SAVE_EVERY = 1_000
"""Events without alerts after which the position is saved anyway."""
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


class Checkpoints(Protocol):
    """What has checkpoints: a kernel, or a store that is open for reading."""

    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return a checkpoint."""


class Deliveries:
    """Sends notifications while this process leads. Its methods are called on the loop of the plugin."""

    def __init__(self, channels: Sequence[Channel], routes: Sequence[Route], heartbeat: Heartbeat | None) -> None:
        self._channels, self._routes, self._heartbeat = list(channels), list(routes), heartbeat
        self._pings: Pings | None = None
        self._ledger: Ledger | None = None
        self._deliveries: list[ChannelDelivery] = []
        self._saved = self._entered_at = 0
        self._is_idle = False
        self._saving = asyncio.Lock()
        self._news = asyncio.Event()
        self._needs_tags = any(route.tags for route in routes)
        self._tags: dict[str, list[str]] = {}
        self._kernel: KernelApi

    @property
    def problem(self) -> str | None:
        """What is wrong with the channels, for the plugin's attribute `problem`."""
        found = [problem_of(one.channel.name, one.record) for one in self._deliveries]
        found.append(self._pings.problem if self._pings is not None else None)
        return "; ".join(text for text in found if text) or None

    @property
    def position(self) -> int:
        """The position up to which the log is folded."""
        return self._ledger.position if self._ledger is not None else 0

    def note(self, events: Sequence[Event]) -> None:
        """Note new events: those about alerts are read from the log, others only move the position."""
        ledger = self._ledger
        if ledger is None:
            return
        follows_on = self._is_idle and events[0].position <= ledger.position + 1
        if follows_on and not any(isinstance(event, AlertEvent) for event in events):
            ledger.position = max(ledger.position, events[-1].position)
            if ledger.position - self._saved < SAVE_EVERY:
                return
        self._news.set()

    async def health(self, kernel: KernelApi) -> list[ChannelHealth]:
        """Return how the channels are doing, also in a process that follows; may be called on any loop."""
        return await health_of(self._channels, kernel)

    def enter(self, kernel: KernelApi) -> None:
        """Note where the log ends when the plugin starts: a new channel begins there."""
        self._kernel, self._entered_at = kernel, kernel.health().position
        self._saving, self._news = asyncio.Lock(), asyncio.Event()
        self._ledger, self._deliveries, self._pings = None, [], None

    async def run(self) -> None:
        """Deliver whenever this process leads, until the task is cancelled."""
        while self._channels or self._heartbeat is not None:
            try:
                if self._leads:
                    await self._lead()
            except GnomonError as exc:
                log.warning("notifications wait for the log", problem=safe_str(exc))
            await next_tick(LOOK_S)

    @property
    def _leads(self) -> bool:
        return self._kernel.health().role == "leader"

    async def _lead(self) -> None:
        """Deliver until this process leads no longer."""
        ledger = await self._load()
        self._deliveries = [
            ChannelDelivery(one, ledger.channels[one.name], self._kernel, self) for one in self._channels
        ]
        async with self._working(ledger):
            while self._leads:
                self._news.clear()
                await self._read_on(ledger)
                self._is_idle = True
                await self._until_news()
                self._is_idle = False

    async def _until_news(self) -> None:
        """Wait for events about alerts, or until this process leads no longer."""
        while self._leads:
            try:
                async with asyncio.timeout(seconds_to_tick(LOOK_S)):
                    await self._news.wait()
                return
            except TimeoutError:
                continue

    @asynccontextmanager
    async def _working(self, ledger: Ledger) -> AsyncIterator[None]:
        """Run the channels and the heartbeat; at the end they send what is due, unless another process leads."""
        self._pings = Pings(self._heartbeat, self._kernel) if self._heartbeat is not None else None
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run()) for one in self._deliveries]
            pings = group.create_task(self._pings.run()) if self._pings is not None else None
            try:
                yield
            finally:
                if pings is not None:
                    pings.cancel()
                await self._close(ledger, tasks)

    async def _close(self, ledger: Ledger, tasks: Sequence[asyncio.Task[None]]) -> None:
        if self._leads:
            with suppress(GnomonError):
                await self._read_on(ledger)
            for delivery in self._deliveries:
                delivery.stop()
            if tasks:
                await asyncio.wait(tasks, timeout=STOP_GRACE_S)
        for task in tasks:
            task.cancel()
        with suppress(GnomonError):
            await self.save()

    async def _read_on(self, ledger: Ledger) -> None:
        """Fold what the log has."""
        has_news = False
        while events := await self._kernel.events(ledger.position, PAGE):
            await self._look_tags_up(events)
            for event in events:
                has_news |= ledger.fold(event, self._route)
        if has_news:
            for delivery in self._deliveries:
                delivery.wake()
        if ledger.position - self._saved >= SAVE_EVERY:
            await self.save()

    def _route(self, event: AlertOpened) -> list[str]:
        names = [channel.name for channel in self._channels]
        tags = self._tags.get(event.job_id, [])
        fitting = [route for route in self._routes if route.fits(event.rule, event.severity, event.job_id, tags)]
        if fitting:
            named = {name for route in fitting for name in route.channels}
            names = [name for name in names if name in named]
        wanted = {channel.name for channel in self._channels if channel.wants(event.severity)}
        return [name for name in names if name in wanted]

    async def _look_tags_up(self, events: Sequence[Event]) -> None:
        """Note the tags of the jobs that alerts are about, where a route asks for them."""
        if not self._needs_tags:
            return
        for event in events:
            if isinstance(event, AlertOpened) and event.job_id:
                try:
                    self._tags[event.job_id] = sorted((await self._kernel.job(event.job_id)).job.tags)
                except GnomonError:  # the job was removed
                    self._tags.setdefault(event.job_id, [])

    async def save(self) -> None:
        """Save what was sent; return when it is durable."""
        async with self._saving:
            if self._ledger is not None and self._leads:
                checkpoint = to_checkpoint(self._ledger)
                await self._kernel.save_checkpoint(CHECKPOINT, checkpoint)
                self._saved = checkpoint.position

    async def surroundings(self) -> Surroundings:
        """Return where messages are from."""
        return Surroundings(self._kernel.node, self._kernel.log_id, public_url(self._kernel))

    async def _load(self) -> Ledger:
        ledger = Ledger(self._entered_at)
        if (checkpoint := await self._kernel.checkpoint(CHECKPOINT)) is not None:
            try:
                ledger = from_checkpoint(checkpoint)
            except ValueError as exc:
                log.error("what was sent to channels cannot be read: alerts from now on are sent", problem=str(exc))
        ledger.position = min(ledger.position, self._kernel.health().position)
        ledger.channels = {one.name: ledger.channels.get(one.name, ChannelRecord()) for one in self._channels}
        self._ledger, self._saved = ledger, ledger.position
        await self.save()
        return ledger


def public_url(kernel: KernelApi) -> str | None:
    """Return the address of the dashboard, as the plugin `web` has it, or None."""
    for plugin in kernel.plugins:
        config = getattr(plugin, "config", None)
        if plugin.name == "web" and (url := getattr(config, "public_url", None)):
            base: str = getattr(config, "base_path", "")
            return str(url).rstrip("/").removesuffix(base) + base
    return None


async def health_of(channels: Sequence[Channel], log: Checkpoints) -> list[ChannelHealth]:
    """Return how channels are doing, as the log's store has it: what the process that leads has saved."""
    checkpoint = await log.checkpoint(CHECKPOINT)
    kept: dict[str, ChannelRecord] = {}
    if checkpoint is not None:
        with suppress(ValueError):
            kept = from_checkpoint(checkpoint).channels
    return [_health(channel, kept.get(channel.name, ChannelRecord())) for channel in channels]


def _health(channel: Channel, record: ChannelRecord) -> ChannelHealth:
    waiting = sum(one.told_at is None or one.resolved_at is not None for one in record.notices.values())
    return ChannelHealth(
        name=channel.name,
        kind=channel.kind,
        waiting=waiting,
        accepted_at=record.accepted_at,
        refused=record.refused,
        refusal=record.refusal,
        problem=problem_of(channel.name, record),
    )
