"""Logins where several processes serve one log: each counts in all of them, and so does its end."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import AccessDenied, Kernel, LoggedIn, StoreUnavailableError
from gnomon.conversion import Secret
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.auth.session_key import FILE_NAME
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config
from web_servers import TOKENS, Server

LIMIT_S = 240


async def three(start: Any) -> list[Server]:
    """Start a process that leads, and two that follow."""
    leader = await start("leader")
    return [leader, *await asyncio.gather(start("follower"), start("follower"))]


async def close_code_of(socket: Any) -> int:
    """Read what a WebSocket receives until the server closes it; return the code."""
    async for _ in socket:
        pass
    return int(socket.close_code)


async def test_a_login_is_valid_in_every_process_at_once(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        servers = await three(start)
        for number in range(6):
            cookie = await servers[number % 3].log_in("viewer")
            others = [await server.reads(cookie) for server in servers]
            assert others == [200, 200, 200], number


async def test_logins_at_all_processes_at_the_same_time_are_all_kept(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        servers = await three(start)
        cookies = await asyncio.gather(*(servers[number % 3].log_in("operator") for number in range(30)))
        statuses = [await servers[(number + 1) % 3].reads(cookie) for number, cookie in enumerate(cookies)]
        lists = [(await server.ask("GET", "/sessions", as_="admin"))[1] for server in servers]
        for server in servers:
            await server.stop()
        again = await start("leader")
        after_restart = [await again.reads(cookie) for cookie in cookies]

    assert statuses == after_restart == [200] * 30
    assert [len({one["id"] for one in listed}) for listed in lists] == [30, 30, 30]


async def test_a_logout_counts_in_every_process_before_it_is_answered(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        servers = await three(start)
        for number in range(6):
            cookie = await servers[number % 3].log_in("viewer")
            assert [await server.reads(cookie) for server in servers] == [200, 200, 200]  # all of them know it
            status, _ = await servers[(number + 1) % 3].act("POST", "/logout", cookie)
            after = await asyncio.gather(*(server.reads(cookie) for server in servers))
            assert (status, after) == (200, [401, 401, 401]), number


async def test_an_admin_ends_logins_and_their_websockets_in_every_process(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        servers = await three(start)
        cookies = [await server.log_in("viewer") for server in servers]
        kept = await servers[0].log_in("operator")
        sockets = [await server.socket("", cookies[(at + 1) % 3]) for at, server in enumerate(servers)]
        for socket in sockets:
            await socket.receive_json()
        other = await servers[2].socket("", kept)
        status, ended = await servers[1].ask("DELETE", "/sessions?name=viewer", as_="admin")
        after = [await server.reads(cookie) for server in servers for cookie in cookies]
        codes = await asyncio.gather(*map(close_code_of, sockets))

        assert (status, len(ended), after, codes) == (200, 3, [401] * 9, [4401] * 3)
        assert [await server.reads(kept) for server in servers] == [200, 200, 200]
        assert not other.closed
        await other.close()


async def test_an_end_that_another_process_was_faster_with_is_recorded_once(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, follower = await start("leader"), await start("follower")
        cookie = await leader.log_in("viewer")
        assert await follower.reads(cookie) == 200
        (login,) = (await follower.ask("GET", "/sessions", as_="admin"))[1]
        ends = await asyncio.gather(
            *(server.ask("DELETE", f"/sessions/{login['id']}", as_="admin") for server in (leader, follower) * 3)
        )
        await follower.stop()
        await leader.stop()
        again = await start("leader")
        history = (await again.ask("GET", "/scheduler/history", as_="admin"))[1]["history"]

    assert sorted(status for status, _ in ends) == [200, 404, 404, 404, 404, 404]
    assert [entry["action"] for entry in history].count("log_out") == 1


async def test_a_login_outlives_the_process_that_answered_it(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        first, second, third = await start("auto"), await start("auto"), await start("follower")
        at_follower = await third.log_in("viewer")
        await third.kill()
        at_leader = await first.log_in("operator")
        ended = await first.log_in("admin")
        await first.act("POST", "/logout", ended)
        await first.kill()  # the second one leads now
        statuses = [await second.reads(cookie) for cookie in (at_follower, at_leader, ended)]
        new = await second.log_in("viewer")
        statuses.append(await second.reads(new))

    assert statuses == [200, 200, 401, 200]


async def test_a_reload_without_a_token_ends_its_logins_in_every_process(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, follower = await start("leader"), await start("follower")
        viewer, admin = await leader.log_in("viewer"), await follower.log_in("admin")
        socket = await leader.socket("", viewer)
        await socket.receive_json()
        await follower.reload({name: token for name, token in TOKENS.items() if name != "viewer"})
        statuses = [await server.reads(cookie) for server in (leader, follower) for cookie in (viewer, admin)]

        assert statuses == [401, 200, 401, 200]
        assert await close_code_of(socket) == 4401


async def test_a_ticket_opens_one_websocket_at_any_process(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, follower = await start("leader"), await start("follower")
        for issuer, redeemer in ((leader, follower), (follower, leader)):
            by_token = await issuer.ask("POST", "/ws/ticket", as_="viewer")
            by_login = await issuer.act("POST", "/ws/ticket", await issuer.log_in("viewer"))
            for _, ticket in (by_token, by_login):
                query = f"&ticket={ticket['ticket']}"
                async with redeemer.socket(query) as socket:
                    assert (await socket.receive_json())["type"] == "ready"
                for server in (issuer, redeemer):
                    with pytest.raises(aiohttp.WSServerHandshakeError) as again:
                        await server.socket(query)
                    assert again.value.status == 401


async def test_a_ticket_of_a_login_that_ended_elsewhere_opens_nothing(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, follower = await start("leader"), await start("follower")
        cookie = await leader.log_in("viewer")
        _, ticket = await follower.act("POST", "/ws/ticket", cookie)
        await leader.act("POST", "/logout", cookie)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await follower.socket(f"&ticket={ticket['ticket']}")

    assert refused.value.status == 401


async def test_wrong_tokens_count_over_all_processes(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        servers = [await start("leader", failed_logins=6), await start("follower", failed_logins=6)]
        for _ in range(20):  # right ones do not count
            await servers[1].log_in("viewer")
        tries = [await servers[at % 2].ask("POST", "/login", json={"token": "wrong"}) for at in range(8)]
        locked = [(await server.ask("POST", "/login", json={"token": TOKENS["viewer"]}))[0] for server in servers]

    assert [status for status, _ in tries] == [401] * 6 + [429] * 2
    assert locked == [429, 429]


async def test_wrong_tokens_in_a_burst_count_over_all_processes(start: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        servers = [await start("leader", failed_logins=6), await start("follower", failed_logins=6)]
        tries = (servers[at % 2].ask("POST", "/login", json={"token": "wrong"}) for at in range(30))
        statuses = [status for status, _ in await asyncio.gather(*tries)]

    assert sorted(statuses) == [401] * 6 + [429] * 24


@pytest.fixture
async def follower(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Server, Server, Kernel]]:
    """Start a process that leads, and a follower in this one that does not wait for long where nobody leads."""
    monkeypatch.setattr("gnomon.following.passed_orders.ORDER_LIMIT_S", 0.2)
    monkeypatch.setattr("gnomon_web.plugin.HOUSEKEEPING_S", 0.1)
    leader = await start("leader")
    tokens = [Token(role, role, Secret(text)) for role, text in TOKENS.items()]  # type: ignore[arg-type]
    web = WebPlugin(Config(port=0, tokens=tokens))
    kernel = Kernel(store=SqliteStore(tmp_path / "log.db"), role="follower", plugins={"web": web})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client, kernel:
        yield leader, Server(leader.process, web.url, client), kernel


async def test_where_nobody_leads_no_login_begins_and_those_that_are_open_go_on(follower: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, server, _ = follower
        cookie = await leader.log_in("viewer")
        await leader.kill()
        status, problem = await server.ask("POST", "/login", json={"token": TOKENS["viewer"]})

        assert (status, problem["type"].rpartition("#")[2]) == (503, "no-leader")
        assert await server.reads(cookie) == 200
        assert (await server.ask("GET", "/sessions", as_="admin"))[1][0]["name"] == "viewer"


async def test_a_logout_where_nobody_leads_counts_here_and_elsewhere_as_soon_as_somebody_does(
    follower: Any, start: Any
) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, server, _ = follower
        cookie, other = await leader.log_in("viewer"), await leader.log_in("operator")
        await leader.kill()
        status, problem = await server.act("POST", "/logout", cookie)
        revoked, _ = await server.ask("DELETE", "/sessions?name=operator", as_="admin")
        here = [await server.reads(cookie), await server.reads(other)]
        again = await start("leader")
        there = [200, 200]
        while there != [401, 401]:
            there = [await again.reads(cookie), await again.reads(other)]
            await asyncio.sleep(0.01)

    assert (status, revoked, here, there) == (503, 503, [401, 401], [401, 401])
    assert "has ended in this process, and ends in the others when that can be stored" in problem["detail"]


async def test_a_follower_that_cannot_read_the_log_does_not_accept_what_it_knew(
    follower: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StoreUnavailableError("the disk is away")

    async with asyncio.timeout(LIMIT_S):
        leader, server, _ = follower
        cookie = await leader.log_in("viewer")
        before = await server.reads(cookie)
        with monkeypatch.context() as outage:
            outage.setattr(SqliteStore, "checkpoint", away)
            status, problem = await server.act("GET", "/session", cookie)
            more = [(await server.act(*call, cookie))[0] for call in (("GET", "/scheduler/jobs"), ("GET", "/livez"))]
        after = await server.reads(cookie)

    assert (before, status, after, more) == (200, 503, 200, [503, 200])
    assert problem["detail"] == "this login cannot be checked now: the disk is away"


async def test_no_secret_is_in_the_log_and_others_may_read_no_file(start: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with asyncio.timeout(LIMIT_S):
            leader, follower = await start("leader"), await start("follower")
            cookie = await follower.log_in("viewer")
            _, ticket = await follower.ask("POST", "/ws/ticket", as_="operator")
            async with leader.socket(f"&ticket={ticket['ticket']}") as socket:
                await socket.receive_json()
            await leader.ask("POST", "/login", json={"token": "a-wrong-token-of-ours"})
            for server in (follower, leader):
                await server.stop()
    finally:
        os.umask(before)
    connection = sqlite3.connect(tmp_path / "log.db")
    connection.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
    connection.close()

    key = (tmp_path / FILE_NAME).read_bytes()
    secrets = [key, key.hex().encode(), b64encode(key), b"a-wrong-token", *(one.encode() for one in TOKENS.values())]
    secrets += [cookie.rpartition(".")[2].encode(), *(part.encode() for part in ticket["ticket"].split("."))]
    for file in tmp_path.iterdir():
        if file.name not in {FILE_NAME, "backup.db"} or file.name == "backup.db":
            content = file.read_bytes() if file.is_file() else b""
            assert [secret for secret in secrets if secret in content] == [], file.name
        if file.name != "backup.db":
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file.name


async def test_facts_about_access_wait_for_a_kernel_that_leads(start: Any, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        leader, follower = await start("leader"), await start("follower")
        cookie = await leader.log_in("viewer")
        while not (await follower.ask("GET", "/scheduler/history", as_="viewer"))[1]["history"]:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)
        await leader.kill()
        refused = await follower.act("POST", "/scheduler/jobs/time/pause", cookie)
        wrong = await follower.ask("GET", "/scheduler/jobs", headers={"Authorization": "Bearer not-a-token-of-ours"})
        async with Kernel(store=SqliteStore(tmp_path / "log.db"), role="leader") as kernel:
            found: list[Any] = []
            while len(found) < 2:
                found = [event for event in await kernel.events() if isinstance(event, AccessDenied)]
                await asyncio.sleep(0.01)
            logins = [event for event in await kernel.events() if isinstance(event, LoggedIn)]

    assert (refused[0], wrong[0], len(logins)) == (403, 401, 1)
    assert [(event.actor, event.reason) for event in found] == [
        ("viewer", "insufficient-role"),
        ("nobody", "invalid-token"),
    ]


async def test_processes_with_a_key_from_the_config_need_no_common_folder(start: Any, tmp_path: Path) -> None:
    key = "b4Vd-9kTz-Q2mX-7wLp-H5nR-3sJc-Y8fG-1aKe"
    async with asyncio.timeout(LIMIT_S):
        servers = [await start("leader", session_key=key), await start("follower", session_key=key)]
        cookie = await servers[0].log_in("viewer")
        statuses = [await server.reads(cookie) for server in servers]

    assert statuses == [200, 200]
    assert not (tmp_path / FILE_NAME).exists()
    assert key not in json.dumps([path.read_bytes().decode("latin-1") for path in tmp_path.iterdir() if path.is_file()])
