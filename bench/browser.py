"""Chromium and the bytes that a page gets from its server, for the benchmarks of the dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import Self

from playwright.async_api import Browser, async_playwright

FLAGS = ("--no-sandbox", "--disable-gpu")


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Chromium."""
    async with async_playwright() as playwright:
        program = os.environ.get("GNOMON_TEST_CHROMIUM") or shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        yield browser
        await browser.close()


class CountingProxy:
    """Passes the bytes of TCP connections on, and counts those from the server: all that comes over the network."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server
        self.received = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, from_browser: asyncio.StreamReader, to_browser: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(
                self._pass(from_browser, to_server, counts=False), self._pass(from_server, to_browser, counts=True)
            )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool) -> None:
        try:
            while part := await reader.read(1 << 16):
                self.received += len(part) if counts else 0
                writer.write(part)
                await writer.drain()
        finally:
            writer.close()
