"""The connection: collections with the right concerns, a time limit on every call, translated errors."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from typing import Any, TypeAlias

import pymongo
from bson import CodecOptions
from bson.errors import BSONError
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon_mongo import schema
from gnomon_mongo.drivers import Client, Collection, Database, Document, Driver
from gnomon_mongo.errors import translate, without_secrets

log = get_logger("gnomon.mongo")

READERS = 5
"""Concurrent reads: motor has few threads for all of its calls, and writes must not wait for reads."""
LIST_LIMIT_S = 15.0
"""For a list or a count over a long log, which take longer than reading a single document."""
STREAM_CLOSE_LIMIT_S = 1.0
NextChange: TypeAlias = Callable[[], Awaitable[Document | None]]
WORK_LIMIT_S = 600.0
"""For one step of background work: creating an index of a large collection, pruning."""


class Server:
    """One database of a MongoDB deployment.

    Writes are acknowledged by the majority and by its journals, so that an acknowledged event survives a power cut:
    `w="majority"` alone does not imply the journal everywhere. `timeout` is in seconds.
    """

    def __init__(self, uri: str, database: str | None, driver: Driver, timeout: float) -> None:
        self.driver = driver
        self.timeout = timeout
        self.address = without_secrets(uri)
        self._uri = uri
        self._database = database
        self.foreign: set[str] = set()  # the collections with documents of other programs, as far as is known
        self._client: Client | None = None
        self._waiting: Server | None = None
        self._reading: asyncio.Semaphore
        self._db: Database

    @property
    def log_name(self) -> str:
        """The log, for messages."""
        return f"MongoDB log {self.address}"

    async def connect(self) -> None:
        """Create the client, which sends nothing yet; raise StoreError for an invalid URI."""
        self._reading = asyncio.Semaphore(READERS)  # belongs to this event loop, like the client
        millis = round(self.timeout * 1000)
        try:
            with _log_driver_warnings():
                self._client = self.driver.connect(
                    self._uri,
                    appname="gnomon",
                    timeoutMS=round(WORK_LIMIT_S * 1000),  # for calls without their own limit
                    serverSelectionTimeoutMS=min(millis, 1000),
                    connectTimeoutMS=millis,
                    tz_aware=True,
                )
            self._db = self._choose_database(self._client)
        except (PyMongoError, BSONError, ValueError, OSError) as exc:
            raise translate(exc, self.address) from None  # the cause may contain the URI, and so a password
        self.address = f"{self.address.partition('/')[0]}/{self._db.name}"

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Server]:
        """Yield this server while it is connected, otherwise another connection to it, which is closed afterwards."""
        if self._client is not None:
            yield self
            return
        other = Server(self._uri, self._database, self.driver, self.timeout)
        try:
            await other.connect()
            yield other
        finally:
            await other.close()

    async def close(self) -> None:
        """Close the client."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await waiting.close()
        client, self._client = self._client, None
        if client is not None:
            await self.driver.close(client)

    def __getitem__(self, collection: str) -> Collection:
        return self._db.get_collection(collection)

    @asynccontextmanager
    async def writing(self, limit_s: float | None = None) -> AsyncIterator[Server]:
        """Limit the duration of a write, and translate its errors."""
        async with self._limited(limit_s or self.timeout):
            yield self

    @asynccontextmanager
    async def reading(self, limit_s: float | None = None) -> AsyncIterator[Server]:
        """Limit the duration of a read and the number of concurrent reads, and translate its errors."""
        try:
            async with asyncio.timeout(limit_s or self.timeout):
                await self._reading.acquire()
        except TimeoutError as exc:
            raise StoreUnavailableError(
                f"MongoDB log {self.address} is busy with too many reads: try again later"
            ) from exc
        try:
            async with self._limited(limit_s or self.timeout):
                yield self
        finally:
            self._reading.release()

    @asynccontextmanager
    async def _limited(self, limit_s: float) -> AsyncIterator[None]:
        if self._client is None:
            raise StoreError(f"MongoDB log {self.address} is not open: use the store inside `async with store:`")
        try:
            with pymongo.timeout(limit_s):
                yield
        except (PyMongoError, BSONError) as exc:
            raise translate(exc, self.address) from exc

    @asynccontextmanager
    async def changes(self, pipeline: list[Document], await_s: float) -> AsyncIterator[NextChange]:
        """Yield a function that returns the next change of the database, or None where there is none for `await_s`.

        StoreError where the server has no change streams, as one that is not in a replica set, or late ones: those of a
        sharded cluster wait up to 10 s for each shard in which nothing is written.
        """
        if not self.driver.waits_in_loop:
            if self._waiting is None:
                self._waiting = Server(self._uri, self._database, self.driver.waiting(), self.timeout)
                await self._waiting.connect()
            async with self._waiting.changes(pipeline, await_s) as next_change:
                yield next_change
            return
        async with self._limited(self.timeout):
            if await self._db.client.is_mongos:
                raise StoreError(f"MongoDB at {self.address} is a sharded cluster, whose change streams are late")
            stream = await self._db.watch(pipeline, max_await_time_ms=round(await_s * 1000))

        async def next_one() -> Document | None:
            async with self._limited(await_s + self.timeout):
                change: Document | None = await stream.try_next()
            if change is None and not stream.alive:
                raise StoreUnavailableError(f"MongoDB at {self.address} has ended a change stream")
            return change

        try:
            yield next_one
        finally:
            with suppress(StoreError):
                async with self._limited(STREAM_CLOSE_LIMIT_S):
                    await stream.close()

    async def version(self) -> str:
        """Return the version of the server."""
        async with self.reading():
            return str((await self._db.client.server_info())["version"])

    async def now(self) -> datetime:
        """Return the time of the server's clock, which sets the times in documents."""
        async with self.reading():
            found: datetime = (await self._db.command("hello"))["localTime"]
            return found

    async def missing_indexes(self) -> list[schema.Index]:
        """Return the indexes that a start would create; raise StoreError for one with another definition."""
        async with self.reading():
            return await schema.missing_indexes(self._db)

    async def make_indexes(self) -> None:
        """Create the missing indexes."""
        async with self.writing(WORK_LIMIT_S):
            await schema.make_indexes(self._db)

    def _choose_database(self, client: Client) -> Database:
        # Secondary reads or unacknowledged writes, as the URI may ask for, would break the guarantees of the port.
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
def _log_driver_warnings() -> Iterator[None]:
    """Log the warnings of the driver, such as one about an unknown option of the URI, which it ignores."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log.warning("an option of `uri` is ignored", problem=str(warning.message))
