"""The connection to Redis: commands in one pipeline at a time, a time limit on each, errors in plain words."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gnomon import GnomonError
from gnomon_redis.book import Write
from gnomon_redis.record import Names

SCHEMES = ("redis", "rediss", "unix")

RENEWAL, NEWS = 3, 6
"""Commands, and so replies, of a write that is only renewed, and of one that followers are told of."""


class RedisTrouble(GnomonError):
    """Nothing can be written now; `kind` is one word for what is wrong, so that each is told once."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Link:
    """One connection, made when it is needed and given up after every trouble. `timeout` is in seconds."""

    def __init__(
        self, url: str, names: Names, *, stream_length: int, ttl: float, live_ttl: float, timeout: float
    ) -> None:
        self.address = address_of(url)
        self._url = url
        self._names = names
        self._stream_length = stream_length
        self._ttl_ms, self._live_ms = round(ttl * 1000), round(live_ttl * 1000)
        self._timeout = timeout
        self._client: Redis | None = None

    async def write(self, writes: Sequence[Write]) -> list[tuple[Write, str]]:
        """Write records in one pipeline; return those that were refused for what is under their names, and why.

        RedisTrouble for everything that is wrong with the server: then nobody knows what has been written.
        """
        try:
            async with asyncio.timeout(self._timeout):
                replies = await self._send(writes)
        except asyncio.CancelledError:
            await self.close()  # with replies that nobody has read, it is of no use to the next one
            raise
        except (errors.RedisError, OSError, ValueError) as exc:  # TimeoutError is an OSError
            await self.close()
            raise self._translate(exc) from None  # what it came from may hold the password
        refused, reply = [], iter(replies)
        for write in writes:
            mine = list(itertools.islice(reply, NEWS if write.is_news else RENEWAL))
            if problem := self._problem_of(write, mine):
                refused.append((write, problem))
        return refused

    async def close(self) -> None:
        """Let the connection go; what is under way on it is left to its fate."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await client.aclose()
        except (errors.RedisError, OSError):
            pass  # it is gone, which is what was wanted

    async def _send(self, writes: Sequence[Write]) -> list[Any]:
        if self._client is None:
            self._client = connect(self._url, self._timeout)
        if not writes:
            await self._client.ping()
            return []
        async with self._client.pipeline(transaction=False) as pipeline:
            for write in writes:
                self._queue(pipeline, write)
            return await pipeline.execute(raise_on_error=False)

    def _queue(self, pipeline: Any, write: Write) -> None:
        names = self._names
        key, stream, live = names.execution(write.execution_id), names.stream(write.job_id), names.live(write.job_id)
        # GET makes SET refuse a key that holds no text: what somebody else keeps under this name is left alone.
        pipeline.set(key, write.record, px=max(round(write.ttl * 1000), 1), get=True)
        (pipeline.srem if write.is_over else pipeline.sadd)(live, write.execution_id)
        pipeline.pexpire(live, self._live_ms)
        if write.is_news:
            pipeline.xadd(stream, {"progress": write.record}, maxlen=self._stream_length, approximate=True)
            pipeline.pexpire(stream, self._ttl_ms)
            pipeline.publish(key, write.record)

    def _problem_of(self, write: Write, replies: Sequence[Any]) -> str | None:
        names = self._names
        stream, live = names.stream(write.job_id), names.live(write.job_id)
        keys = (names.execution(write.execution_id), live, live, stream, stream, None)
        for key, reply in zip(keys, replies, strict=False):
            if isinstance(reply, errors.ResponseError) and str(reply).startswith("WRONGTYPE"):
                return f"the key {key!r} holds something that is not ours; delete it, or choose another `prefix`"
            if isinstance(reply, Exception):
                raise self._translate(reply)  # the connection itself is sound
        return None

    def _translate(self, exc: Exception) -> RedisTrouble:
        return translate(exc, self.address, self._names.prefix)


def connect(url: str, timeout: float) -> Redis:
    """Make a client; it connects when it is first used. ValueError for a URL that is none."""
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),  # whoever calls knows better what to do next
        client_name="gnomon",
    )


def address_of(url: str) -> str:
    """Name the server of a URL, to be shown: without user, password and options. ValueError where it is none."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"expected a URL that begins with {', '.join(f'{one}://' for one in SCHEMES)}")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port of the URL is no number from 0 to 65535") from None
    if parts.scheme == "unix":
        return parts.path
    if not parts.path.strip("/").isdecimal() and parts.path.strip("/"):
        raise ValueError("the database of the URL is no number")  # redis-py would take 0 without a word
    return f"{parts.hostname or 'localhost'}:{port or 6379}{parts.path.rstrip('/')}"


def translate(exc: Exception, address: str, prefix: str) -> RedisTrouble:
    """Say what is wrong, what was expected, and what to do."""
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    match exc:
        case errors.NoPermissionError():
            kind, what = "permission", f"does not let the user do this: allow it the keys and channels {prefix}*"
        case errors.AuthenticationError() | errors.AuthorizationError():
            kind, what = "password", "refuses the user or the password: check `url`"
        case errors.ResponseError() if str(exc).startswith(("NOAUTH", "WRONGPASS")):
            kind, what = "password", "refuses the user or the password: check `url`"
        case errors.ReadOnlyError():
            kind, what = "replica", "is a replica, which cannot be written: name its master in `url`"
        case errors.OutOfMemoryError():
            kind, what = "memory", "has no memory left: raise its maxmemory, or let it evict keys"
        case errors.BusyLoadingError():
            kind, what = "away", "is loading its data"
        case errors.ResponseError():
            kind, what = "refusal", "refuses this: look at the server's log"
        case TimeoutError() | errors.TimeoutError():
            kind, what = "away", "does not answer in time"
        case _:
            kind, what = "away", "cannot be reached"
    return RedisTrouble(kind, f"Redis at {address} {what} ({said})")
