"""A worker whose every step a test decides: it speaks the channel as a real one, and runs nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from gnomon_celery.channel import BEAT, BEGIN, POST, Channel, claim_value, worker_key, workers_key
from gnomon_celery.messages import (
    Answered,
    Assignment,
    Begun,
    Ended,
    MessageOfWorker,
    WorkerInfo,
    answer_decoder,
)

PREFIX = "gnomon"


class ScriptedWorker:
    """Takes tasks from a queue of a Redis broker, and reports what the test wants."""

    def __init__(self, redis: Redis, name: str = "scripted@test", queue: str = "gnomon") -> None:
        self.redis = redis
        self.name = name
        self.queue = queue
        self.keys = [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]  # as kombu names them, urgent ones first
        self.taken: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._begin: Any = redis.register_script(BEGIN)
        self._post: Any = redis.register_script(POST)
        self._beat: Any = redis.register_script(BEAT)

    async def take(self, patience: float = 30.0) -> Assignment:
        """Receive the next task, and remember its message."""
        found: Any = await self.redis.brpop(self.keys, timeout=patience)
        assert found is not None, f"no task came to queue {self.queue}"
        message = json.loads(found[1])
        self.taken.append(message)
        _, kwargs, _ = json.loads(base64.b64decode(message["body"]))
        return msgspec.json.decode(kwargs["assignment"], type=Assignment)

    def number(self, assignment: Assignment) -> int:
        """Return the number of the next message of a run."""
        self._numbers[assignment.execution.id] = number = self._numbers.get(assignment.execution.id, 0) + 1
        return number

    async def begin(self, assignment: Assignment, delivery: str = "1-abc") -> str | None:
        """Claim a run and report that it begins; return the claim that was there before, if one was."""
        channel, run = Channel(assignment.channel), assignment.execution.id
        begun = Begun(id=run, n=self.number(assignment), worker=self.name, at=datetime.now(UTC))
        keys = [channel.claim(run), channel.stream, channel.alive]
        ttl = assignment.result_ttl
        args = [claim_value(delivery, self.name), assignment.claim_ttl, run, msgspec.json.encode([begun]), ttl]
        found: Any = await self._begin(keys=keys, args=args)
        return None if found == 1 else found.decode()

    async def post(
        self, assignment: Assignment, *messages: MessageOfWorker, is_running: bool = True, times: int = 1
    ) -> list[str]:
        """Post a batch; return the runs that are to stop."""
        channel, run = Channel(assignment.channel), assignment.execution.id
        batch = msgspec.json.encode(messages) if messages else b""
        running, over = ([run], []) if is_running else ([], [run])
        args = [batch, assignment.result_ttl, len(running), *running, *over]
        stopping: Any = []
        for _ in range(times):
            stopping, _ = await self._post(
                keys=[channel.stream, channel.alive, channel.cancel, channel.look], args=args
            )
        return [one.decode() for one in stopping]

    async def beat(self, assignment: Assignment) -> list[str]:
        """Post a sign of life of the process; return the runs that are to stop."""
        return await self.post(assignment)

    async def end(self, assignment: Assignment, **outcome: Any) -> None:
        """Report the end of a body."""
        run = assignment.execution.id
        ended = Ended(id=run, n=self.number(assignment), **{"execution_time": 0.5, **outcome})
        await self.post(assignment, ended, is_running=False)

    async def answer(self, assignment: Assignment, number: int) -> Answered:
        """Wait for the answer to an order."""
        key = Channel(assignment.channel).answer(assignment.execution.id, number)
        found: Any = await self.redis.blpop([key], timeout=30)
        assert found is not None, "no answer came"
        return answer_decoder.decode(found[1])

    @contextlib.asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Report the worker with every heartbeat, in a block."""

        async def announce() -> None:
            while True:
                await self.announce()
                await asyncio.sleep(0.2)

        await self.announce()
        task = asyncio.create_task(announce())
        try:
            yield
        finally:
            task.cancel()

    async def announce(self, **about: Any) -> None:
        """Report the worker itself, as with each heartbeat."""
        given: dict[str, Any] = {"pool": "prefork", "concurrency": 2, "queues": [self.queue], **about}
        info = WorkerInfo(name=self.name, node="test", pid=os.getpid(), started_at=datetime.now(UTC), **given)
        await self.redis.set(worker_key(PREFIX, self.name), msgspec.json.encode(info), ex=3600)
        await self._beat(keys=[workers_key(PREFIX)], args=[self.name, 3600])
