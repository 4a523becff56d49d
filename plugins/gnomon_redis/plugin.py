"""What the config file enables: the tracker, told of events, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec
import structlog

from gnomon import Event, GnomonError, Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon_redis.book import Book
from gnomon_redis.link import Link, address_of
from gnomon_redis.pasts import Pasts
from gnomon_redis.recall import Recall
from gnomon_redis.record import Names
from gnomon_redis.tracker import Tracker
from gnomon_redis.trial import try_connection

log = structlog.stdlib.get_logger("gnomon.redis")


class RedisPlugin:
    """Keeps the progress of every run in Redis, for other programs; an outage of Redis touches no run."""

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`ttl` counts from the end of a run, `live_ttl` from the last time that its kernel was heard of."""

        url: Secret = Secret("redis://127.0.0.1:6379/0")
        prefix: str = "progress:"
        ttl: Duration = Duration(hours=1)
        live_ttl: Duration = Duration(minutes=1)
        stream_length: int = 100
        timeout: Duration = Duration(seconds=2)

        def __post_init__(self) -> None:
            """Refuse what makes no sense; nothing of the URL is told, it may hold a password."""
            try:
                address_of(self.url.reveal())
            except ValueError as exc:
                raise ValueError(f"url: {exc}") from None
            for name, least in (("ttl", Duration(seconds=1)), ("live_ttl", Duration(seconds=1))):
                if getattr(self, name) < least:
                    raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
            if self.timeout <= Duration(0):
                raise ValueError(f"timeout must be more than 0, got {self.timeout}")
            if self.stream_length < 1:
                raise ValueError(f"stream_length must be 1 or more, got {self.stream_length}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        pasts = Pasts()
        self._pasts = pasts
        self._book = Book(self.config.ttl, self.config.live_ttl, pasts)
        self._tracker: Tracker | None = None
        self._recall: Recall | None = None

    @property
    def problem(self) -> str | None:
        """Why progress is not in Redis; None where it is."""
        return self._tracker.problem if self._tracker is not None else None

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Fold the events; others write, so that this takes microseconds whatever Redis does."""
        self._book.take(events)
        if self._tracker is not None and self._recall is not None:
            self._tracker.wake()
            self._recall.wake()

    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Write in the background; at the end, what is left, for as long as two calls may take."""
        self._book.position = kernel.health().position
        tracker = self._tracker = Tracker(self._book, self._link(), SystemClock(), self.config.live_ttl)
        recall = self._recall = Recall(kernel, self._book, self._pasts, self.config.ttl, tracker.wake)
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(tracker.run()), tasks.create_task(recall.run())]
            try:
                yield
            finally:
                tracker.stop()
                for task in work:
                    task.cancel()
                await asyncio.wait(work)
                limit = self.config.timeout.total_seconds()
                await tracker.finish(within=2 * limit)
                await _keep(recall, limit)

    @hookimpl
    async def try_connection(self) -> str:
        """Reach the server as a start would."""
        config = self.config
        return await try_connection(config.url.reveal(), Names(config.prefix), config.timeout.total_seconds())

    def _link(self) -> Link:
        config = self.config
        return Link(
            config.url.reveal(),
            Names(config.prefix),
            stream_length=config.stream_length,
            ttl=config.ttl.total_seconds(),
            live_ttl=config.live_ttl.total_seconds(),
            timeout=config.timeout.total_seconds(),
        )


async def _keep(recall: Recall, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await recall.keep()
    except (GnomonError, TimeoutError) as exc:
        log.debug("how far progress was written is not kept", problem=str(exc))
