"""The two drivers and their differences: motor, and pymongo's own AsyncMongoClient.

The rest of the plugin is written for the types of pymongo; motor has the same calls, except for those below.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import Any, Literal, TypeAlias, cast

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from gnomon.errors import StoreError

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]

DriverName = Literal["motor", "pymongo"]
CLOSE_LIMIT_S = 5.0


class Driver:
    """Creates and closes clients of one kind. A client belongs to the event loop that it was created in."""

    def __init__(self, name: DriverName = "motor") -> None:
        self.name = name

    @property
    def waits_in_loop(self) -> bool:
        """Whether a call that waits for the server for long takes no thread, and ends at once when it is cancelled."""
        return self.name == "pymongo"

    def waiting(self) -> Driver:
        """Return the driver for such calls."""
        return Driver("pymongo")

    def connect(self, uri: str, **options: Any) -> Client:
        """Return a client, which connects on first use."""
        if self.name == "pymongo":
            return AsyncMongoClient(uri, **options)
        try:
            from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - needed only by this driver
        except ImportError as exc:
            raise StoreError(
                'the driver "motor" of [plugins.mongo] is not installed: pip install "gnomon[mongo]", '
                'or set driver = "pymongo"'
            ) from exc
        return cast(Client, AsyncIOMotorClient(uri, **options))

    async def close(self, client: Client) -> None:
        """Close a client: a plain call in motor, a coroutine in pymongo, which is not waited for without end.

        Where a call is cancelled twice while it looks for a server, pymongo 4.20 loses the lock that closing needs.
        """
        closing: Any = client.close()
        if inspect.isawaitable(closing):
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await closing


async def aggregate(collection: Collection, pipeline: list[Document]) -> list[Document]:
    """Return the results of a pipeline. motor returns a cursor, pymongo a coroutine that returns one."""
    found: Any = collection.aggregate(pipeline)
    cursor = await found if inspect.isawaitable(found) else found
    return [document async for document in cursor]
