"""What the runner has from the beginning of a term of its kernel to the end."""

from __future__ import annotations

import msgspec
from redis.asyncio import Redis

from gnomon_celery.channel import Channel
from gnomon_celery.config import CeleryConfig
from gnomon_celery.reader import Late, StreamReader
from gnomon_celery.roster import Listed, list_workers
from gnomon_celery.sending import Sender
from gnomon_celery.watch import HEARTBEATS


class Term(msgspec.Struct, frozen=True):
    """One term: the channel of its log, and what sends and reads."""

    config: CeleryConfig
    channel: Channel
    redis: Redis
    sender: Sender
    reader: StreamReader
    late: Late

    @property
    def heartbeat(self) -> float:
        """The interval between two signs of life, in seconds."""
        return self.config.heartbeat.total_seconds()

    @property
    def silent_after(self) -> float:
        """The time without a sign of life after which a worker counts as gone, in seconds."""
        return HEARTBEATS * self.heartbeat

    @property
    def claim_ttl(self) -> int:
        """How long a claim is kept, in seconds."""
        return round(self.config.claim_ttl.total_seconds())

    @property
    def result_ttl(self) -> int:
        """How long what is reported is kept, in seconds."""
        return round(self.config.result_ttl.total_seconds())

    async def workers(self) -> list[Listed]:
        """Return the workers that describe themselves in Redis."""
        return await list_workers(self.redis, self.config.prefix, self.silent_after)
