from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from gnomon import Kernel
from gnomon_web import WebPlugin
from gnomon_web.config import Config

Serve = Callable[..., contextlib.AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture
def serve(gnomon_kernel: Callable[..., Kernel]) -> Serve:
    """Start a kernel with its server on a free port; gives a client whose paths count from the server's address.

    `serve(*jobs, plugins=[...], **config)`; the client has the kernel and the plugin as attributes.
    """

    @contextlib.asynccontextmanager
    async def start(*jobs: Any, plugins: Any = (), headers: Any = None, **config: Any) -> AsyncIterator[Any]:
        web = WebPlugin(Config(port=0, **config))
        async with (
            gnomon_kernel(*jobs, plugins=[web, *plugins]) as kernel,
            aiohttp.ClientSession(headers=headers) as client,
        ):
            yield Served(client, kernel, web)

    return start


class Served:
    """A running server: requests to it, its kernel and its plugin."""

    def __init__(self, client: aiohttp.ClientSession, kernel: Kernel, web: WebPlugin) -> None:
        self.client = client
        self.kernel = kernel
        self.web = web

    async def __call__(self, method: str, path: str, **options: Any) -> Answered:
        async with self.client.request(method, self.web.url + path, **options) as response:
            body = await response.read()
            return Answered(response, body)


class Answered:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.content_type
        self.body = body

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.body)
