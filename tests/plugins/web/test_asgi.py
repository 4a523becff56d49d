"""The server behind FastAPI, on a real uvicorn: HTTP, WebSockets, addresses of clients, refusals."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import fastapi
import pytest
import uvicorn

from gnomon import GnomonError, Job, Kernel
from gnomon.clock import SystemClock
from gnomon.conversion import Secret
from gnomon.testing import make_kernel
from gnomon_web import AsgiProxy, Config, Token, WebPlugin

SECRET = "Zq8v-3rWk-X5tL-of-the-operator"
BEARER = {"Authorization": f"Bearer {SECRET}"}
TOKENS = [Token("ops", "operator", Secret(SECRET))]


def double(number: int = 1) -> int:
    return 2 * number


def make_web(**keys: object) -> WebPlugin:
    settings = {"port": 0, "base_path": "/gnomon", "tokens": TOKENS, "trusted_proxies": ["127.0.0.1"], **keys}
    return WebPlugin(Config(**settings))  # type: ignore[arg-type]


class Server(uvicorn.Server):
    def __init__(self, app: fastapi.FastAPI) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, ws="websockets-sansio", proxy_headers=False))
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class Site:
    def __init__(self, client: aiohttp.ClientSession, kernel: Kernel) -> None:
        self.client = client
        self.kernel = kernel

    async def get(self, path: str, **options: Any) -> aiohttp.ClientResponse:
        return await self._read(await self.client.get(path, **options))

    async def post(self, path: str, **options: Any) -> aiohttp.ClientResponse:
        return await self._read(await self.client.post(path, **options))

    async def _read(self, answer: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        await answer.read()
        return answer


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    web = make_web()
    proxy = AsgiProxy(web)
    kernel = make_kernel(Job(id="double", func=double), plugins=[web], clock=SystemClock())

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        async with kernel, proxy:
            yield

    app = fastapi.FastAPI(lifespan=lifespan)
    app.mount("/gnomon", proxy)

    @app.get("/")
    async def hello() -> str:
        return "hello"

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server, port = Server(app), listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        await server.is_up.wait()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield Site(client, kernel)
        server.should_exit = True
        await serving


async def test_http_is_passed_on_below_the_prefix_with_status_headers_and_body(site: Site) -> None:
    assert await (await site.get("/")).json() == "hello"
    assert (await site.get("/gnomon/livez")).status == 200
    assert (await site.get("/gnomon/scheduler/jobs")).status == 401
    answer = await site.post("/gnomon/scheduler/jobs/double/trigger", json={"kwargs": {"number": 4}}, headers=BEARER)
    record = await (await site.get(answer.headers["Location"], headers=BEARER)).json()

    assert (answer.status, record["kwargs"], record["actor"]) == (202, {"number": 4}, "ops")
    page = await site.get("/gnomon/")
    assert 'src="/gnomon/ui/' in await page.text()
    assert page.headers["X-Frame-Options"] == "DENY"


async def test_a_login_of_a_page_holds_and_a_foreign_page_is_refused(site: Site) -> None:
    own = {"Origin": str(site.client._base_url).rstrip("/")}
    foreign = await site.post("/gnomon/login", json={"token": SECRET}, headers={"Origin": "http://evil.example"})
    login = await site.post("/gnomon/login", json={"token": SECRET}, headers=own)

    assert foreign.status == 403
    assert login.status == 200, await login.text()
    cookies = {cookie.key: cookie.value for cookie in login.cookies.values()}
    assert (await site.get("/gnomon/scheduler/jobs", cookies=cookies)).status == 200


async def test_a_websocket_is_passed_on_in_both_directions_until_one_side_closes(site: Site) -> None:
    async with site.client.ws_connect("/gnomon/ws/events?after=0", headers=BEARER) as ws:
        triggered = await site.kernel.trigger("double")
        while triggered.execution.id not in await ws.receive_str(timeout=60):
            pass
        await ws.close()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.client.ws_connect("/gnomon/ws/events")
    assert refused.value.status in {401, 403}


async def test_the_server_sees_the_client_behind_the_proxy(site: Site) -> None:
    for _ in range(12):  # more wrong tokens than an address may send in a minute
        last = await site.post("/gnomon/login", json={"token": "wrong"}, headers={"X-Forwarded-For": "198.51.100.7"})

    assert last.status == 429
    actions = [event for event in await site.kernel.events() if event.type == "access_denied"]
    assert {getattr(event, "address", None) for event in actions} == {"127.0.0.1"}


async def test_without_a_running_server_the_answer_says_what_to_do() -> None:
    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    await AsgiProxy(make_web())({"type": "http", "headers": []}, receive, send)

    assert sent[0]["status"] == 503
    assert "enter the proxy, in the lifespan" in str(sent[1]["body"])


@pytest.mark.parametrize("keys", [{"tokens": [], "trusted_proxies": []}, {"trusted_proxies": []}])
def test_a_server_that_would_not_know_its_clients_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(GnomonError, match="needs tokens, trusted_proxies"):
        AsgiProxy(make_web(**keys))
