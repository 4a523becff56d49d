"""A kernel with an outbox, as its own process: its job fails five times, and both destinations receive each failure."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import aiohttp

from gnomon import (
    Destination,
    Duration,
    Event,
    Failed,
    Job,
    Kernel,
    KernelApi,
    Outbox,
    check_answer,
    hookimpl,
)
from gnomon_sqlite import SqliteStore

PATHS = ("/first", "/second")


class Pager:
    """Posts the id of each failed run to two paths of a server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.outbox = Outbox("pager", [self._destination(path) for path in PATHS])

    def _destination(self, path: str) -> Destination:
        async def post(event: Event) -> None:
            async with (
                aiohttp.ClientSession() as session,
                session.post(self.url + path, json=event.stream) as answer,
            ):
                check_answer(answer.status)

        return Destination(
            name=path, wants=lambda event: isinstance(event, Failed), send=post, longest_pause=Duration(milliseconds=50)
        )

    @hookimpl
    def lifespan(self, kernel: KernelApi) -> AbstractAsyncContextManager[None]:
        return self.outbox.run(kernel)

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        self.outbox.note(events)


def make(database: str, url: str) -> Kernel:
    return Kernel(store=SqliteStore(database), jobs=[Job(id="broken", func=lambda: 1 / 0)], plugins=[Pager(url)])


async def main(database: str, url: str) -> None:
    async with make(database, url) as kernel:
        for _ in range(5):
            await kernel.trigger("broken", when_full="wait")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
