"""Wall links: what a screen may see with one, who makes and revokes them, and what ends them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from gnomon.cli import main
from gnomon.conversion import Secret
from gnomon.domain.records import ActionQuery
from gnomon_sqlite.store import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_web.auth import sessions
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

ON_WALL = ("/scheduler/stats/today", "/scheduler/forecast")
OTHERS = ("/scheduler/jobs", "/scheduler/history", "/scheduler/logs", "/wall-links", "/sessions", "/metrics")
OPS, EVE = "w4rm-Stone.Casts9", "k0ld-River.Runs7!"


async def tick() -> None:
    """A job."""


async def made(ask: Any, as_: str = "operator", **options: Any) -> Any:
    answer = await ask("POST", "/wall-links", as_=as_, json={"name": "hall", **options})
    assert answer.status == 201, answer.body
    return answer.json


async def screen(ask: Any, secret: str) -> dict[str, str]:
    """Return the headers of a browser that has opened a link."""
    answer = await ask("POST", "/login", json={"token": secret})
    assert answer.status == 200, answer.body
    host, port = ask.web.address
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    return {"Cookie": cookie.partition(";")[0], "Origin": f"http://{host}:{port}"}


async def reads(ask: Any, browser: dict[str, str], path: str = ON_WALL[0]) -> int:
    return int((await ask("GET", path, headers=browser)).status)


async def test_a_screen_sees_the_wall_and_nothing_else(serve: Any) -> None:
    async with serve(tick, guarded=True, plugins=[StatsPlugin()]) as ask:
        link = await made(ask)
        browser = await screen(ask, link["secret"])
        allowed = [await reads(ask, browser, path) for path in ON_WALL]
        refused = [await ask("GET", path, headers=browser) for path in OTHERS]
        acted = await ask("POST", "/scheduler/jobs/tick/pause", headers=browser)
        ticket = await ask("POST", "/ws/ticket", headers=browser)
        who = (await ask("GET", "/session", headers=browser)).json
        bearer = {"Authorization": f"Bearer {link['secret']}"}
        by_bearer = [await reads(ask, bearer), await reads(ask, bearer, "/scheduler/jobs")]
        run = (await ask.kernel.trigger("tick")).execution.id
        url = f"{ask.web.url}/ws/live"
        async with ask.client.ws_connect(url, headers=browser, protocols=["gnomon.live.v1"]) as live:
            await live.send_json({"t": "hello", "topics": [f"log:{run}"]})
            frames = [await live.receive_json()]
            while frames[-1]["t"] != "delta":
                await live.send_json({"t": "ack", "seq": frames[-1].get("seq", 0)})
                if len(frames) == 1:
                    await ask.kernel.trigger("tick")
                frames.append(await live.receive_json())
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await ask.client.ws_connect(f"{ask.web.url}/ws/events", headers=browser)

    assert allowed == [200, 200]
    assert [answer.status for answer in refused] == [403] * len(OTHERS)
    assert refused[0].json["detail"] == "this login is a link for a wall, which shows the wall alone"
    assert (acted.status, ticket.status, by_bearer) == (403, 403, [200, 403])
    assert (who["name"], who["role"], who["is_link"]) == ("wall hall", "viewer", True)
    assert {frame["t"] for frame in frames} & {"snapshot", "log"} == {"snapshot"}


async def test_operators_revoke_their_own_links_and_admins_all(serve: Any) -> None:
    tokens = [Token("ops", "operator", Secret(OPS)), Token("eve", "operator", Secret(EVE))]
    roles = {"ops": OPS, "eve": EVE}
    async with serve(tick, tokens=tokens) as ask:

        async def as_(name: str, method: str, path: str, **options: Any) -> Any:
            return await ask(method, path, headers={"Authorization": f"Bearer {roles[name]}"}, **options)

        link = (await as_("ops", "POST", "/wall-links", json={"name": "hall", "days": 7})).json
        browser = await screen(ask, link["secret"])
        seen = [len((await as_(name, "GET", "/wall-links")).json) for name in roles]
        path = f"/wall-links/{link['link']['id']}"
        foreign = await as_("eve", "DELETE", path)
        before = await reads(ask, browser)
        ended = await as_("ops", "DELETE", path)
        after = await reads(ask, browser)
        again = await as_("ops", "DELETE", path)
        history = (await ask.kernel.actions(ActionQuery())).items

    assert seen == [1, 0]
    assert (foreign.status, before, ended.status, after, again.status) == (404, 200, 200, 401, 404)
    assert (link["link"]["creator"], ended.json["name"]) == ("ops", "wall hall")
    acts = [(act.actor, act.action, act.detail) for act in history]
    assert ("ops", "log_in", "link from 127.0.0.1") in acts
    assert ("ops", "log_out", "revoked of wall hall") in acts


async def test_an_admin_sees_and_revokes_the_links_of_others(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        link = (await made(ask))["link"]
        [listed] = (await ask("GET", "/wall-links", as_="admin")).json
        [open_login] = (await ask("GET", "/sessions", as_="admin")).json
        ended = await ask("DELETE", f"/wall-links/{link['id']}", as_="admin")
        by_viewer = await ask("POST", "/wall-links", as_="viewer", json={"name": "hall"})

    assert (listed, open_login["id"]) == (link, link["id"])
    assert (ended.status, by_viewer.status) == (200, 403)


async def test_a_link_ends_with_the_token_that_made_it_and_not_with_a_logout_of_a_screen(serve: Any) -> None:
    def config(*tokens: Token) -> Config:
        return Config(port=0, tokens=list(tokens))

    ops, eve = Token("ops", "operator", Secret(OPS), tags=["a"]), Token("eve", "operator", Secret(EVE))
    async with serve(tick, tokens=[ops, eve], plugins=[StatsPlugin()]) as ask:
        answer = await ask("POST", "/wall-links", json={"name": "x"}, headers={"Authorization": f"Bearer {OPS}"})
        secret = answer.json["secret"]
        browser = await screen(ask, secret)
        foreseen = (await ask("GET", "/scheduler/forecast", headers=browser)).json
        await ask("POST", "/logout", headers=browser)
        after_logout = await reads(ask, await screen(ask, secret), "/scheduler/forecast")
        viewer = Token("ops", "viewer", Secret(OPS), tags=["a"])
        await ask.kernel.reload_plugins({"web": config(viewer, eve)})
        with_less = await reads(ask, browser, "/scheduler/forecast")
        await ask.kernel.reload_plugins({"web": config(eve)})
        without = await reads(ask, browser, "/scheduler/forecast")
        wrong = await ask("POST", "/login", json={"token": secret})

    assert foreseen["jobs"] == []  # the token is limited to other jobs, and so is its link
    assert (after_logout, with_less, without, wrong.status) == (200, 200, 401, 401)


async def test_links_survive_a_restart_and_the_log_alone_is_not_enough_to_use_one(serve: Any, tmp_path: Path) -> None:
    def log() -> dict[str, Any]:
        return {"store": SqliteStore(tmp_path / "gnomon.db")}

    async with serve(tick, guarded=True, kernel=log()) as ask:
        kept, revoked = await made(ask), await made(ask)
        await ask("DELETE", f"/wall-links/{revoked['link']['id']}", as_="operator")
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("gnomon.db*"))
    async with serve(tick, guarded=True, kernel=log()) as ask:
        status = await reads(ask, await screen(ask, kept["secret"]))
        ended = await ask("POST", "/login", json={"token": revoked["secret"]})
        forged = await ask("POST", "/login", json={"token": f"gnomon-session.{kept['link']['id']}.{'0' * 64}"})

    assert (status, ended.status, forged.status) == (200, 401, 401)
    assert kept["link"]["id"].encode() in stored
    assert kept["secret"].rpartition(".")[2].encode() not in stored


async def test_one_creator_cannot_end_the_logins_of_others_and_a_login_is_no_link(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_LINKS_OF_CREATOR", 2)
    async with serve(tick, guarded=True) as ask:
        browser = await ask.log_in("viewer")
        links = [await made(ask, name=f"wall {number}") for number in range(4)]
        statuses = [(await ask("POST", "/login", json={"token": link["secret"]})).status for link in links]
        value = browser["Cookie"].partition("=")[2]
        by_cookie = await ask("POST", "/login", json={"token": value})

        assert await reads(ask, browser, "/scheduler/jobs") == 200
    assert statuses == [401, 401, 200, 200]
    assert by_cookie.status == 401


async def test_a_server_without_tokens_needs_no_links(serve: Any) -> None:
    async with serve(tick) as ask:
        refused = await ask("POST", "/wall-links", json={"name": "hall"})
        wrong = await ask("POST", "/wall-links", json={"name": "", "days": 0})

    assert (refused.status, wrong.status) == (403, 422)
    assert "open /?wall" in refused.json["detail"]


async def test_the_command_line_makes_lists_and_revokes_links(
    serve: Any, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tick, guarded=True) as ask:
        monkeypatch.setenv("GNOMON_TOKEN", secrets["operator"])
        monkeypatch.setenv("GNOMON_URL", ask.web.url)

        async def gnomon(*arguments: str) -> Any:
            return await asyncio.to_thread(CliRunner().invoke, main, ["wall", *arguments])

        link = (await gnomon("make", "hall", "--days", "7")).output.strip()
        address, _, secret = link.partition("/?wall=1#k=")
        browser = await screen(ask, secret)
        [listed] = json.loads((await gnomon("--json")).output)
        table = (await gnomon()).output
        seen = await reads(ask, browser)
        revoked = await gnomon("revoke", listed["id"])
        again = await gnomon("revoke", listed["id"])
        rest = (await gnomon()).output
        refused = await asyncio.to_thread(CliRunner().invoke, main, ["wall"], env={"GNOMON_URL": None})

        assert (seen, await reads(ask, browser)) == (200, 401)
        assert address == ask.web.url
    assert (listed["name"], listed["creator"]) == ("wall hall", "operator")
    assert listed["id"] in table
    assert (revoked.exit_code, again.exit_code, refused.exit_code) == (0, 1, 2)
    assert "no open wall link of yours" in again.output
    assert "no link is open" in rest
    assert "name it with --url" in refused.output
