"""Single sign-on and keys where the processes behind one public address are two kernels on one log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

import oidc_provider
from gnomon import Kernel
from gnomon.conversion import Secret
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.auth.oidc_config import Oidc
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config
from web_servers import TOKENS

PUBLIC = "https://gnomon.example"
LIMIT_S = 240


class Browser:
    """Visits one address, behind which a load balancer chooses a server for each request."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client
        self.cookies: dict[str, str] = {}

    async def get(self, server: WebPlugin, path: str) -> tuple[int, Any]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Host": "gnomon.example", "Cookie": cookie, "Accept": "text/html"}
        async with self.client.get(server.url + path, headers=headers, allow_redirects=False) as answer:
            for line in answer.headers.getall("Set-Cookie", ()):
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, answer.headers.get("Location") or await answer.text()


@asynccontextmanager
async def two(path: Path, *configs: Config) -> AsyncIterator[list[WebPlugin]]:
    servers = [WebPlugin(config) for config in configs]
    async with AsyncExitStack() as stack:
        for server, role in zip(servers, ("leader", "follower"), strict=True):
            plugins = {"web": server}
            await stack.enter_async_context(Kernel(store=SqliteStore(path), role=role, plugins=plugins))  # type: ignore[arg-type]
        yield servers


async def test_a_sign_on_that_begins_at_one_process_ends_at_another(tmp_path: Path) -> None:
    provider = oidc_provider.Provider(time.time)
    async with asyncio.timeout(LIMIT_S), provider.server, AsyncExitStack() as stack:
        secret = Secret(oidc_provider.CLIENT_SECRET)
        oidc = Oidc(
            issuer=provider.issuer, client_id=oidc_provider.CLIENT_ID, client_secret=secret, roles={"operator": ["ops"]}
        )
        config = Config(port=0, oidc=oidc, public_url=PUBLIC, trusted_proxies=["127.0.0.1"])
        leader, follower = await stack.enter_async_context(two(tmp_path / "log.db", config, config))
        client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        for begins, ends in ((leader, follower), (follower, leader)):
            browser = Browser(client)
            status, location = await browser.get(begins, "/login/oidc")
            async with client.get(URL(location, encoded=True), allow_redirects=False) as back:
                callback = back.headers["Location"].removeprefix(PUBLIC)
            flow = dict(browser.cookies)
            done, page = await browser.get(ends, callback)
            reads = [(await browser.get(server, "/scheduler/jobs"))[0] for server in (leader, follower)]
            browser.cookies = flow  # an attacker has copied the address and the cookie
            again = [await browser.get(server, callback) for server in (leader, follower)]

            assert (status, done, page, reads) == (303, 303, "/", [200, 200])
            assert [code for code, _ in again] == [401, 401]
            assert all("has been used before" in text for _, text in again)


async def test_a_process_with_another_key_says_why_logins_are_not_valid(tmp_path: Path, logged: list[Any]) -> None:
    tokens = [Token(role, role, Secret(text)) for role, text in TOKENS.items()]  # type: ignore[arg-type]
    configs = [Config(port=0, tokens=tokens, state_dir=tmp_path / name) for name in ("one", "other")]
    async with (
        asyncio.timeout(LIMIT_S),
        two(tmp_path / "log.db", *configs) as servers,
        aiohttp.ClientSession() as client,
    ):
        async with client.post(servers[0].url + "/login", json={"token": TOKENS["viewer"]}) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        async with client.get(servers[1].url + "/scheduler/jobs", headers={"Cookie": cookie}) as answer:
            status = answer.status
        admin = {"Authorization": f"Bearer {TOKENS['admin']}"}
        for _ in range(2):
            async with client.get(servers[1].url + "/sessions", headers=admin):
                pass

    warned = [line["event"] for line in logged if "signs logins with another key" in line["event"]]
    assert (status, len(warned)) == (401, 1)
    assert "give all processes the same session_key" in warned[0]
