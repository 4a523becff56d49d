"""Which bodies count as lost: by the clock of Redis, and only where the channel could be reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from gnomon_celery.channel import Channel
from gnomon_celery.watch import HeartbeatWatch

HEARTBEAT = 5.0
"""Seconds: looked at each second, and lost after 15."""


class OneRun:
    """What the watch sees of a run."""

    def __init__(self) -> None:
        self.id, self.worker, self.heard_ms = "run", "worker@test", 0
        self.losses: list[str] = []

    def lose(self, message: str) -> None:
        self.losses.append(message)


class Reader:
    """What the watch sees of the reader."""

    empty_reads = 0

    def __init__(self, server: Server) -> None:
        self._server = server

    def has_read(self, _up_to_ms: int, _empty_reads: int) -> bool:
        return self._server.has_read


class Server:
    """A Redis whose clock a test moves, together with the kernel's."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.beat: float | None = self.now
        self.pause = 0.0
        self.has_read = True
        reader = cast(Any, Reader(self))
        clock = lambda: self.now  # noqa: E731 - read by each call
        self.watch = HeartbeatWatch(cast(Any, self), Channel("{p}"), HEARTBEAT, 60, reader, list, clock)

    def register_script(self, _script: str) -> Any:
        async def look(*, keys: Sequence[str], args: Sequence[str]) -> Any:
            self.now += self.pause
            score = b"" if self.beat is None else str(self.beat * 1000).encode()
            return [int(self.now * 1000), [score for _ in args]]

        return look


@pytest.fixture
def server() -> Server:
    return Server()


async def look_for(server: Server, run: OneRun, seconds: int, *, beats: bool = False, step: float = 1.0) -> None:
    for _ in range(int(seconds / step)):
        server.now += step
        if beats:
            server.beat = server.now
        await server.watch.check([cast(Any, run)])


async def test_a_body_is_lost_after_three_heartbeats(server: Server) -> None:
    run = OneRun()
    await look_for(server, run, 60, beats=True)
    await look_for(server, run, 14)
    assert not run.losses
    await look_for(server, run, 1)
    (message,) = run.losses
    assert "worker worker@test has given no sign of life of the run for 15 s" in message


async def test_an_outage_gives_each_worker_its_time_again(server: Server) -> None:
    run = OneRun()
    await look_for(server, run, 10, beats=True)
    server.now += 600  # Redis was away, or the kernel was suspended: nobody looked
    await look_for(server, run, 14)
    assert not run.losses
    await look_for(server, run, 2)
    assert run.losses


async def test_a_server_that_stood_still_is_an_outage(server: Server) -> None:
    run = OneRun()
    await look_for(server, run, 10, beats=True)
    server.pause = 60.0  # it is stopped, and answers when it goes on
    await look_for(server, run, 1)
    server.pause = 0.0
    await look_for(server, run, 14)
    assert not run.losses


async def test_a_body_is_not_lost_before_everything_was_read(server: Server) -> None:
    run = OneRun()
    server.beat, server.has_read = None, False  # its end is in the stream, perhaps
    await look_for(server, run, 60)
    assert not run.losses
    server.has_read = True
    await look_for(server, run, 1)
    assert run.losses
