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
from types import TracebackType
from typing import Any, Self

import redis
import redis.asyncio
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - those of redis are meant

from gnomon import GnomonError
from gnomon_redis.following import Following
from gnomon_redis.record import Names, ProgressRecord, decode

AWAY = (ConnectionError, TimeoutError, OSError)
PAUSE = 0.2
"""Seconds between two tries."""
PAGE = 100


class ProgressGoneError(GnomonError, LookupError):
    """There is no progress of this execution: its id is wrong, it ended long ago, or its kernel is not heard of."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(
            f"there is no progress of execution {execution_id!r}: its id or the prefix is wrong, it ended longer ago "
            "than the tracker's `ttl`, or the kernel that ran it is not heard of"
        )
        self.execution_id = execution_id


class ProgressClient:
    """Reads progress; `prefix` is that of the tracker, `timeout` the seconds that one question may take."""

    def __init__(self, url: str, *, prefix: str = "progress:", timeout: float = 5.0) -> None:
        self._redis = redis.Redis.from_url(url, **_options(timeout))
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
        return _not_over(self._texts(job_id))

    def follow(self, execution_id: str, *, patience: float = 30.0) -> Iterator[ProgressRecord]:
        """Yield the present state of a run, then each that follows, until it is over.

        Where there is nothing for `patience` seconds, ProgressGoneError; where there is no server, redis' own error.
        """
        name, following = self._names.execution(execution_id), Following(patience)
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
                following.away(exc)
                time.sleep(PAUSE)

    def follow_job(self, job_id: str, *, patience: float = 30.0) -> Iterator[ProgressRecord]:
        """Yield the present state of all runs of a job that are not over, then what follows of all its runs, for ever.

        Where there is no server for `patience` seconds, redis' own error.
        """
        following, stream, wait = Following(patience), self._names.stream(job_id), round(self._look * 1000)
        while True:
            try:
                entries: list[bytes] = []
                if following.last is None:
                    following.begin(self._redis.xrevrange(stream, count=1))
                else:
                    entries = following.entries(self._redis.xread({stream: following.last}, block=wait, count=PAGE))
                yield from following.news(entries or self._texts(job_id, following.unfinished))
            except AWAY as exc:
                following.away(exc)
                time.sleep(PAUSE)

    def _texts(self, job_id: str, others: Iterable[str] = ()) -> list[bytes | None]:
        members: Any = self._redis.smembers(self._names.live(job_id))
        keys = _keys(self._names, members, others)
        texts: Any = self._redis.mget(keys) if keys else []
        return list(texts)


class AsyncProgressClient:
    """The same for asyncio."""

    def __init__(self, url: str, *, prefix: str = "progress:", timeout: float = 5.0) -> None:
        self._redis = redis.asyncio.Redis.from_url(url, **_options(timeout))
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
        return _not_over(await self._texts(job_id))

    async def follow(self, execution_id: str, *, patience: float = 30.0) -> AsyncIterator[ProgressRecord]:
        """Yield the present state of a run, then each that follows, until it is over.

        Where there is nothing for `patience` seconds, ProgressGoneError; where there is no server, redis' own error.
        """
        name, following = self._names.execution(execution_id), Following(patience)
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
                following.away(exc)
                await asyncio.sleep(PAUSE)

    async def follow_job(self, job_id: str, *, patience: float = 30.0) -> AsyncIterator[ProgressRecord]:
        """Yield the present state of all runs of a job that are not over, then what follows of all its runs, for ever.

        Where there is no server for `patience` seconds, redis' own error.
        """
        following, stream, wait = Following(patience), self._names.stream(job_id), round(self._look * 1000)
        while True:
            try:
                entries: list[bytes] = []
                if following.last is None:
                    following.begin(await self._redis.xrevrange(stream, count=1))
                else:
                    found: Any = await self._redis.xread({stream: following.last}, block=wait, count=PAGE)
                    entries = following.entries(found)
                for record in following.news(entries or await self._texts(job_id, following.unfinished)):
                    yield record
            except AWAY as exc:
                following.away(exc)
                await asyncio.sleep(PAUSE)

    async def _texts(self, job_id: str, others: Iterable[str] = ()) -> list[bytes | None]:
        members: Any = await self._redis.smembers(self._names.live(job_id))
        keys = _keys(self._names, members, others)
        texts: Any = await self._redis.mget(keys) if keys else []
        return list(texts)


def _options(timeout: float) -> dict[str, Any]:
    """How both clients connect."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,
        "client_name": "gnomon-client",
    }


def _keys(names: Names, members: Iterable[bytes], others: Iterable[str]) -> list[str]:
    """Name the keys of the runs of a set, and of others that were going when they were seen last."""
    return [names.execution(one) for one in sorted({*(member.decode() for member in members), *others})]


def _not_over(texts: Iterable[bytes | None]) -> list[ProgressRecord]:
    """Read the records of runs that go on."""
    records = [decode(text) for text in texts if text is not None]
    return [record for record in records if not record.is_over]
