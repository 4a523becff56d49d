"""Documents that a healthy server has rejected, kept aside in a SQLite file until an operator writes them again.

Such a document is an event, a view, a checkpoint or a log line that a validator or a missing permission does not let
in. It must not stop the others, and retrying it every second does not help: `gnomon mongo spool` shows it, and writes
it again with `--retry`, also beside a running kernel. Until then a placeholder is in the place of an event.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import bson
import msgspec
from bson import CodecOptions

from gnomon.domain.records import StoreHealth
from gnomon.errors import StoreUnavailableError
from gnomon.files import make_private
from gnomon.threads import in_thread
from gnomon_mongo.drivers import Document

THREAD = "gnomon-mongo-rejected"
_CODEC = CodecOptions[Document](tz_aware=True)
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS rejected (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        collection TEXT NOT NULL,
        problem TEXT NOT NULL,
        body BLOB NOT NULL
    )
"""


class Rejected(msgspec.Struct, frozen=True):
    """A document that the server has rejected; `number` and `at`, a Unix time, are given when it is kept."""

    collection: str
    document: Document
    problem: str
    number: int = 0
    at: float = 0.0

    @property
    def name(self) -> str:
        """What it is, for people."""
        document = self.document
        what = document["_id"] if "_id" in document else f"{document['execution_id']} line {document['number']}"
        return f"{self.collection} {what}"


class RejectedDocuments:
    """Keeps them. `count` is known without disk access, as of the last call of another method."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.newest: Rejected | None = None

    def health(self) -> StoreHealth:
        """Return the health of a store whose server has everything that it did not reject."""
        if self.newest is None:
            return StoreHealth()
        problem = f"MongoDB has rejected {self.count} documents, which are kept aside; the newest is "
        advice = "`gnomon mongo spool` shows them and writes them again"
        return StoreHealth("degraded", f"{problem}{self.newest.name}: {self.newest.problem}; {advice}")

    async def load(self) -> list[Rejected]:
        """Return all of them, in the order in which they were rejected."""
        found = await in_thread(self._load, THREAD)
        self.count, self.newest = len(found), found[-1] if found else None
        return found

    async def add(self, rejected: Sequence[Rejected]) -> None:
        """Keep some more; durable when it returns. StoreUnavailableError if the file cannot be written."""
        await in_thread(lambda: self._add(rejected), THREAD)
        self.count, self.newest = self.count + len(rejected), rejected[-1]

    async def remove_newest(self) -> None:
        """Forget the one that was added last."""
        found = await self.load()
        await self.remove(found[-1].number)
        await self.load()

    async def remove(self, number: int) -> None:
        """Forget one that has been written."""
        await in_thread(lambda: self._remove(number), THREAD)

    def _load(self) -> list[Rejected]:
        if not self.path.exists():
            return []
        with self._connect() as connection:
            rows = connection.execute("SELECT collection, body, problem, number, at FROM rejected ORDER BY number")
            return [
                Rejected(collection, bson.decode(body, _CODEC), problem, number, at)
                for collection, body, problem, number, at in rows
            ]

    def _add(self, rejected: Sequence[Rejected]) -> None:
        rows = [(time.time(), one.collection, one.problem, bson.encode(one.document)) for one in rejected]
        with self._connect() as connection, connection:
            connection.executemany("INSERT INTO rejected (at, collection, problem, body) VALUES (?, ?, ?, ?)", rows)

    def _remove(self, number: int) -> None:
        with self._connect() as connection, connection:
            connection.execute("DELETE FROM rejected WHERE number = ?", (number,))

    def _connect(self) -> closing[sqlite3.Connection]:
        try:
            make_private(self.path)
            connection = sqlite3.connect(self.path, timeout=5.0)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailableError(
                f"{self.path} cannot be used now: check its folder, its permissions and its disk ({exc})"
            ) from exc
        return closing(connection)
