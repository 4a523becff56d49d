"""Read the progress of runs from any program: one record, one run until it is over, or all runs of a job.

    with ProgressClient("redis://127.0.0.1") as client:
        for record in client.follow(execution_id):
            print(record.percent, record.message)

`AsyncProgressClient` is the same with `async with`, `await` and `async for`. Whoever follows gets the present state
first, then what changes, with no gap between; of changes in quick succession perhaps only the last. A server that is
away for a while is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import redis
import redis.asyncio
from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError  # noqa: A004 - those of redis are meant

from gnomon import GnomonError
from gnomon_redis.record import Names, ProgressRecord, decode

AWAY = (ConnectionError, TimeoutError, OSError)
PAUSE = 0.2
"""Seconds between two tries."""
PAGE = 100
MOST_SEEN = 10_000
"""Runs of which is known what was seen; those of long ago are forgotten."""


class ProgressGoneError(GnomonError, LookupError):
    """There is no progress of this execution: its id is wrong, it ended long ago, or its kernel is not heard of."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(
            f"there is no progress of execution {execution_id!r}: its id or the prefix is wrong, it ended longer ago "
            "than the tracker's `ttl`, or the kernel that ran it is not heard of"
        )
        self.execution_id = execution_id


class _Following:
    """What both clients know while they follow: what was seen of each run, and since when there is nothing to see."""

    def __init__(self, patience: float) -> None:
        self.unfinished: set[str] = set()
        self._patience = patience
        self._ages: dict[str, tuple[int, datetime]] = {}
        self._missing_since: float | None = None

    def news(self, texts: Iterable[bytes | None]) -> list[ProgressRecord]:
        """Keep the records that are newer than what was seen of their runs."""
        self._missing_since = None
        records = [decode(text) for text in texts if text is not None]
        return [record for record in records if self._is_news(record)]

    def missing(self, problem: Exception) -> None:
        """Learn that there is nothing to see; raises the problem where that has been so for too long."""
        now = time.monotonic()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since >= self._patience:
            raise problem

    def _is_news(self, record: ProgressRecord) -> bool:
        seen = self._ages.get(record.execution_id)
        if seen is not None and record.age <= seen:
            return False
        self._ages[record.execution_id] = record.age
        (self.unfinished.discard if record.is_over else self.unfinished.add)(record.execution_id)
        if len(self._ages) > MOST_SEEN:
            del self._ages[next(iter(self._ages))]
        return True


class ProgressClient:
    """Reads progress; `prefix` is that of the tracker, `timeout` the seconds that one question may take."""

    def __init__(self, url: str, *, prefix: str = "progress:", timeout: float = 5.0) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2, client_name="gnomon-client"
        )
        self._names = Names(prefix)
        self._look = timeout / 2

    def __enter__(self) -> Self:
        """Connect when the first question is asked."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the connections go."""
        self._redis.close()

    def get(self, execution_id: str) -> ProgressRecord | None:
        """Return the progress of a run as it stands, or None where there is none."""
        text: Any = self._redis.get(self._names.execution(execution_id))
        return None if text is None else decode(text)

    def live(self, job_id: str) -> list[ProgressRecord]:
        """Return the progress of the runs of a job that are not over."""
        records = [decode(text) for text in self._texts(job_id, ()) if text is not None]
        return [record for record in records if not record.is_over]

    def follow(self, execution_id: str, *, patience: float = 30.0) -> Iterator[ProgressRecord]:
        """Yield the present state of a run, then each that follows, until it is over.

        Where there is nothing for `patience` seconds, ProgressGoneError; where there is no server, redis' own error.
        """
        name, following = self._names.execution(execution_id), _Following(patience)
        while True:
            try:
                with self._redis.pubsub(  # type: ignore[no-untyped-call]
                    ignore_subscribe_messages=True
                ) as channel:
                    channel.subscribe(name)
                    while True:
                        # None is the answer to the subscription as well: only after it the key is read, so no gap.
                        told = channel.get_message(timeout=self._look)
                        text: Any = told["data"] if told else self._redis.get(name)
                        if text is None:
                            following.missing(ProgressGoneError(execution_id))
                            continue
                        for record in following.news([text]):
                            yield record
                            if record.is_over:
                                return
            except AWAY as exc:
                _wait_for(exc, following)
                time.sleep(PAUSE)

    def follow_job(self, job_id: str, *, patience: float = 30.0) -> Iterator[ProgressRecord]:
        """Yield the present state of all runs of a job that are not over, then what follows of all its runs, for ever.

        Where there is no server for `patience` seconds, redis' own error.
        """
        following, stream, last = _Following(patience), self._names.stream(job_id), None
        while True:
            try:
                if last is None:
                    newest: Any = self._redis.xrevrange(stream, count=1)
                    last = newest[0][0] if newest else b"0-0"
                    yield from following.news(self._texts(job_id, ()))
                found: Any = self._redis.xread({stream: last}, block=round(self._look * 1000), count=PAGE)
                entries, last = _entries(found, last)
                yield from following.news(entries or self._texts(job_id, following.unfinished))
            except AWAY as exc:
                _wait_for(exc, following)
                time.sleep(PAUSE)

    def _texts(self, job_id: str, others: Iterable[str]) -> list[bytes | None]:
        members: Any = self._redis.smembers(self._names.live(job_id))
        keys = _keys(self._names, members, others)
        texts: Any = self._redis.mget(keys) if keys else []
        return list(texts)


class AsyncProgressClient:
    """The same for asyncio."""

    def __init__(self, url: str, *, prefix: str = "progress:", timeout: float = 5.0) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2, client_name="gnomon-client"
        )
        self._names = Names(prefix)
        self._look = timeout / 2

    async def __aenter__(self) -> Self:
        """Connect when the first question is asked."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the connections go."""
        await self._redis.aclose()

    async def get(self, execution_id: str) -> ProgressRecord | None:
        """Return the progress of a run as it stands, or None where there is none."""
        text: Any = await self._redis.get(self._names.execution(execution_id))
        return None if text is None else decode(text)

    async def live(self, job_id: str) -> list[ProgressRecord]:
        """Return the progress of the runs of a job that are not over."""
        records = [decode(text) for text in await self._texts(job_id, ()) if text is not None]
        return [record for record in records if not record.is_over]

    async def follow(self, execution_id: str, *, patience: float = 30.0) -> AsyncIterator[ProgressRecord]:
        """Yield the present state of a run, then each that follows, until it is over.

        Where there is nothing for `patience` seconds, ProgressGoneError; where there is no server, redis' own error.
        """
        name, following = self._names.execution(execution_id), _Following(patience)
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(name)
                    while True:
                        # None is the answer to the subscription as well: only after it the key is read, so no gap.
                        told = await channel.get_message(timeout=self._look)
                        text: Any = told["data"] if told else await self._redis.get(name)
                        if text is None:
                            following.missing(ProgressGoneError(execution_id))
                            continue
                        for record in following.news([text]):
                            yield record
                            if record.is_over:
                                return
            except AWAY as exc:
                _wait_for(exc, following)
                await asyncio.sleep(PAUSE)

    async def follow_job(self, job_id: str, *, patience: float = 30.0) -> AsyncIterator[ProgressRecord]:
        """Yield the present state of all runs of a job that are not over, then what follows of all its runs, for ever.

        Where there is no server for `patience` seconds, redis' own error.
        """
        following, stream, last = _Following(patience), self._names.stream(job_id), None
        while True:
            try:
                if last is None:
                    newest: Any = await self._redis.xrevrange(stream, count=1)
                    last = newest[0][0] if newest else b"0-0"
                    texts: Iterable[bytes | None] = await self._texts(job_id, ())
                else:
                    found: Any = await self._redis.xread({stream: last}, block=round(self._look * 1000), count=PAGE)
                    entries, last = _entries(found, last)
                    texts = entries or await self._texts(job_id, following.unfinished)
                for record in following.news(texts):
                    yield record
            except AWAY as exc:
                _wait_for(exc, following)
                await asyncio.sleep(PAUSE)

    async def _texts(self, job_id: str, others: Iterable[str]) -> list[bytes | None]:
        members: Any = await self._redis.smembers(self._names.live(job_id))
        keys = _keys(self._names, members, others)
        texts: Any = await self._redis.mget(keys) if keys else []
        return list(texts)


def _keys(names: Names, members: Iterable[bytes], others: Iterable[str]) -> list[str]:
    """Name the keys of the runs of a set, and of others that were going when they were seen last."""
    return [names.execution(one) for one in sorted({*(member.decode() for member in members), *others})]


def _entries(found: Any, last: bytes) -> tuple[list[bytes], bytes]:
    """Take the records out of what XREAD returned, and the id after which to go on."""
    entries = found[0][1] if found else []
    return [fields[b"progress"] for _, fields in entries], entries[-1][0] if entries else last


def _wait_for(exc: Exception, following: _Following) -> None:
    """Let a server that is away have some time; one that refuses the password will not change its mind."""
    if isinstance(exc, AuthenticationError):
        raise exc
    following.missing(exc)
