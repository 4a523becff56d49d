"""The connection: collections with the right concerns, a time limit on every call, errors in the words of the port."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pymongo
import structlog
from bson import CodecOptions
from bson.errors import BSONError
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gnomon.errors import StoreError, StoreUnavailableError
from gnomon_mongo import schema
from gnomon_mongo.drivers import Client, Collection, Database, Document, Driver
from gnomon_mongo.errors import translate, without_secrets

log = structlog.stdlib.get_logger("gnomon.mongo")

READERS = 5
"""Reads that are under way at once: motor has few threads for all of its calls, and writes must not wait for reads."""
LIST_PATIENCE = 15.0
"""Seconds for a list or a count over a long log, which take longer than a single document."""
WORK_PATIENCE = 600.0
"""Seconds for one step of work that nobody waits for: making an index of a large collection, pruning."""


class Server:
    """A MongoDB deployment, one database of it, and how it is talked to.

    Writes are confirmed by the majority, and by its journals: `w="majority"` alone does not say that everywhere, and an
    event that was acknowledged survives a power cut. `timeout` is in seconds.
    """

    def __init__(self, uri: str, database: str | None, driver: Driver, timeout: float) -> None:
        self.driver = driver
        self.timeout = timeout
        self.address = without_secrets(uri)
        self._uri = uri
        self._database = database
        self._client: Client | None = None
        self._reading: asyncio.Semaphore
        self._db: Database

    async def connect(self) -> None:
        """Make the client; nothing is sent yet. StoreError for a URI that cannot be used."""
        self._reading = asyncio.Semaphore(READERS)  # of this event loop, as the client is
        millis = round(self.timeout * 1000)
        try:
            with _told_of_options():
                self._client = self.driver.connect(
                    self._uri,
                    appname="gnomon",
                    timeoutMS=round(WORK_PATIENCE * 1000),  # of what is forgotten to be limited below; never for ever
                    serverSelectionTimeoutMS=min(millis, 1000),
                    connectTimeoutMS=millis,
                    tz_aware=True,
                )
            self._db = self._choose_database(self._client)
        except (PyMongoError, BSONError, ValueError, OSError) as exc:
            raise translate(exc, self.address) from None  # what it came from may hold the URI, and with it a password
        self.address = f"{self.address.partition('/')[0]}/{self._db.name}"

    async def close(self) -> None:
        """Let the client go."""
        client, self._client = self._client, None
        if client is not None:
            await self.driver.close(client)

    def __getitem__(self, collection: str) -> Collection:
        return self._db.get_collection(collection)

    @asynccontextmanager
    async def writing(self, patience: float | None = None) -> AsyncIterator[Server]:
        """Limit a write, and translate what goes wrong."""
        async with self._limited(patience or self.timeout):
            yield self

    @asynccontextmanager
    async def reading(self, patience: float | None = None) -> AsyncIterator[Server]:
        """Limit a read, and the number of reads at once; translate what goes wrong."""
        try:
            async with asyncio.timeout(patience or self.timeout):
                await self._reading.acquire()
        except TimeoutError as exc:
            raise StoreUnavailableError(
                f"MongoDB log {self.address} has too many reads to do: try again later"
            ) from exc
        try:
            async with self._limited(patience or self.timeout):
                yield self
        finally:
            self._reading.release()

    @asynccontextmanager
    async def _limited(self, patience: float) -> AsyncIterator[None]:
        if self._client is None:
            raise StoreError(f"MongoDB log {self.address} is not open: use the store inside of `async with store:`")
        try:
            with pymongo.timeout(patience):
                yield
        except (PyMongoError, BSONError) as exc:
            raise translate(exc, self.address) from exc

    async def version(self) -> str:
        """Ask the server which version of MongoDB it is."""
        async with self.reading():
            return str((await self._db.client.server_info())["version"])

    async def missing_indexes(self) -> list[schema.Index]:
        """Tell which indexes a start would make; StoreError for one that is there in another form."""
        async with self.reading():
            return await schema.missing_indexes(self._db)

    async def make_indexes(self) -> None:
        """Make the indexes that are missing."""
        async with self.writing(WORK_PATIENCE):
            await schema.make_indexes(self._db)

    def _choose_database(self, client: Client) -> Database:
        # A preference for secondaries, or no confirmation, in the URI would break what the port promises.
        options: dict[str, Any] = {
            "codec_options": CodecOptions[Document](tz_aware=True),
            "read_preference": ReadPreference.PRIMARY,
            "read_concern": ReadConcern("majority"),
            "write_concern": WriteConcern(w="majority", j=True),
        }
        if self._database is not None:
            return client.get_database(self._database, **options)
        return client.get_default_database("gnomon", **options)


@contextmanager
def _told_of_options() -> Iterator[None]:
    """Log what the driver warns of, such as an option of the URI that it does not know and leaves out."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
    for warning in told:
        log.warning("an option of `uri` is left out", problem=str(warning.message))
