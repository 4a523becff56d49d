"""A TCP proxy whose connections a test can break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes connections on to the server at the port `upstream`, new ones while `is_open` is set.

    While `flows` is not set, connections stay open and nothing passes through them; while `answers_flow` is not set,
    no answers do. Each answer takes `delay_s` longer.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.answers_to_swallow = 0
        self.upstream = port
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.flows = asyncio.Event()
        self.flows.set()
        self.answers_flow = asyncio.Event()
        self.answers_flow.set()
        self.delay_s = 0.0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def part(self) -> None:
        """Cut all connections, and leave new ones without an answer until `join`."""
        self.is_open.clear()
        self.cut()

    def join(self) -> None:
        self.is_open.set()
        self.flows.set()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def close(self) -> None:
        """Cut every connection, and wait until nothing is left of them: their sockets belong to no later test."""
        self.cut()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        ends = {writer}
        self._open.add(writer)
        try:
            await self.is_open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
            ends.add(back)
            if writer.transport.is_closing():
                return  # it was cut meanwhile
            self._open.add(back)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._copy(reader, back))
                tasks.create_task(self._copy(there, writer, is_answer=True))
        except ConnectionError:
            pass  # the server is away
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()
                with suppress(ConnectionError):
                    await end.wait_closed()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if is_answer and self.answers_to_swallow:
                    self.answers_to_swallow -= 1
                    self.cut()
                    return
                await self.flows.wait()
                if is_answer:
                    await self.answers_flow.wait()
                if is_answer and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(int(url.rpartition(":")[2]))
    server = await asyncio.start_server(proxy._pass_on, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
