"""A ticket opens one WebSocket, for half a minute, with the role of its sender."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from gnomon.testing import VirtualClock
from gnomon_web.auth import tickets
from gnomon_web.auth.roles import Identity
from gnomon_web.auth.tickets import Tickets

ANN = Identity("ann", "operator")
PATIENCE = 60.0


async def tick() -> None:
    pass


async def ticket(ask: Any, **credentials: Any) -> str:
    answer = await ask("POST", "/ws/ticket", **credentials)
    assert (answer.status, answer.json["expires_in"]) == (201, 30), answer.body
    return str(answer.json["ticket"])


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_a_ticket_of_any_role_opens_one_websocket(serve: Any, role: str) -> None:
    async with serve(tick, guarded=True) as ask:
        url = f"{ask.web.url}/ws/events?after=0&ticket={await ticket(ask, as_=role)}"
        async with ask.client.ws_connect(url) as socket:
            first = await socket.receive_json(timeout=PATIENCE)
        with pytest.raises(aiohttp.WSServerHandshakeError) as again:
            await ask.client.ws_connect(url)

    assert first["type"] == "ready"
    assert again.value.status == 401


async def test_a_ticket_is_for_nothing_but_websockets(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        value = await ticket(ask, as_="admin")
        read = await ask("GET", f"/scheduler/jobs?ticket={value}")
        act = await ask("POST", f"/scheduler/jobs/tick/trigger?ticket={value}")
        more = await ask("POST", f"/ws/ticket?ticket={value}")
        bearer = await ask("GET", "/scheduler/jobs", headers={"Authorization": f"Bearer {value}"})
        nobody = await ask("POST", "/ws/ticket")
        unknown = await ask("GET", "/ws/events?ticket=unknown")
        token = await ask("GET", "/ws/events?token=unknown")

    assert {answer.status for answer in (read, act, more, bearer, nobody)} == {401}
    assert (unknown.status, unknown.culprits) == (401, [("query", "ticket")])
    assert (token.status, token.culprits) == (400, [("query", "token")])


async def test_a_ticket_ends_with_the_login_that_it_was_made_for(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon_web.live.websocket.HEARTBEAT_S", 0.2)
    async with serve(tick, guarded=True) as ask:
        login = await ask.log_in("viewer")
        used, unused = [await ticket(ask, headers=login) for _ in range(2)]
        async with ask.client.ws_connect(f"{ask.web.url}/ws/events?ticket={used}") as socket:
            await socket.receive_json(timeout=PATIENCE)
            await ask("POST", "/logout", headers=login)
            refused = await ask("GET", f"/ws/events?ticket={unused}")
            while (message := await asyncio.wait_for(socket.receive(), PATIENCE)).type is aiohttp.WSMsgType.TEXT:
                pass
            code = socket.close_code

    assert refused.status == 401
    assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
    assert code == 4401


async def test_a_ticket_ends_after_half_a_minute() -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    issued = Tickets(clock)
    early, late = [issued.issue(ANN)[0] for _ in range(2)]

    await clock.advance(timedelta(seconds=29.9))
    assert issued.redeem(early) is ANN
    assert issued.redeem(early) is None
    await clock.advance(timedelta(seconds=0.1))
    assert issued.redeem(late) is None


async def test_tickets_that_nobody_uses_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS", 3)
    issued = Tickets(VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)))

    values = [issued.issue(ANN)[0] for _ in range(5)]

    assert [issued.redeem(value) for value in values] == [None, None, ANN, ANN, ANN]
