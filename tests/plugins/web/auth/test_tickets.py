"""A ticket opens one WebSocket, for half a minute, with the role of its sender."""

from __future__ import annotations

import asyncio
from base64 import b64encode, urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from gnomon import NoLeaderError
from gnomon.conversion import Secret
from gnomon.engine.claims import Claims
from gnomon.testing import VirtualClock
from gnomon_web.auth.access_log import AccessLog
from gnomon_web.auth.authenticator import Authenticator
from gnomon_web.auth.roles import Identity
from gnomon_web.auth.session_key import SessionKey
from gnomon_web.auth.sessions import Sessions
from gnomon_web.auth.shared_claims import SharedClaims
from gnomon_web.auth.tickets import Tickets
from gnomon_web.auth.tokens import Token, digest_of
from gnomon_web.config import Config

ANNS = "w4rm-Stone.Casts9"
ANN = Identity("ann", "operator", token=digest_of(ANNS))
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


class Log:
    """A log of which a test has several processes: each counts the uses of a ticket by itself, or all together."""

    def __init__(self, *, has_leader: bool = True) -> None:
        self.clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.log_id = "0" * 24
        self._claims = Claims(self.clock)
        self._has_leader = has_leader

    async def claim(self, name: str, *, limit: int = 1, period_s: float, uses: int = 1) -> float:
        if not self._has_leader:
            raise NoLeaderError("nobody leads")
        return self._claims.claim(name, limit, period_s, uses)

    def process(self) -> Tickets:
        kernel: Any = self
        sessions = Sessions(kernel, SessionKey(b"k" * 32, True))
        config = Config(tokens=[Token("ann", "operator", Secret(ANNS))])
        claims = SharedClaims(kernel)
        return Tickets(claims, Authenticator(config, claims, sessions, AccessLog(kernel)))


async def test_a_ticket_ends_after_half_a_minute() -> None:
    log = Log()
    tickets = log.process()
    early, late = [tickets.issue(ANN)[0] for _ in range(2)]

    await log.clock.advance(timedelta(seconds=29.9))
    assert await tickets.redeem(early) == ANN
    assert await tickets.redeem(early) is None
    await log.clock.advance(timedelta(seconds=0.1))
    assert await tickets.redeem(late) is None


async def test_a_ticket_is_used_once_in_all_processes() -> None:
    log = Log()
    here, there = log.process(), log.process()
    one, two = [here.issue(ANN)[0] for _ in range(2)]

    assert [await there.redeem(one), await here.redeem(one)] == [ANN, None]
    assert sorted(await asyncio.gather(here.redeem(two), there.redeem(two)), key=str) == [ANN, None]


async def test_each_process_accepts_a_ticket_once_while_nobody_leads() -> None:
    log = Log(has_leader=False)
    here, there = log.process(), log.process()
    value, _ = here.issue(ANN)

    assert [await tickets.redeem(value) for tickets in (here, there, here, there)] == [ANN, ANN, None, None]


@pytest.mark.parametrize("value", ["", ".", "x", "\udce9", f".{'0' * 64}", f"e30.{'0' * 64}"])
async def test_a_forged_ticket_is_refused(value: str) -> None:
    assert await Log().process().redeem(value) is None


async def test_a_ticket_says_neither_the_token_nor_its_digest() -> None:
    value, _ = Log().process().issue(ANN)

    text = urlsafe_b64decode(value.partition(".")[0] + "==")
    assert ANN.token is not None
    for secret in (ANNS.encode(), ANN.token, ANN.token.hex().encode(), b64encode(ANN.token)):
        assert secret not in text
