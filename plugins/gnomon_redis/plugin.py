"""The plugin: its configuration, the delivery of events, and the tracker's lifetime."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from gnomon import Event, GnomonError, KernelApi
from gnomon.clock import SystemClock
from gnomon.config_table import ConfigTable
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon.logs import get_logger
from gnomon_redis.backfill import Backfill
from gnomon_redis.connection import Connection, address_of
from gnomon_redis.connection_check import check_connection
from gnomon_redis.past_durations import PastDurations
from gnomon_redis.progress_record import Names
from gnomon_redis.progress_state import ProgressState
from gnomon_redis.tracker import Tracker
from gnomon_redis.tradingagents import encode_for_tradingagents

log = get_logger("gnomon.redis")


class RedisPlugin:
    """Publishes the progress of every run in Redis, for other programs. An outage of Redis affects no run.

    It runs with the kernel that leads: each record has one writer.
    """

    role = "leader"

    class Config(ConfigTable, forbid_unknown_fields=True):
        """`ttl` counts from the end of a run, `live_ttl` from the last write of its kernel.

        `dialect` adds the fields of another tracker; by default it is that of the plugin `web`.
        """

        url: Secret = Secret("redis://127.0.0.1:6379/0")
        prefix: str = "progress:"
        ttl: Duration = Duration(hours=1)
        live_ttl: Duration = Duration(minutes=1)
        stream_length: int = 100
        timeout: Duration = Duration(seconds=2)
        dialect: Literal["tradingagents"] | None = None

        def __post_init__(self) -> None:
            """Raise ValueError for an invalid value; the URL is not quoted, it may contain a password."""
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
        self._forget()
        self._tracker: Tracker | None = None
        self._backfill: Backfill | None = None

    @property
    def problem(self) -> str | None:
        """Why progress is not written to Redis now, or None."""
        return self._tracker.problem if self._tracker is not None else None

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Fold the events. The tracker writes in the background, so this takes microseconds whatever Redis does."""
        self._progress.apply(events)
        if self._tracker is not None and self._backfill is not None:
            self._tracker.wake()
            self._backfill.wake()

    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self, kernel: KernelApi) -> AsyncIterator[None]:
        """Run the tracker and the backfill; on exit write what is left, for as long as two commands may take."""
        self._forget()  # what it knew in an earlier term: another kernel has led since
        self._progress.position = kernel.health().position
        if "tradingagents" in {self.config.dialect, *_dialects(kernel)}:
            self._progress.encode = encode_for_tradingagents
        tracker = self._tracker = Tracker(
            self._progress, self._connect(), SystemClock(), self.config.live_ttl, kernel.log_id, self._refill
        )
        backfill = Backfill(kernel, self._progress, self._past_durations, self.config.ttl, tracker)
        self._backfill = backfill
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(tracker.run()), tasks.create_task(backfill.run())]
            try:
                yield
            finally:
                tracker.stop()
                for task in work:
                    task.cancel()
                await asyncio.wait(work)
                limit = self.config.timeout.total_seconds()
                await tracker.finish(within=2 * limit)
                await _save_checkpoint(backfill, limit)

    @hookimpl
    async def try_connection(self) -> str:
        """Connect to the server as a start would."""
        config = self.config
        return await check_connection(config.url.reveal(), Names(config.prefix), config.timeout.total_seconds())

    def _forget(self) -> None:
        self._past_durations = PastDurations()
        self._progress = ProgressState(self.config.ttl, self.config.live_ttl, self._past_durations)

    def _refill(self) -> None:
        if self._backfill is not None:
            self._backfill.refill()

    def _connect(self) -> Connection:
        config = self.config
        return Connection(
            config.url.reveal(),
            Names(config.prefix),
            stream_length=config.stream_length,
            ttl=config.ttl.total_seconds(),
            live_ttl=config.live_ttl.total_seconds(),
            timeout=config.timeout.total_seconds(),
        )


def _dialects(kernel: KernelApi) -> list[str]:
    """Return the dialects that other plugins speak, by their hook `register_dialect`."""
    found: list[str] = []
    for plugin in kernel.plugins:
        plugin.contribute("register_dialect", found.append)
    return found


async def _save_checkpoint(backfill: Backfill, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await backfill.save_checkpoint()
    except (GnomonError, TimeoutError) as exc:
        log.debug("the checkpoint of written progress could not be saved", problem=str(exc))
