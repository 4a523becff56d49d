from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gnomon import Kernel
from gnomon.conversion import Secret
from gnomon_web import WebPlugin
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

SECRETS = {role: f"Zq8v-3rWk-X5tL-of-the-{role}" for role in ("viewer", "operator", "admin")}


class Answered:
    """What came back."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.content_type
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def culprits(self) -> list[tuple[str, str]]:
        """Check that it is a problem, and return what it blames."""
        assert self.content_type == "application/problem+json", self.body
        problem = self.json
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return [(one["in"], one["name"]) for one in problem["errors"]]


class Served:
    """A running server: `await served("GET", path, as_="viewer")` asks it."""

    def __init__(self, client: aiohttp.ClientSession, kernel: Kernel, web: WebPlugin) -> None:
        self.client = client
        self.kernel = kernel
        self.web = web

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        as_: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answered:
        sent = dict(headers or {})
        if as_ is not None:
            sent["Authorization"] = f"Bearer {SECRETS[as_]}"
        async with self.client.request(method, self.web.url + path, headers=sent, **options) as response:
            return Answered(response, await response.read())

    async def log_in(self, role: str) -> dict[str, str]:
        """Return the cookie of a login, as a browser would send it, with its Origin."""
        answer = await self("POST", "/login", json={"token": SECRETS[role]})
        assert answer.status == 200, answer.body
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        host, port = self.web.address or ("", 0)
        return {"Cookie": cookie, "Origin": f"http://{host}:{port}"}


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What is logged: kept, and not printed, for that takes a second where a traceback is in it."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def secrets() -> dict[str, str]:
    """The tokens that `serve(guarded=True)` knows, by role; each is called as its role."""
    return SECRETS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine that nobody vouches for, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = ["openssl", *options.split(), "-addext", names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture
def serve(gnomon_kernel: Callable[..., Kernel]) -> Serve:
    """Start a kernel with its server on a free port: `async with serve(job, plugins=[...], **config) as ask`.

    With `guarded` there is a token for each role. Keys of the kernel go in `kernel={...}`.
    """

    @contextlib.asynccontextmanager
    async def start(
        *jobs: Any, plugins: Any = (), guarded: bool = False, kernel: Any = None, **config: Any
    ) -> AsyncIterator[Served]:
        if guarded:
            config["tokens"] = [Token(name=role, role=role, token=Secret(text)) for role, text in SECRETS.items()]  # type: ignore[arg-type]
        web = WebPlugin(Config(port=0, **config))
        async with (
            gnomon_kernel(*jobs, plugins=[web, *plugins], **(kernel or {})) as running,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        ):
            yield Served(client, running, web)

    return start
