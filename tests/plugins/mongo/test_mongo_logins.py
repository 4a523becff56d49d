"""Logins of two servers, as on two machines: they share a database and a session_key, and no folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import Kernel
from gnomon.conversion import Secret
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Driver, DriverName
from gnomon_web import WebPlugin
from gnomon_web.auth.session_key import FILE_NAME
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

VIEWER = "Zq8v-3rWk-X5tL-of-the-viewer"
KEY = "b4Vd-9kTz-Q2mX-7wLp-H5nR-3sJc-Y8fG-1aKe"
LIMIT_S = 240


@pytest.fixture
def driver() -> Driver:
    """Nothing here is about the driver."""
    name: DriverName = "pymongo"
    return Driver(name)


async def test_logins_logouts_and_tickets_count_on_both_machines(
    make_store: Callable[..., MongoStore], tmp_path: Path
) -> None:
    config = Config(port=0, tokens=[Token("viewer", "viewer", Secret(VIEWER))], session_key=Secret(KEY))
    webs = [WebPlugin(config), WebPlugin(config)]
    async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
        for number, role in enumerate(("leader", "follower")):
            (folder := tmp_path / f"machine-{number}").mkdir()
            options: Any = {"role": role, "plugins": {"web": webs[number]}}
            await stack.enter_async_context(Kernel(store=make_store(spool=folder / "spool.db"), **options))
        client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))

        async def ask(web: WebPlugin, method: str, path: str, cookie: str, **options: Any) -> tuple[int, Any]:
            headers = {"Cookie": cookie, "Origin": web.url}
            async with client.request(method, web.url + path, headers=headers, **options) as answer:
                return answer.status, await answer.json()

        for here, there in (webs, reversed(webs)):
            async with client.post(here.url + "/login", json={"token": VIEWER}) as answer:
                cookie = answer.headers["Set-Cookie"].partition(";")[0]
            assert (await ask(there, "GET", "/scheduler/jobs", cookie))[0] == 200
            _, ticket = await ask(there, "POST", "/ws/ticket", cookie)
            async with client.ws_connect(f"{here.url}/ws/events?after=0&ticket={ticket['ticket']}") as socket:
                assert (await socket.receive_json())["type"] == "ready"
                assert (await ask(there, "POST", "/logout", cookie))[0] == 200
                assert [(await ask(web, "GET", "/scheduler/jobs", cookie))[0] for web in webs] == [401, 401]
                async for _ in socket:
                    pass
                assert socket.close_code == 4401

    assert list(tmp_path.rglob(FILE_NAME)) == []
