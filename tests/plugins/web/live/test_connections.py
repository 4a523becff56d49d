"""How a WebSocket is refused and how it ends: by its login, its server, or a defect."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gnomon import Job, StoreUnavailableError
from gnomon.conversion import Secret
from gnomon_web.auth.tokens import Token
from gnomon_web.live import dashboard_feed, snapshots, websocket


async def quick() -> None: ...


QUICK = Job(id="quick", func=quick)


async def test_a_client_without_the_subprotocol_is_refused(serve: Any) -> None:
    async with serve() as site, site.open("/ws/live") as page:
        end = await page.ws.receive()

    assert (end.data, end.extra) == (4400, "expected the subprotocol gnomon.live.v1")


async def test_a_client_without_a_hello_is_disconnected(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_feed, "HELLO_LIMIT_S", 0.05)
    async with serve() as site, site.open("/ws/live", protocols=["gnomon.live.v1"]) as page:
        assert await page.end() == 4400


async def test_a_client_without_a_token_is_refused(serve: Any) -> None:
    token = Token("anna", "viewer", Secret("w4rm-Stone.Casts9"))
    async with serve(QUICK, tokens=[token]) as site:
        async with site.dashboard() as page:
            snapshot = await page.next()
        for path in ("/ws/live", "/ws/events", "/ws/progress/quick"):
            async with site.client.get(site.web.url + path, headers={"Authorization": "Bearer wrong"}) as answer:
                assert answer.status == 401

    assert (snapshot["role"], snapshot["actor"]) == ("viewer", "anna")


async def test_a_page_of_another_origin_is_refused(serve: Any) -> None:
    headers = {"Origin": "https://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    async with serve() as site, site.client.get(site.web.url + "/ws/live", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("path", ["/ws/live", "/ws/events", "/ws/progress/quick"])
async def test_a_connection_ends_with_its_login(serve: Any, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_S", 0.05)
    token = Token("anna", "viewer", Secret("w4rm-Stone.Casts9"))
    async with (
        serve(QUICK, tokens=[token]) as site,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": site.web.url}) as browser,
    ):
        await browser.post(site.web.url + "/login", json={"token": "w4rm-Stone.Casts9"})
        async with browser.ws_connect(site.web.url + path, protocols=["gnomon.live.v1"]) as ws:
            await browser.post(site.web.url + "/logout")

            while (await asyncio.wait_for(ws.receive(), 60)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert ws.close_code == 4401


async def test_a_store_outage_closes_the_connections_that_need_it(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: object, **more: object) -> None:
        raise StoreUnavailableError("the disk is full")

    async with serve(QUICK) as site, site.dashboard() as page:
        await page.next("snapshot")
        monkeypatch.setattr(site.kernel, "executions", away)
        monkeypatch.setattr(snapshots, "REUSE_S", -1.0)
        async with site.dashboard() as other:
            end = await other.ws.receive()
        await site.kernel.pause("quick")
        delta = await page.next("delta")

    assert (end.data, end.extra) == (1013, "cannot read the log now: the disk is full")
    assert [event["type"] for event in delta["events"]] == ["job_paused"], "the others are sent anyway"


async def test_a_defect_closes_one_connection_and_is_logged(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_feed, "VERSION", object())
    async with serve(QUICK) as site:
        with capture_logs() as logs:
            async with site.dashboard() as page:
                code = await page.end()
        async with site.open("/ws/events?after=0") as reader:
            assert (await reader.next())["type"] == "ready"

    assert code == 1011
    assert [line["path"] for line in logs if line["event"] == "websocket failed"] == ["/ws/live"]
