"""Writes the records: one pipeline at a time, at most one write of a run in flight, retries while Redis is down."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from gnomon.backoff import Backoff
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon_redis.connection import RedisServerError
from gnomon_redis.progress_state import ProgressState, RecordWrite

log = get_logger("gnomon.redis")

BATCH = 200
"""Runs written in one pipeline: about 200 kB, which a server processes in a few milliseconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""The pauses between attempts while Redis is down."""
CHECK_INTERVAL_S = 5.0
"""The longest interval between two checks for records that have to be renewed and for a server that was restarted."""


class RecordWriter(Protocol):
    """What the tracker writes to: a `Connection`, or a stand-in without a server in unit tests."""

    address: str

    async def write(self, writes: Sequence[RecordWrite]) -> list[tuple[RecordWrite, str]]:
        """Write records; return those that were refused, and why. Without any writes: ping.

        Raise RedisServerError where the server accepts nothing.
        """

    async def swap_marker(self, log_id: str, value: bytes) -> bytes | None:
        """Set the marker of a log, and return its old value."""

    async def close(self) -> None:
        """Close the connection."""


class Marker(msgspec.Struct, frozen=True):
    """What the marker of a log holds: whose records the server has, and up to which position of the log."""

    token: str
    position: int

    def is_kept_by(self, found: Marker | None) -> bool:
        """Whether a server with the marker `found` still has what it had when this one was set."""
        return found is not None and found.token == self.token and found.position >= self.position


def decode_marker(value: bytes | None) -> Marker | None:
    """Return a marker, None for none and for what is not one."""
    try:
        return msgspec.json.decode(value, type=Marker) if value is not None else None
    except msgspec.DecodeError:
        return None


class Tracker:
    """Writes the due records. A slow or failing Redis delays only the tracker, never a run."""

    def __init__(
        self,
        progress: ProgressState,
        connection: RecordWriter,
        clock: Clock,
        live_ttl: timedelta,
        log_id: str = "",
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self.problem: str | None = None
        self._log_id = log_id
        self._on_loss = on_loss
        self._marker: Marker | None = None
        self._is_expected = False
        self._progress = progress
        self._connection = connection
        self._clock = clock
        self._wake = asyncio.Event()
        self._failing: str | None = None
        self._failing_since = 0.0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        self._check_interval = min(CHECK_INTERVAL_S, live_ttl.total_seconds() / 6)
        self._next_check = 0.0
        self._stopping = False

    def wake(self) -> None:
        """Write soon: the progress state has changed."""
        self._wake.set()

    def expect(self, kept: Marker | None) -> None:
        """Start to compare the server's marker with the one that the last kernel has kept, if there is one."""
        self._is_expected = kept is not None
        self._marker = kept or Marker(secrets.token_hex(8), 0)
        self._next_check = 0.0
        self._wake.set()

    @property
    def is_failing(self) -> bool:
        """Whether nothing can be written now."""
        return self._failing is not None

    @property
    def marker(self) -> Marker | None:
        """The marker that the server has, as far as known."""
        return self._marker

    def stop(self) -> None:
        """End `run` after its current write. Cancelling does not suffice: redis-py may swallow it while connecting."""
        self._stopping = True

    async def run(self) -> None:
        """Write until `stop` is called."""
        while not self._stopping:
            if not self._progress.has_due:
                await self._clock.wait(self._wake, self._clock.time() + self._check_interval)
            self._wake.clear()
            checks = self._clock.monotonic() >= self._next_check
            if checks:
                self._next_check = self._clock.monotonic() + self._check_interval
                self._progress.renew(self._clock.now(), self._clock.monotonic())
            if not ((not checks or await self._check_marker()) and await self._write_due(checks)):
                await self._clock.sleep(self._backoff.next())

    async def _write_due(self, checks: bool) -> bool:
        return not (self._progress.has_due or checks) or await self.write()

    async def _check_marker(self) -> bool:
        """Compare the server's marker, and write everything again if the server has lost records."""
        if self._marker is None:
            return True  # what the last kernel has written is not known yet
        new = Marker(self._marker.token, max(self._marker.position, self._progress.written_position))
        try:
            found = decode_marker(await self._connection.swap_marker(self._log_id, msgspec.json.encode(new)))
        except RedisServerError as exc:
            self._failed(exc)
            return False
        if not self._marker.is_kept_by(found):
            if self._is_expected:
                log.warning("Redis has lost records, they are written again", redis=self._connection.address)
            self._progress.mark_all_due()
            self._on_loss()
        self._marker, self._is_expected = new, True
        return True

    async def write(self) -> bool:
        """Write the next batch, or ping if nothing is due. Return False where Redis cannot be written now."""
        writes = self._progress.due(BATCH, self._clock.now(), self._clock.monotonic())
        try:
            refused = await self._connection.write(writes)
        except RedisServerError as exc:
            self._failed(exc)
            return False
        if self._failing is not None:
            self._recovered()
        for write, problem in refused:
            self._mark_refused(write, problem)
        refused_ids = {write.execution_id for write, _ in refused}
        self._progress.mark_written(write for write in writes if write.execution_id not in refused_ids)
        self.problem = next(iter(self._progress.refused.values()), None)
        return True

    async def finish(self, within: float) -> None:
        """Write what is left, for as long as Redis responds and at most `within` seconds, then close the connection."""
        try:
            async with asyncio.timeout(within):
                while self._progress.has_due and await self.write():
                    pass
        except TimeoutError:
            pass
        if self._progress.has_due:
            log.warning("progress was not written", problem=self.problem)
        await self._connection.close()

    def _failed(self, exc: RedisServerError) -> None:
        self.problem = str(exc)
        if self._failing is None:
            self._failing_since = self._clock.monotonic()
            self._progress.mark_all_due()
        if self._failing != exc.kind:  # once for each kind of problem, not at every attempt
            self._failing = exc.kind
            log.error("progress cannot be written now", problem=str(exc))

    def _recovered(self) -> None:
        seconds, dropped = round(self._clock.monotonic() - self._failing_since, 1), self._progress.dropped
        log.info("progress is written again", redis=self._connection.address, after_s=seconds, dropped=dropped)
        self._failing = None
        self._backoff.reset()
        if dropped:  # they did not fit into memory, but the log has them
            self._progress.dropped = 0
            self._on_loss()

    def _mark_refused(self, write: RecordWrite, problem: str) -> None:
        if problem not in self._progress.refused.values():
            log.error("progress of a run cannot be written", run=write.execution_id, problem=problem)
        self._progress.mark_refused(write, problem)
