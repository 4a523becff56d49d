"""Reads the progress of runs from any program: one record, one run until it is over, or all runs of a job.

    with ProgressClient("redis://127.0.0.1") as client:
        for record in client.follow(execution_id):
            print(record.percent, record.message)

`AsyncProgressClient` is the same with `async with`, `await` and `async for`. A follower gets the current state first,
then every change, without a gap; of several quick changes it may get only the last. A server that is down is waited
for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import redis
import redis.asyncio
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - the ones of redis

from gnomon import GnomonError
from gnomon_redis.following import PAGE, START, FollowState
from gnomon_redis.progress_record import Names, ProgressRecord, decode

AWAY = (ConnectionError, TimeoutError, OSError)
PAUSE_S = 0.2
"""Between two attempts while the server is down."""


class ProgressGoneError(GnomonError, LookupError):
    """No progress found of this execution: its id is wrong, it ended long ago, or its kernel does not respond."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(
            f"no progress found of execution {execution_id!r}: its id or the prefix is wrong, it ended longer ago "
            "than the tracker's `ttl`, or its kernel writes no progress"
        )
        self.execution_id = execution_id


class ProgressClient:
    """Reads progress. `prefix` is the one of the tracker; `timeout` limits each command, in seconds."""

    def __init__(self, url: str, *, prefix: str = "progress:", timeout: float = 5.0) -> None:
        self._redis = redis.Redis.from_url(url, **_options(timeout))
        self._names = Names(prefix)
        self._look = timeout / 2

    def __enter__(self) -> Self:
        """Return the client; it connects on first use."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._redis.close()

    def get(self, execution_id: str) -> ProgressRecord | None:
        """Return the current progress of a run, or None."""
        text: Any = self._redis.get(self._names.execution(execution_id))
        return None if text is None else decode(text)

    def live(self, job_id: str) -> list[ProgressRecord]:
        """Return the progress of the runs of a job that are not over."""
        return _not_over(self._texts(job_id))

    def follow(self, execution_id: str, *, patience: float = 30.0) -> Iterator[ProgressRecord]:
        """Yield the current state of a run, then each change, until it is over.

        Raise ProgressGoneError without a record, and redis' own error without a server, for `patience` seconds.
        """
        name, following = self._names.execution(execution_id), FollowState(patience)
        while True:
            try:
                with self._redis.pubsub(  # type: ignore[no-untyped-call]
                    ignore_subscribe_messages=True
                ) as channel:
                    channel.subscribe(name)
                    while True:
                        # The reply to the subscription is None too. The key is read after it, so there is no gap.
                        told = channel.get_message(timeout=self._look)
                        text: Any = told["data"] if told else self._redis.get(name)
                        if text is None:
                            following.missing(ProgressGoneError(execution_id))
                            continue
                        for record in following.new_records([text]):
                            yield record
                            if record.is_over:
                                return
            except AWAY as exc:
                following.away(exc)
                time.sleep(PAUSE_S)

    def follow_job(
        self, job_id: str, *, patience: float = 30.0, on_reset: Callable[[], None] = lambda: None
    ) -> Iterator[ProgressRecord]:
        """Yield the current state of a job's runs that are not over, then each change of any of its runs, without end.

        The stream of a job is short. When a reader is too slow for it, `on_reset` is called and the runs that ended
        meanwhile are read from their records, which are kept for the tracker's `ttl`.

        Raise redis' own error if there is no server for `patience` seconds.
        """
        following, stream, wait = FollowState(patience), self._names.stream(job_id), round(self._look * 1000)
        while True:
            try:
                last = following.last
                if last is None:
                    following.begin(self._redis.xrevrange(stream, count=1), self._ended(job_id))
                    yield from following.new_records(self._texts(job_id))
                    continue
                entries = following.entries(self._redis.xread({stream: last}, block=wait, count=PAGE))
                if entries and following.has_gap(last, len(entries), self._redis.xread({stream: START}, count=1)):
                    on_reset()
                    others = following.unfinished | following.ended_since(self._ended(job_id))
                    yield from following.new_records(self._texts(job_id, others))
                yield from following.new_records(entries or self._texts(job_id, following.unfinished))
            except AWAY as exc:
                following.away(exc)
                time.sleep(PAUSE_S)

    def _ended(self, job_id: str) -> list[bytes]:
        found: Any = self._redis.zrange(self._names.ended(job_id), 0, -1)
        return list(found)

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
        """Return the client; it connects on first use."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def get(self, execution_id: str) -> ProgressRecord | None:
        """Return the current progress of a run, or None."""
        text: Any = await self._redis.get(self._names.execution(execution_id))
        return None if text is None else decode(text)

    async def live(self, job_id: str) -> list[ProgressRecord]:
        """Return the progress of the runs of a job that are not over."""
        return _not_over(await self._texts(job_id))

    async def follow(self, execution_id: str, *, patience: float = 30.0) -> AsyncIterator[ProgressRecord]:
        """Yield the current state of a run, then each change, until it is over.

        Raise ProgressGoneError without a record, and redis' own error without a server, for `patience` seconds.
        """
        name, following = self._names.execution(execution_id), FollowState(patience)
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(name)
                    while True:
                        # The reply to the subscription is None too. The key is read after it, so there is no gap.
                        told = await channel.get_message(timeout=self._look)
                        text: Any = told["data"] if told else await self._redis.get(name)
                        if text is None:
                            following.missing(ProgressGoneError(execution_id))
                            continue
                        for record in following.new_records([text]):
                            yield record
                            if record.is_over:
                                return
            except AWAY as exc:
                following.away(exc)
                await asyncio.sleep(PAUSE_S)

    async def follow_job(
        self, job_id: str, *, patience: float = 30.0, on_reset: Callable[[], None] = lambda: None
    ) -> AsyncIterator[ProgressRecord]:
        """Yield the current state of a job's runs that are not over, then each change of any of its runs, without end.

        The stream of a job is short. When a reader is too slow for it, `on_reset` is called and the runs that ended
        meanwhile are read from their records, which are kept for the tracker's `ttl`.

        Raise redis' own error if there is no server for `patience` seconds.
        """
        following, stream, wait = FollowState(patience), self._names.stream(job_id), round(self._look * 1000)
        while True:
            try:
                last = following.last
                if last is None:
                    following.begin(await self._redis.xrevrange(stream, count=1), await self._ended(job_id))
                    for record in following.new_records(await self._texts(job_id)):
                        yield record
                    continue
                entries = following.entries(await self._redis.xread({stream: last}, block=wait, count=PAGE))
                oldest: Any = await self._redis.xread({stream: START}, count=1) if entries else None
                if entries and following.has_gap(last, len(entries), oldest):
                    on_reset()
                    others = following.unfinished | following.ended_since(await self._ended(job_id))
                    for record in following.new_records(await self._texts(job_id, others)):
                        yield record
                for record in following.new_records(entries or await self._texts(job_id, following.unfinished)):
                    yield record
            except AWAY as exc:
                following.away(exc)
                await asyncio.sleep(PAUSE_S)

    async def _ended(self, job_id: str) -> list[bytes]:
        found: Any = await self._redis.zrange(self._names.ended(job_id), 0, -1)
        return list(found)

    async def _texts(self, job_id: str, others: Iterable[str] = ()) -> list[bytes | None]:
        members: Any = await self._redis.smembers(self._names.live(job_id))
        keys = _keys(self._names, members, others)
        texts: Any = await self._redis.mget(keys) if keys else []
        return list(texts)


def _options(timeout: float) -> dict[str, Any]:
    """Return the connection options of both clients."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,
        "client_name": "gnomon-client",
    }


def _keys(names: Names, members: Iterable[bytes], others: Iterable[str]) -> list[str]:
    """Return the keys of the runs of a set, and of others that were running when last seen."""
    return [names.execution(one) for one in sorted({*(member.decode() for member in members), *others})]


def _not_over(texts: Iterable[bytes | None]) -> list[ProgressRecord]:
    """Decode the records of runs that are not over."""
    records = [decode(text) for text in texts if text is not None]
    return [record for record in records if not record.is_over]
