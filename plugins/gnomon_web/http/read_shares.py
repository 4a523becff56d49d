"""Shares of callers: none can take all readers of the store, or fill the memory with answers that it does not read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from aiohttp import hdrs, web

from gnomon.wire.problems import TOO_MANY_READS
from gnomon_web.auth.roles import Identity
from gnomon_web.errors import ApiError

T = TypeVar("T")

AT_ONCE: Final = 2
"""Slow reads of one caller that run at once. SQLite has three threads for lists."""
ANSWERS_AT_ONCE: Final = 16
"""Answers of one caller that are made or sent at once: each may have 4 MiB, and its client may not read it."""
LARGE_BODY: Final = 64 * 1024
"""Bytes of a request's body from which on it takes a turn."""
LARGE_AT_ONCE: Final = 2
"""Requests of one caller with large bodies that are read and answered at once: each takes several times its size."""
MAX_WAITING: Final = 256
"""Answers, slow reads or large requests of one caller that wait for their turn; further ones are refused."""
DEEP_OFFSET: Final = 1_000
"""Rows from which on skipping them is slow."""


class Shares:
    """Up to `at_once` turns of each caller at once; `waiting` further ones wait for theirs."""

    def __init__(self, at_once: int, waiting: int, of_what: str) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._of_what = of_what
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    async def enter(self, identity: Identity) -> Callable[[], None]:
        """Wait for a turn and return what ends it; ApiError 429 if too many are waiting."""
        name = identity.name
        if self._users[name] >= self._most:
            detail = f"{name!r} has {self._users[name]} {self._of_what} in progress: wait for some of them"
            raise ApiError(TOO_MANY_READS, detail, headers={hdrs.RETRY_AFTER: "1"})
        turns = self._turns.setdefault(name, asyncio.Semaphore(self._at_once))
        self._users[name] += 1
        try:
            await turns.acquire()
        except BaseException:
            self._leave(name)
            raise
        is_held = True

        def end() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                turns.release()
                self._leave(name)

        return end

    def _leave(self, name: str) -> None:
        self._users[name] -= 1
        if not self._users[name]:
            del self._users[name], self._turns[name]


class ReadShares:
    """What callers have in progress: answers that are made or sent, slow reads, and requests with large bodies."""

    def __init__(self) -> None:
        self.answers = Shares(ANSWERS_AT_ONCE, MAX_WAITING, "answers")
        self._large = Shares(LARGE_AT_ONCE, MAX_WAITING, "requests with large bodies")
        self._slow = Shares(AT_ONCE, MAX_WAITING, "searches and deep pages")

    @asynccontextmanager
    async def body_of(self, request: web.Request, identity: Identity) -> AsyncIterator[None]:
        """Wait for the caller's turn if the body of the request is large, or of unknown size; ApiError 429."""
        size = request.content_length
        if not request.can_read_body or (size is not None and size < LARGE_BODY):
            yield
            return
        end = await self._large.enter(identity)
        try:
            yield
        finally:
            end()

    async def slow(self, identity: Identity, read: Callable[[], Awaitable[T]]) -> T:
        """Await `read()`, a search or a deep page, when it is the caller's turn; ApiError 429.

        A read whose caller no longer waits goes on in the store, so it keeps its turn until it has ended.
        """
        end = await self._slow.enter(identity)
        task = asyncio.ensure_future(_awaited(read))
        task.add_done_callback(lambda done: _end(end, done))
        return await asyncio.shield(task)


def _end(end: Callable[[], None], done: asyncio.Future[T]) -> None:
    end()
    if not done.cancelled():
        done.exception()  # the caller may be gone, and then nobody else retrieves it


async def _awaited(read: Callable[[], Awaitable[T]]) -> T:
    return await read()


READ_SHARES = web.AppKey("read_shares", ReadShares)
