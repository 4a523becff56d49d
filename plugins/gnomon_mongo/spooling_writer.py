"""Writes to the server, or to the spool while the server is away; drains the spool when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import structlog

from gnomon.backoff import Backoff
from gnomon.domain.records import StoreHealth
from gnomon.errors import ConflictError, DeposedError, StoreError, StoreUnavailableError
from gnomon_mongo import operations
from gnomon_mongo.errors import Refusal
from gnomon_mongo.lease import Lease
from gnomon_mongo.server import Server
from gnomon_mongo.spool import Spool
from gnomon_mongo.write_batch import WriteBatch

log = structlog.stdlib.get_logger("gnomon.mongo")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries to drain: doubled from the first to the longest, and spread."""
RESERVE = 1.25
"""How far beyond its limit the spool grows for the ends of runs that are going, when no new ones are started."""
ALARM = 0.8
"""Share of the limit from which on the log warns."""


KEEPERS = 2
"""Checkpoints and log lines that are written at once: motor has few threads, and events must not wait for lines."""


class SpoolLimits(msgspec.Struct, frozen=True):
    """How many bytes may wait in the spool, and how long the first of them, before no new runs are started."""

    size: int = 256 * 1024 * 1024
    age: timedelta = timedelta(days=1)


class SpoolingWriter:
    """Owns the order of the log: `head`, and who writes.

    While the spool is empty, whoever holds the turn writes to the server. From the moment something is in it,
    everything goes there, and only `drain` writes to the server. Whether it is empty is decided by whoever holds the
    turn; so no event can overtake another one on its way.
    """

    def __init__(self, server: Server, lease: Lease, spool: Spool, limits: SpoolLimits) -> None:
        self.head = 0
        self._server = server
        self._lease = lease
        self._spool = spool
        self._limits = limits
        self._turn = asyncio.Lock()
        self._keepers = asyncio.Semaphore(KEEPERS)
        self._away = asyncio.Event()
        self._since: float | None = None
        self._problem: str | None = None
        self._deposed: StoreError | None = None
        self._has_warned = False

    def health(self) -> StoreHealth:
        """Tell how writing goes: degraded while anything waits in the spool."""
        if self._deposed is not None:
            return StoreHealth("degraded", str(self._deposed), self._spool.events, accepts_runs=False)
        if self._spool.is_empty:
            return StoreHealth()
        full = self._is_full()
        problem = f"{self._problem or 'the spool is being drained'}; {self.waiting}{f'; {full}' if full else ''}"
        return StoreHealth("degraded", problem, self._spool.events, accepts_runs=full is None)

    @property
    def waiting(self) -> str:
        """Say what waits, for messages."""
        return f"{self._spool.events} events wait in the spool {self._spool.path}"

    @property
    def is_healthy(self) -> bool:
        """Whether the server has everything."""
        return self._spool.is_empty

    def depose(self, exc: StoreError) -> None:
        """Write nothing more: the log is somebody else's."""
        self._deposed = exc
        log.critical("the log is another kernel's now", problem=str(exc))

    async def append(self, batch: WriteBatch) -> None:
        """Write events whose positions follow the head; durable, here or there, when it returns."""
        async with self._turn:
            if self._deposed is not None:
                raise self._deposed
            _check_places(batch.events, self.head)
            await self._write_or_spool(batch)
            self.head = max(self.head, batch.last)

    async def keep(self, batch: WriteBatch) -> None:
        """Write what has no place in the order of the log: a checkpoint, log lines."""
        async with self._keepers:
            if self._deposed is not None:
                raise self._deposed
            await self._write_or_spool(batch)

    async def drain_all(self) -> int:
        """Write what an earlier kernel left in the spool, before anything else; returns how many events."""
        drained = 0
        while (some := await self._spool.first()) is not None:
            batch, number = some
            try:
                await operations.write(self._server, batch)
            except ConflictError as exc:
                await self._set_aside(exc)
                break
            await self._spool.drop(number)
            drained += len(batch.events)
        return drained

    async def drain(self) -> None:
        """Drain the spool whenever there is something in it, until cancelled. A task of the store."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, jitter=0.5)
        while self._deposed is None:
            await self._away.wait()
            try:
                await self._drain_some()
            except (ConflictError, DeposedError) as exc:
                self.depose(exc)
            except StoreError as exc:
                self._problem = str(exc)
                log.debug("the spool waits", problem=str(exc), events=self._spool.events)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                self._problem = None

    async def _drain_some(self) -> None:
        some = await self._spool.first()
        if some is None:
            await self._settle()
            return
        batch, number = some
        await self._lease.hold()
        await operations.write(self._server, batch)
        await self._spool.drop(number)

    async def _write_or_spool(self, batch: WriteBatch) -> None:
        if self._spool.is_empty:
            try:
                await self._lease.hold()
                await operations.write(self._server, batch)
            except ConflictError:
                await self._look_again()
                raise
            except (StoreUnavailableError, Refusal) as exc:
                # Whether it was written nobody knows. It is written again, and what is there then is left as it is.
                self._degrade(exc)
            else:
                if self._since is not None:  # an outage in which nothing could be spooled either
                    self._recover()
                return
        if self._spool.size > self._limits.size * RESERVE:
            raise StoreUnavailableError(f"{self._problem}; {self.waiting}, which is more than it may hold")
        await self._spool.put(batch)
        self._away.set()
        self._warn()

    async def _look_again(self) -> None:
        """Learn where the log ends after a conflict: some of the batch may have been written before it."""
        try:
            self.head = await operations.read_head(self._server)
        except StoreError as exc:
            log.warning("the head of the log is not known", problem=str(exc))

    async def _settle(self) -> None:
        async with self._turn:
            if self._spool.is_empty:
                self._away.clear()
                self._recover()

    def _recover(self) -> None:
        seconds = round(time.monotonic() - self._since, 1) if self._since is not None else None
        self._since, self._problem, self._has_warned = None, None, False
        log.info("MongoDB is back, the spool is drained", log=self._server.address, after_s=seconds)

    def _degrade(self, exc: StoreError) -> None:
        self._problem = str(exc)
        if self._since is None:
            self._since = time.monotonic()
            log.error("MongoDB is away, events go to the spool", problem=str(exc), spool=str(self._spool.path))

    def _is_full(self) -> str | None:
        """Say why no new runs are to be started; None where they may."""
        size, oldest = self._spool.size, self._spool.oldest
        if size > self._limits.size:
            return (
                f"no runs are started: these are {size:,} bytes, more than the {self._limits.size:,} of `spool_limit`"
            )
        if oldest is not None and time.time() - oldest > self._limits.age.total_seconds():
            return f"no runs are started: the first has waited for longer than the {self._limits.age} of `spool_age`"
        return None

    def _warn(self) -> None:
        if not self._has_warned and self._spool.size > ALARM * self._limits.size:
            self._has_warned = True
            log.warning("the spool is nearly full", bytes=self._spool.size, limit=self._limits.size)

    async def _set_aside(self, exc: ConflictError) -> None:
        events = self._spool.events
        aside = await self._spool.set_aside()
        log.critical(
            "another kernel wrote to the log while events waited in the spool; they cannot be added to it",
            events=events,
            kept_in=str(aside),
            problem=str(exc),
        )


def _check_places(events: Sequence[dict[str, object]], head: int) -> None:
    """Refuse a batch whose places are taken, also by events that were pruned, or that would leave a gap."""
    new: set[tuple[object, object]] = set()
    for position, event in enumerate(events, head + 1):
        stream, version, found = str(event["stream"]), int(str(event["version"])), int(str(event["_id"]))
        if found < position or (stream, version) in new:
            raise ConflictError(stream, version, found)
        if found > position:
            raise StoreError(f"event {found} would leave a gap in the log: the next is {position}")
        new.add((stream, version))
