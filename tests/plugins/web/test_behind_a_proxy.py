"""What docs/how-to/behind-a-proxy.md shows works: its configuration in a real nginx, its code in a real browser."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from servers import NginxServer, find_chromium, find_nginx, missing

PAGE = Path(__file__).parents[3] / "docs/how-to/behind-a-proxy.md"
PATIENCE = 60.0
NAME = "gnomon.example"


async def tick() -> None:
    pass


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


def adapted(text: str, changes: Mapping[str, str]) -> str:
    """Replace what a reader adapts."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


# --- nginx ---


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[NginxServer]:
    server = NginxServer(find_nginx(), tmp_path)
    yield server
    server.clean_up()


class Outside:
    """A client on the other side of nginx, which calls the server by its public name."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session = session
        self.origin = f"https://{NAME}:{port}"
        self.where = f"https://127.0.0.1:{port}"
        self.headers = {"Host": f"{NAME}:{port}"}

    async def __call__(self, method: str, path: str, headers: Mapping[str, str], **options: Any) -> Any:
        options |= {"headers": {**self.headers, **headers}, "ssl": False}
        async with self.session.request(method, self.where + path, **options) as response:
            return response, await response.read()

    def websocket(self, path: str, headers: Mapping[str, str]) -> Any:
        return self.session.ws_connect(self.where + path, headers={**self.headers, **headers}, ssl=False)


@pytest.fixture
def behind(serve: Any, nginx: NginxServer, certificate: tuple[Path, Path]) -> Any:
    @asynccontextmanager
    async def start() -> AsyncIterator[tuple[Outside, Any]]:
        public_url = f"https://{NAME}:{nginx.port}"
        async with serve(tick, guarded=True, public_url=public_url, trusted_proxies=["127.0.0.1"]) as ask:
            cert, key = certificate
            nginx.blocks = adapted(
                block("nginx", "proxy_pass"),
                {
                    "listen 443 ssl": f"listen 127.0.0.1:{nginx.port} ssl",
                    "/etc/ssl/gnomon.example.pem": str(cert),
                    "/etc/ssl/private/gnomon.example.key": str(key),
                    "http://127.0.0.1:8000": ask.web.url,
                },
            )
            nginx.start()
            yield Outside(ask.client, nginx.port), ask

    return start


async def test_calls_and_their_refusals_pass_through_nginx(behind: Any, secrets: dict[str, str]) -> None:
    bearer = {"Authorization": f"Bearer {secrets['operator']}"}
    trigger = ("POST", "/scheduler/jobs/tick/trigger")
    async with behind() as (outside, _):
        listed, body = await outside("GET", "/scheduler/jobs", bearer)
        own, _ = await outside(*trigger, {**bearer, "Origin": outside.origin, "Sec-Fetch-Site": "same-origin"})
        foreign, _ = await outside(*trigger, {**bearer, "Origin": "https://evil.example"})
        other_name, _ = await outside("GET", "/scheduler/jobs", {**bearer, "Host": "evil.example"})
        nobody, _ = await outside("GET", "/scheduler/jobs", {})

    assert (listed.status, b'"tick"' in body) == (200, True)
    assert (own.status, foreign.status, other_name.status, nobody.status) == (202, 403, 421, 401)
    assert "max-age" in listed.headers["Strict-Transport-Security"]


async def test_a_login_through_nginx_is_secure_and_known_by_the_address_of_its_client(
    behind: Any, secrets: dict[str, str]
) -> None:
    invented = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.7"}
    async with behind() as (outside, ask):
        login, _ = await outside(
            "POST", "/login", {"Origin": outside.origin, **invented}, json={"token": secrets["viewer"]}
        )
        cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Origin": outside.origin}
        async with outside.websocket("/ws/events", cookie) as socket:
            ready = await socket.receive_json(timeout=PATIENCE)
        sessions = (await ask("GET", "/sessions", as_="admin")).json

    assert login.status == 200
    assert login.headers["Set-Cookie"].startswith("__Host-")
    assert "secure" in login.headers["Set-Cookie"].lower()
    assert ready["type"] == "ready"
    assert [one["address"] for one in sessions] == ["127.0.0.1"]


async def test_a_ticket_opens_a_websocket_through_nginx_and_no_token_is_in_its_log(
    behind: Any, nginx: NginxServer, secrets: dict[str, str]
) -> None:
    bearer = {"Authorization": f"Bearer {secrets['viewer']}"}
    async with behind() as (outside, ask):
        answer, _ = await outside("POST", "/ws/ticket", bearer)
        value = (await answer.json())["ticket"]
        async with outside.websocket(f"/ws/progress/tick?ticket={value}", {"Origin": outside.origin}) as socket:
            first = await socket.receive_json(timeout=PATIENCE)
            await ask.kernel.trigger("tick")
            frames = [(await socket.receive_json(timeout=PATIENCE))["type"] for _ in range(3)]
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await outside.websocket(f"/ws/progress/tick?ticket={value}", {"Origin": outside.origin})
        nginx.stop()
        log = (nginx.folder / "access.log").read_text(encoding="utf-8")

    assert (first["type"], frames) == ("snapshot", ["scheduled", "started", "succeeded"])
    assert "/ws/ticket" in log
    assert secrets["viewer"] not in log


# --- a development proxy ---

VITE = "http://localhost:5173"


@pytest.mark.parametrize(
    ("host", "allowed", "status"),
    [("localhost:5173", [], 202), (None, [], 403), (None, [VITE], 202)],
    ids=["it leaves the host alone", "it changes the host", "it changes the host, and the page is allowed"],
)
async def test_a_page_of_a_development_server_acts_through_its_proxy(
    serve: Any, host: str | None, allowed: list[str], status: int
) -> None:
    headers = {"Origin": VITE, "Sec-Fetch-Site": "same-origin"} | ({"Host": host} if host else {})
    async with serve(tick, guarded=True, base_path="/api", allowed_origins=allowed) as ask:
        answer = await ask("POST", "/scheduler/jobs/tick/trigger", as_="operator", headers=headers)

    assert answer.status == status


# --- a page of another origin, in a browser ---

CALLS = """
async ([server, token]) => {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'X-Request-ID': 'req_1' };
  const jobs = await (await fetch(`${server}/scheduler/jobs`, { headers })).json();
  const run = await fetch(`${server}/scheduler/jobs/tick/trigger?force=true`, { method: 'POST', headers });
  const refused = await fetch(`${server}/scheduler/jobs`);
  const socket = await openEvents(server, token);
  const first = await new Promise((resolve, reject) => {
    socket.onmessage = (event) => resolve(JSON.parse(event.data).type);
    socket.onclose = () => reject(new Error('closed'));
  });
  return [jobs[0].id, run.status, run.headers.get('Location') !== null, refused.status, first];
}
"""
FAILS = """
async ([server, token]) => {
  const tries = [
    () => fetch(`${server}/scheduler/jobs`, { headers: { Authorization: `Bearer ${token}` } }),
    () => fetch(`${server}/scheduler/jobs/tick/trigger`, { method: 'POST', body: '{}' }),
    () => openEvents(server, token),
  ];
  return Promise.all(tries.map((one) => one().then(() => 'allowed', () => 'refused')));
}
"""


@asynccontextmanager
async def page_server() -> AsyncIterator[str]:
    """Serve an empty page; yields its origin."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def chromium() -> str:
    """Return a Chromium, for Playwright."""
    if importlib.util.find_spec("playwright") is None:
        missing("chromium", "there is no Playwright: pip install playwright")
    return find_chromium()


async def test_a_page_of_an_allowed_origin_calls_and_opens_a_websocket_and_other_pages_do_not(
    serve: Any, secrets: dict[str, str], chromium: str
) -> None:
    from playwright.async_api import async_playwright

    patience: Any = {"timeout": 90_000}
    async with (
        page_server() as ours,
        page_server() as other,
        serve(tick, guarded=True, allowed_origins=[ours]) as ask,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], **patience)
        page = await browser.new_page()
        page.set_default_timeout(patience["timeout"])
        arguments = [ask.web.url, secrets["operator"]]

        async def outcome(origin: str, code: str) -> Any:
            await page.goto(f"{origin}/")
            await page.add_script_tag(content=block("js", "openEvents"))
            return await page.evaluate(code, arguments)

        allowed = await outcome(ours, CALLS)
        refused = await outcome(other, FAILS)
        await browser.close()

    assert allowed == ["tick", 202, True, 401, "ready"]
    assert refused == ["refused", "refused", "refused"]
