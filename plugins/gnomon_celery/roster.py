"""The workers that are there, as they describe themselves in Redis, and the queues that they take from."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
from celery import Celery
from redis.asyncio import Redis

from gnomon.domain.workers import QueueState, WorkerState, WorkerView
from gnomon_celery.channel import worker_key, workers_key
from gnomon_celery.messages import WorkerInfo, worker_decoder

NO_QUEUE = "404"
"""The code with which AMQP says that a queue does not exist, and kombu for every other kind of broker."""
PREFORK = frozenset({"prefork", "processes"})


class Listed(msgspec.Struct, frozen=True):
    """A worker: what it says of itself, and when it said so."""

    info: WorkerInfo
    seen: datetime
    is_gone: bool

    @property
    def takes(self) -> bool:
        """Whether it takes new bodies."""
        return not self.is_gone and self.info.state == "online"

    @property
    def has_room(self) -> bool:
        """Whether it takes new bodies, and has a process or thread free."""
        return self.takes and len(self.info.active) < self.info.concurrency

    def state(self) -> WorkerState:
        """Return it as viewers see it."""
        info = self.info
        return WorkerState(
            name=info.name,
            node=info.node,
            state="gone" if self.is_gone else "stopping" if info.state == "stopping" else "online",
            pid=info.pid,
            pool=info.pool,
            concurrency=info.concurrency,
            active=0 if self.is_gone else len(info.active),
            queues=info.queues,
            versions=info.versions,
            since=info.started_at,
            seen=self.seen,
        )


async def list_workers(redis: Redis, prefix: str, silent_after: float) -> list[Listed]:
    """Return the workers that are there, and those that have gone without a word lately; sorted by name."""
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.zrange(workers_key(prefix), 0, -1, withscores=True)
        (seconds, micros), scores = await pipeline.execute()
    names = [(name.decode(), score) for name, score in scores]
    texts: Any = await redis.mget([worker_key(prefix, name) for name, _ in names]) if names else []
    now_ms = seconds * 1000 + micros // 1000
    found = []
    for (_, score), text in zip(names, texts, strict=True):
        if text is None:
            continue
        with contextlib.suppress(msgspec.DecodeError, ValueError):  # of another version
            info = worker_decoder.decode(text)
            is_gone = now_ms - score > silent_after * 1000
            found.append(Listed(info, datetime.fromtimestamp(score / 1000, UTC), is_gone))
    return sorted(found, key=lambda one: one.info.name)


def takers(workers: list[Listed]) -> Counter[str]:
    """Return how many workers take from each queue."""
    return Counter(queue for one in workers if one.takes for queue in one.info.queues)


def view(workers: list[Listed], lengths: dict[str, int | None]) -> WorkerView:
    """Return workers and queues as viewers see them."""
    counts = takers(workers)
    queues = [QueueState(name=name, workers=counts[name], length=lengths[name]) for name in sorted(lengths)]
    return WorkerView(workers=[one.state() for one in workers], queues=queues)


def queue_lengths(app: Celery, names: set[str]) -> dict[str, int | None]:
    """Return the number of messages in each queue; called in a thread. None where the broker does not tell it."""
    lengths: dict[str, int | None] = dict.fromkeys(names)
    with app.connection_for_write() as connection:
        for name in names:
            try:
                with connection.channel() as channel:
                    lengths[name] = channel.queue_declare(name, passive=True).message_count
            except Exception as exc:  # noqa: BLE001 - each kind of broker has its own errors
                if str(getattr(exc, "reply_code", "")) == NO_QUEUE:  # in Redis, one that is empty
                    lengths[name] = 0
    return lengths
