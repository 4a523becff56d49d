"""The connection to Redis: one pipeline at a time, with a time limit, and driver errors translated into sentences."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gnomon import GnomonError
from gnomon_redis.progress_record import Names
from gnomon_redis.progress_state import RecordWrite

T = TypeVar("T")

SCHEMES = ("redis", "rediss", "unix")


class RedisServerError(GnomonError):
    """Redis accepts no writes now. `kind` is one word for the problem, so that each kind is logged once."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Connection:
    """One connection, opened on demand and closed after every error. `timeout` is in seconds."""

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

    async def write(self, writes: Sequence[RecordWrite]) -> list[tuple[RecordWrite, str]]:
        """Write records in one pipeline; return those refused because of what their keys hold, with the reason.

        Raise RedisServerError for every other error. How much of the pipeline was executed is not known then.
        """
        keys, replies = await self._limited(self._send(writes))
        refused, reply = [], iter(replies)
        for write, written in zip(writes, keys, strict=True):
            if problem := self._problem_of(written, list(itertools.islice(reply, len(written)))):
                refused.append((write, problem))
        return refused

    async def swap_marker(self, log_id: str, value: bytes) -> bytes | None:
        """Set the marker of a log, and return its old value, None if there was none."""
        return await self._limited(self._swap_marker(self._names.marker(log_id), value))

    async def _limited(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except asyncio.CancelledError:
            await self.close()  # it has unread replies, so no other call can use it
            raise
        except (errors.RedisError, OSError, ValueError) as exc:  # TimeoutError is an OSError
            await self.close()
            raise self._translate(exc) from None  # the cause may contain the password

    async def close(self) -> None:
        """Close the connection, also while a pipeline is in flight."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await client.aclose()
        except (errors.RedisError, OSError):
            pass  # it is closed either way

    def _connected(self) -> Redis:
        if self._client is None:
            self._client = connect(self._url, self._timeout)
        return self._client

    async def _send(self, writes: Sequence[RecordWrite]) -> tuple[list[list[str]], list[Any]]:
        """Send the writes; return the keys of the commands of each, and the replies to all."""
        client = self._connected()
        if not writes:
            await client.ping()
            return [], []
        async with client.pipeline(transaction=False) as pipeline:
            keys = [self._queue(pipeline, write) for write in writes]
            return keys, await pipeline.execute(raise_on_error=False)

    async def _swap_marker(self, key: str, value: bytes) -> bytes | None:
        client = self._connected()
        # With XX, because Redis 6.2 does not accept NX and GET together; and so no permission to read is needed.
        old: Any = await client.set(key, value, px=self._ttl_ms, xx=True, get=True)
        if old is None:
            await client.set(key, value, px=self._ttl_ms)
        return old  # type: ignore[no-any-return]

    def _queue(self, pipeline: Any, write: RecordWrite) -> list[str]:
        """Queue the commands of a write; return the key of each."""
        names = self._names
        key, stream, live = names.execution(write.execution_id), names.stream(write.job_id), names.live(write.job_id)
        keys = [key, live, live]
        # GET makes SET fail on a key of another type, so that foreign data under this name is not overwritten.
        pipeline.set(key, write.record, px=max(round(write.ttl * 1000), 1), get=True)
        (pipeline.srem if write.is_over else pipeline.sadd)(live, write.execution_id)
        pipeline.pexpire(live, self._live_ms)
        if write.is_over:
            ended, now = names.ended(write.job_id), time.time()
            pipeline.zadd(ended, {write.execution_id: now + write.ttl})
            pipeline.zremrangebyscore(ended, "-inf", now)
            pipeline.pexpire(ended, self._ttl_ms)
            keys += [ended] * 3
        if write.is_new:
            pipeline.xadd(stream, {"progress": write.record}, maxlen=self._stream_length, approximate=True)
            pipeline.pexpire(stream, self._ttl_ms)
            pipeline.publish(key, write.record)
            keys += [stream, stream, key]
        return keys

    def _problem_of(self, keys: Sequence[str], replies: Sequence[Any]) -> str | None:
        for key, reply in zip(keys, replies, strict=True):
            if isinstance(reply, errors.ResponseError) and str(reply).startswith("WRONGTYPE"):
                return f"the key {key!r} does not hold a progress record; delete it, or choose another `prefix`"
            if isinstance(reply, Exception):
                raise self._translate(reply)  # the connection itself is still usable
        return None

    def _translate(self, exc: Exception) -> RedisServerError:
        return translate(exc, self.address, self._names.prefix)


def connect(url: str, timeout: float) -> Redis:
    """Return a client, which connects on first use. Raise ValueError for an invalid URL."""
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),  # the caller decides about retries
        client_name="gnomon",
    )


def address_of(url: str) -> str:
    """Return the server of a URL for display: without user, password and options. Raise ValueError if it is invalid."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"expected a URL that begins with {', '.join(f'{one}://' for one in SCHEMES)}")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port in the URL must be a number from 0 to 65535") from None
    if parts.scheme == "unix":
        return parts.path
    if not parts.path.strip("/").isdecimal() and parts.path.strip("/"):
        raise ValueError("the database in the URL must be a number")  # redis-py would silently use 0
    return f"{parts.hostname or 'localhost'}:{port or 6379}{parts.path.rstrip('/')}"


def translate(exc: Exception, address: str, prefix: str) -> RedisServerError:
    """Translate an error of the driver into a sentence that says what to do."""
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    match exc:
        case errors.NoPermissionError():
            kind, what = (
                "permission",
                f"does not permit this: grant the user the keys and channels {prefix}*",
            )
        case errors.AuthenticationError() | errors.AuthorizationError():
            kind, what = "password", "rejects the user or the password: check `url`"
        case errors.ResponseError() if str(exc).startswith(("NOAUTH", "WRONGPASS")):
            kind, what = "password", "rejects the user or the password: check `url`"
        case errors.ReadOnlyError():
            kind, what = "replica", "is a read-only replica: set `url` to its master"
        case errors.OutOfMemoryError():
            kind, what = "memory", "is out of memory: raise its maxmemory, or configure an eviction policy"
        case errors.BusyLoadingError():
            kind, what = "away", "is loading its dataset"
        case errors.ResponseError():
            kind, what = "refusal", "rejects this command: check the server's log"
        case TimeoutError() | errors.TimeoutError():
            kind, what = "away", "does not respond in time"
        case _:
            kind, what = "away", "cannot be reached"
    return RedisServerError(kind, f"Redis at {address} {what} ({said})")
