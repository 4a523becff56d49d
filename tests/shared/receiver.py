"""A real HTTP server that receives messages, and answers them as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web

from servers import PATIENCE

Answer = int | Literal["garbage", "reset", "hang"] | web.Response
"""A status, a whole answer, or how a broken server behaves."""


class Receiver:
    """Keeps the bodies of requests by the path, and answers with `answers[path]`, one after the other, then with 200.

    A request without an answer yet (`hang`) waits until the client goes away.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.accepted: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, list[Answer]] = {}
        self.always: dict[str, Answer] = {}
        self.url = ""
        self._change = asyncio.Event()

    def to(self, path: str) -> list[Any]:
        """Return the bodies that were received on a path."""
        return [body for where, body in self.received if where == path]

    def accepted_by(self, path: str) -> list[Any]:
        """Return the bodies that were answered with a status of success."""
        return [body for where, body in self.accepted if where == path]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until requests have made something true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._change.clear()
                await self._change.wait()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await (request.json() if "json" in request.content_type else request.text())
        path = request.path
        self.received.append((path, body))
        self.headers.append(dict(request.headers))
        queue = self.answers.get(path, [])
        answer = queue.pop(0) if queue else self.always.get(path, 200)
        self._change.set()
        if answer == "hang":
            await asyncio.Event().wait()
        if answer in {"garbage", "reset"}:
            assert request.transport is not None
            if answer == "garbage":
                request.transport.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            request.transport.abort() if answer == "reset" else request.transport.close()
            return web.Response()
        response = answer if isinstance(answer, web.Response) else web.Response(status=int(answer), text="as asked")
        if 200 <= response.status < 300:
            self.accepted.append((path, body))
        return response


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port of this machine."""
    receiver, app = Receiver(), web.Application()
    app.router.add_route("*", "/{path:.*}", receiver._receive)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
