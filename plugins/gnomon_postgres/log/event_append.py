"""Appends events to the log: in one round trip, idempotently, and only behind the row that must precede them.

One statement does all of it. It locks the row of the lease, if that is of the term, FOR KEY SHARE: a take-over changes
the key of the row, so it waits for appends in flight, and an append that comes later finds another term. It looks for
the row before, by its position and identity, so that nothing is written on top of events that the database has lost,
after a failover or the restore of a backup. Then it inserts the rows, all or none.

What was appended before, when an answer was lost, is recognized event for event, also as a part of a larger append.
That its rows are there does not say that synchronous replicas have them: a wait for these that is cut short leaves the
commit as it is. So rows that were found count only when a later commit, for which the server waits again, is confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, NoReturn

import msgspec
import psycopg
from psycopg.types.numeric import Int8

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.errors import ConflictError, StoreUnavailableError
from gnomon.stores import commit_rows
from gnomon.stores.commit_rows import Newest, Row
from gnomon_postgres.log import event_reads
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.log.stream_ends import StreamEnds
from gnomon_postgres.schema.partitions import ensure
from gnomon_postgres.server import Connection, Server
from gnomon_shared_log.errors import LostEventsError, Refusal
from gnomon_shared_log.ports.lease_row import Term

MOST_EVENTS, MOST_BYTES = 4096, 4 * 1024 * 1024
"""Of one statement, except for a single larger event. The server takes them in a fraction of a second."""
_BEFORE: Final = (
    "SELECT FROM {schema}.commits WHERE first = %(before)s AND last = %(before_last)s AND identity = %(identity)s"
)
# One statement with subqueries: with WITH clauses that also said what was wrong, the server planned it for twice as
# long. The rows are VALUES: as arrays they took the server twice as long, and the driver more.
_APPEND: Final = """
    INSERT INTO {schema}.commits (first, last, earliest, latest, setback, previous, events, checksum, identity)
    SELECT * FROM (VALUES ROWS) AS row
    WHERE EXISTS (SELECT FROM {schema}.lease WHERE owner = %(owner)s AND epoch = %(epoch)s FOR KEY SHARE) AND PLACE
    RETURNING set_config('synchronous_commit', 'on', true)"""
# A lock of a row is written to the server's log, so the server waits for its commit as for that of an append.
_CONFIRM: Final = "SELECT set_config('synchronous_commit', 'on', true) FROM {schema}.lease FOR KEY SHARE"
_NAMES: Final = "SELECT id FROM {schema}.live UNION ALL SELECT name FROM {schema}.streams"


@lru_cache
def _statement(rows: int, *, is_first: bool) -> str:
    """Return the statement that appends so many rows, whose parameters are named v0, v1, …, row by row."""
    names = [[f"%(v{number * 8 + column})s" for column in range(8)] for number in range(rows)]
    types = ["bigint"] * 5 + ["bytea"] * 2 + ["bigint"]
    typed = [[f"{name}::{kind}" for name, kind in zip(row, types, strict=True)] for row in names]
    values = ", ".join(f"({', '.join(row)}, {row[-1]})" for row in typed)
    place = "NOT EXISTS (SELECT FROM {schema}.commits)" if is_first else f"EXISTS ({_BEFORE})"
    return _APPEND.replace("PLACE", place).replace("ROWS", values)


class NewestRow(msgspec.Struct, frozen=True):
    """The newest row that this kernel knows of: where the log ends, and how the next append names the row."""

    newest: Newest = (0, 0, 0)
    first: int = 0
    identity: int = 0

    @property
    def last(self) -> int:
        """The position at which the log ends."""
        return self.newest[0]


class _TooMuch(Exception):
    """Events are more than one statement should write."""


class _EarlierAttempt(Exception):
    """Rows are there that an earlier attempt has written, whose answer was lost."""


class EventAppend:
    """Appends the events of the kernel that leads, which calls it for one batch at a time."""

    def __init__(self, server: Server, lease: PostgresLeaseTable) -> None:
        self.filed = 0
        """The position up to which views are filed, as far as it is known."""
        self._server = server
        self._lease = lease
        self._ends = StreamEnds()
        self._row: NewestRow | None = None

    def note_filed(self, position: int, over: Iterable[str]) -> None:
        """Note that views are filed up to a position, and which of their runs have ended."""
        self.filed = max(self.filed, position)
        self._ends.note_over(over)

    def forget(self, streams: Iterable[str] | None) -> None:
        """Forget streams that were deleted; None: any of them."""
        self._ends.forget(streams, self.filed)

    async def load(self, connection: Connection) -> NewestRow:
        """Read where the log ends, and what is known of its streams: what the next append follows."""
        known = self._row.last if self._row is not None else 0
        found = await event_reads.newest_row(connection)
        row = NewestRow(*found) if found is not None else NewestRow()
        self.filed = await event_reads.filed(connection)
        if not self._ends.has_names:
            self._ends.note_names(name for (name,) in await connection.fetch(_NAMES))
        begin = max(self.filed, known)
        for event in await event_reads.read(connection, begin, row.last - begin):
            self._ends.note({event.stream: (event.version, event.position)}, self.filed)
        self._row = row  # last: an attempt that fails half-way is made again
        return row

    async def append(
        self, events: Sequence[Event], term: Term, limit_s: float | None = None, *, has_gaps: bool = False
    ) -> None:
        """Append events in a term, which may be there already; see LogTable.write_events of gnomon_shared_log.

        With `has_gaps` their positions are those of another log, from which some events were deleted. What waited in a
        long outage is appended in parts, each within the limit.
        """
        try:
            if len(events) > MOST_EVENTS:
                raise _TooMuch
            async with self._server.writing(limit_s) as connection:
                row = self._row or await self.load(connection)
                if events[0].position <= row.last:
                    _expect_little(codec.encode_rows(events, commit_rows.EVENTS_PER_ROW), len(events))
                    events = await self._missing(connection, events)
                if events:
                    await self._append(connection, events, term, has_gaps=has_gaps)
        except _TooMuch:
            half = len(events) // 2
            for some in (events[:half], events[half:]):
                await self.append(some, term, limit_s, has_gaps=has_gaps)

    async def end_at(self, position: int, term: Term) -> None:
        """Leave out the positions up to this one, which are never assigned then."""
        async with self._server.writing() as connection:
            while position > (row := self._row or await self.load(connection)).last:
                try:
                    await self._insert(connection, [commit_rows.tombstone(position, row.newest)], term)
                except _EarlierAttempt:
                    await self.load(connection)

    async def _append(self, connection: Connection, events: Sequence[Event], term: Term, *, has_gaps: bool) -> None:
        row = self._row or NewestRow()
        if events[0].position > row.last + 1 and not has_gaps:
            raise LostEventsError(self._server.address, events[0].position - 1, row.last)
        known, others = self._ends.find(events)
        if others:
            read = await event_reads.ends(connection, others)
            if not has_gaps and (event := self._ends.find_unlinked(others, read)) is not None:
                raise Refusal(_unlinked(event))
            known |= read
        rows_of = commit_rows.rows_with_gaps if has_gaps else commit_rows.rows_of
        rows, ends = rows_of(events, known, row.newest)
        _expect_little((one[commit_rows.BODY] for one in rows), len(events))
        try:
            await self._insert(connection, rows, term)
        except _EarlierAttempt:
            if missing := await self._missing(connection, events):
                await self._append(connection, missing, term, has_gaps=has_gaps)
            return
        self._ends.note(ends, self.filed)

    async def _insert(self, connection: Connection, rows: Sequence[Row], term: Term) -> None:
        """Insert rows behind the newest one.

        _EarlierAttempt if there are rows behind it, or in an empty log: their answer was lost.
        """
        before = self._row or NewestRow()
        statement = _statement(len(rows), is_first=not before.last)
        values: dict[str, object] = {f"v{number}": value for number, value in enumerate(chain.from_iterable(rows))}
        values |= {"owner": term.owner, "epoch": term.epoch, "before": before.first, "before_last": before.last}
        values |= {"identity": before.identity}
        values = {name: Int8(value) if isinstance(value, int) else value for name, value in values.items()}
        try:
            found = await connection.fetch_one(statement, values, prepare=True)
        except psycopg.errors.UniqueViolation as exc:
            raise _EarlierAttempt from exc
        except psycopg.errors.CheckViolation:  # there is no partition for the rows
            async with connection.transaction():
                await ensure(connection, rows[-1][0])
            await self._insert(connection, rows, term)
            return
        if found is None:
            await self._refuse(connection, rows, term, values)
        self._row = NewestRow(commit_rows.newest_of(rows[-1]), rows[-1][0], rows[-1][-1])

    async def _refuse(
        self, connection: Connection, rows: Sequence[Row], term: Term, values: Mapping[str, object]
    ) -> NoReturn:
        """Raise the error of rows that were not inserted."""
        await self._lease.check(connection, term)
        head = await event_reads.head(connection)
        if head and not values["before"]:
            raise _EarlierAttempt
        if values["before"] and await connection.fetch_one(_BEFORE, values) is None:
            raise LostEventsError(self._server.address, rows[0][0] - 1, head)
        raise StoreUnavailableError(f"{self._server.address} has changed during an append, which has to be repeated")

    async def _missing(self, connection: Connection, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events that are not in the log yet; ConflictError where it has another one.

        Where all are there, they are on the disk and on synchronous replicas afterwards.
        """
        texts = await event_reads.texts(connection, events[0].position, events[-1].position)
        for event, body in zip(events, codec.encode_each(events), strict=True):
            if texts.get(event.position, body) != body:
                raise _conflict(event)
        row = await self.load(connection)
        if row.last >= events[-1].position:
            await connection.fetch(_CONFIRM)
        return [event for event in events if event.position > row.last]


def _expect_little(bodies: Iterable[bytes], events: int) -> None:
    if events > 1 and sum(map(len, bodies)) > MOST_BYTES:
        raise _TooMuch


def _unlinked(event: Event) -> str:
    return (
        f"the end of stream {event.stream!r} is not known, which event {event.version} follows: another program has "
        "deleted or changed rows of `streams`, `live` or `ended`; stop the kernel, then run `gnomon postgres rebuild`, "
        "which builds them again from the log"
    )


def _conflict(event: Event) -> ConflictError:
    return ConflictError(event.stream, event.version, event.position)
