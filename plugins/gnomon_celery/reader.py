"""Reads what the workers report, passes it to the runs in order, and deletes what the log has.

An entry of the stream is deleted when everything that it caused is durable; a kernel that ends before leaves it to the
next one. Only the kernel of the newest term deletes: one that was deposed, and does not know it yet, may read messages
of runs that another kernel has started, and they must stay.

Messages of runs that are not known here are parked: a run of an earlier kernel may still be on its way through
recovery. When the log says that such a run is over, they are dropped;
how a body ended that was given up as lost is recorded as a late result.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any

import msgspec
from redis import exceptions as errors
from redis.asyncio import Redis

from gnomon.backoff import Backoff
from gnomon.errors import DeposedError, StoreError
from gnomon.logs import get_logger
from gnomon.runners.base import Outcome
from gnomon.text import shorten
from gnomon_celery.channel import DELETE, FIELD, LEAD, Channel
from gnomon_celery.connection import AWAY, READ_BLOCK_S
from gnomon_celery.messages import Ended, MessageOfWorker, batch_decoder, message_decoder
from gnomon_celery.remote_run import Mark, RemoteRun, outcome_of

log = get_logger("gnomon.celery")

PAGE = 100
"""Entries of one read: they are handled in one go, so the loop is held for a few milliseconds."""
READ_PAUSE_S = 0.005
"""The least time between two reads: what comes within it is read, and recorded, together. A message that comes alone is
read at once."""
SETTLE_PAUSE_S = 0.25
"""The pause between two passes that delete entries."""
DELETED_AT_ONCE = 1_000
TERM_TTL_S = 600
"""How long the term of a reader that is gone keeps others from deleting: the terms of a log that was restored from a
copy begin again from a lower number."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""The pauses between attempts while Redis is away."""
START = b"0-0"
Late = Callable[[str, Outcome], Awaitable[None]]
"""Receives how the body of a run ended that is over; see `DurableLog.late`."""


class Entry(msgspec.Struct, eq=False):
    """An entry that was read: what has to be recorded before it is deleted, and the runs whose messages are parked."""

    id: bytes
    marks: list[Mark]
    parked: set[str]

    @property
    def is_settled(self) -> bool:
        """Whether everything that it caused is recorded, and waits at most for the log."""
        return not self.parked and all(mark.is_reached for mark in self.marks)


class Parked(msgspec.Struct, eq=False):
    """Messages of a run that is not known here."""

    since: float
    messages: list[tuple[Entry, MessageOfWorker]] = []


class StreamReader:
    """Reads the stream of one log, for one term. Used on the kernel's loop.

    `on_problem` receives the error when Redis is away, and None when it is back.
    """

    def __init__(
        self,
        redis: Redis,
        channel: Channel,
        term: int,
        runs: Mapping[str, RemoteRun],
        durable: Callable[[], asyncio.Future[None]],
        on_problem: Callable[[BaseException | None], None],
    ) -> None:
        self._redis = redis
        self._channel = channel
        self._term = term
        self._runs = runs
        self._durable = durable
        self._on_problem = on_problem
        self._last = START
        self._is_back = False
        self._entries: deque[Entry] = deque()
        self._parked: dict[str, Parked] = {}
        self._dropping: set[str] = set()
        self._lead: Any = redis.register_script(LEAD)
        self._delete: Any = redis.register_script(DELETE)
        self._warned: set[str] = set()
        self._last_ms = 0
        self.empty_reads = 0
        self.is_deposed = False

    def has_read(self, up_to_ms: int, empty_reads: int) -> bool:
        """Whether everything was read that was there at a time of the server, when `empty_reads` had this value."""
        return self._last_ms > up_to_ms or self.empty_reads > empty_reads

    @property
    def undeleted(self) -> int:
        """The number of entries that were read and are not deleted yet."""
        return len(self._entries)

    async def read(self) -> None:
        """Read until cancelled."""
        backoff, read_at = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5), 0.0
        while True:
            try:
                if self._is_back:
                    await self._find_place()
                found: Any = await self._redis.xread(
                    {self._channel.stream: self._last}, count=PAGE, block=round(READ_BLOCK_S * 1000)
                )
            except AWAY as exc:
                self._on_problem(exc)
                self._is_back = True
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self._on_problem(None)
            self.empty_reads += not found
            for _, entries in found.items() if isinstance(found, dict) else found:
                for entry_id, fields in entries:
                    self._take(entry_id, fields)
            now = time.monotonic()
            await asyncio.sleep(max(read_at + READ_PAUSE_S - now, 0.0))
            read_at = time.monotonic()

    async def settle(self) -> None:
        """Delete what is durable until cancelled."""
        renewed = 0.0
        while True:
            await asyncio.sleep(SETTLE_PAUSE_S)
            try:
                if time.monotonic() - renewed > TERM_TTL_S / 10:
                    await self._lead_on()
                    renewed = time.monotonic()
                await self.settle_now()
            except AWAY:
                pass  # the reader shows it; what could not be deleted is tried again
            except DeposedError:
                return  # another kernel has the log, and what was read last

    async def settle_now(self) -> None:
        """Delete what is recorded, as soon as it is durable."""
        if settled := self._settled():
            await asyncio.shield(self._durable())
            await self._delete_all(settled)

    def adopt(self, run: RemoteRun) -> None:
        """Pass the messages to a run that came before it was known."""
        if (parked := self._parked.pop(run.id, None)) is None:
            return
        for entry, message in parked.messages:
            if (mark := self._pass(run, message)) is not None:
                entry.marks.append(mark)
            entry.parked.discard(run.id)

    def parked(self, older_than: float) -> list[str]:
        """Return the runs whose messages have been parked for so many seconds."""
        now = time.monotonic()
        return [run for run, parked in self._parked.items() if now - parked.since > older_than]

    async def drop_all(self, execution_ids: Iterable[str], late: Late) -> None:
        """Drop the messages of runs that are over, after `late` has received how their bodies ended."""
        for execution_id in set(execution_ids) - self._dropping:
            self._dropping.add(execution_id)
            try:
                await self._drop(execution_id, late)
            except (StoreError, DeposedError) as exc:
                log.debug("a late end of a run is not recorded yet", run=execution_id, problem=str(exc))
            finally:
                self._dropping.discard(execution_id)

    async def _drop(self, execution_id: str, late: Late) -> None:
        parked = self._parked.get(execution_id)
        for _, message in parked.messages if parked is not None else ():
            if isinstance(message, Ended):
                await late(execution_id, outcome_of(message))
        for entry, _ in self._parked.pop(execution_id, Parked(0.0)).messages:
            entry.parked.discard(execution_id)

    async def lead(self) -> None:
        """Become the reader of the stream; wait for Redis."""
        while True:
            try:
                await self._lead_on()
            except AWAY as exc:
                self._on_problem(exc)
                await asyncio.sleep(FIRST_PAUSE_S)
            else:
                return

    async def _lead_on(self) -> None:
        reader = int(await self._lead(keys=[self._channel.reader], args=[self._term, TERM_TTL_S]))
        if reader != self._term and not self.is_deposed:
            log.warning("another kernel reads what workers report", own_term=self._term, its_term=reader)
        self.is_deposed = reader != self._term

    async def _find_place(self) -> None:
        """Begin from the start of a stream that is another one: Redis came back without its data, or an older copy."""
        try:
            info: Any = await self._redis.xinfo_stream(self._channel.stream)
            last = info["last-generated-id"]
        except errors.ResponseError:  # there is none
            last = START
        if _number(last) < _number(self._last):
            log.warning("the channel has lost what workers had reported, read from its start", position=str(last))
            self._last = START
        self._is_back = False

    def _take(self, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
        entry = Entry(entry_id, [], set())
        for message in self._messages(fields.get(FIELD.encode(), b"")):
            if (run := self._runs.get(message.id)) is None:
                parked = self._parked.setdefault(message.id, Parked(time.monotonic()))
                parked.messages.append((entry, message))
                entry.parked.add(message.id)
            elif (mark := self._pass(run, message)) is not None:
                entry.marks.append(mark)
        self._entries.append(entry)
        self._last = entry_id
        self._last_ms = _number(entry_id)[0]

    def _messages(self, batch: bytes) -> list[MessageOfWorker]:
        """Decode a batch; leave out what is not a message, so that one bad message holds nothing up."""
        try:
            return batch_decoder.decode(batch)
        except (msgspec.DecodeError, ValueError) as exc:
            self._warn(f"a batch could not be read: {exc}")
        found = []
        try:
            parts = msgspec.json.decode(batch, type=list[msgspec.Raw])
        except (msgspec.DecodeError, ValueError):
            return []
        for part in parts:
            try:
                found.append(message_decoder.decode(part))
            except (msgspec.DecodeError, ValueError) as exc:
                self._warn(f"a message could not be read: {exc}")
        return found

    def _pass(self, run: RemoteRun, message: MessageOfWorker) -> Mark | None:
        try:
            return run.receive(message)
        except Exception as exc:  # noqa: BLE001 - the messages of other runs follow
            self._warn(f"a message of a run could not be handled: {type(exc).__name__}: {exc}")
            return None

    def _warn(self, problem: str) -> None:
        if problem not in self._warned and len(self._warned) < 100:  # once for each kind
            self._warned.add(problem)
            log.error("what a worker reported was left out", problem=shorten(problem, 500))

    def _settled(self) -> list[Entry]:
        """Return the first entries that are settled: what is read again is then whole from its first message on.

        A run whose older messages were read again without its newer ones would have an older state.
        """
        if self.is_deposed:
            return []
        return list(takewhile(lambda entry: entry.is_settled, self._entries))

    async def _delete_all(self, settled: list[Entry]) -> None:
        for start in range(0, len(settled), DELETED_AT_ONCE):
            chunk = settled[start : start + DELETED_AT_ONCE]
            keys = [self._channel.reader, self._channel.stream]
            if int(await self._delete(keys=keys, args=[self._term, *(entry.id for entry in chunk)])) < 0:
                await self._lead_on()  # Redis has lost the term, or another kernel has a higher one
                return
            gone = set(map(id, chunk))
            self._entries = deque(entry for entry in self._entries if id(entry) not in gone)


def _number(entry_id: bytes | str) -> tuple[int, int]:
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, counter = text.partition("-")
    return int(milliseconds), int(counter or 0)
