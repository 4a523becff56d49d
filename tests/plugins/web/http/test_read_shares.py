"""One caller cannot take all readers, all WebSockets or the memory; health never waits for searches."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import pytest

from gnomon.wire.problems import TOO_MANY_CONNECTIONS
from gnomon_web.auth.roles import Identity
from gnomon_web.errors import ApiError
from gnomon_web.http import endpoint, request_parsing
from gnomon_web.http.read_shares import AT_ONCE, LARGE_AT_ONCE, LARGE_BODY, Shares

PATIENCE = 60.0


class SlowSearches:
    """Makes searches of a kernel's store wait, and counts them."""

    def __init__(self, kernel: Any) -> None:
        self.store = kernel._store
        self.executions = kernel._store.executions
        self.going_on = 0
        self.most = 0
        self.changed = asyncio.Condition()
        self.may_end = asyncio.Event()
        kernel._store.executions = self.search

    async def search(self, query: Any) -> Any:
        if query.text is None and query.offset == 0:
            return await self.executions(query)
        async with self.changed:
            self.going_on += 1
            self.most = max(self.most, self.going_on)
            self.changed.notify_all()
        try:
            await self.may_end.wait()
            return await self.executions(query)
        finally:
            self.going_on -= 1

    async def reach(self, count: int) -> None:
        async with self.changed, asyncio.timeout(PATIENCE):
            await self.changed.wait_for(lambda: self.going_on >= count)


@pytest.mark.parametrize("query", ["q=x", "offset=5000"])
async def test_searches_of_one_caller_wait_for_each_other_and_nobody_else_for_them(serve: Any, query: str) -> None:
    async with serve(guarded=True) as ask:
        searches = SlowSearches(ask.kernel)
        path = f"/scheduler/executions?{query}"
        of_viewer = [asyncio.create_task(ask("GET", path, as_="viewer")) for _ in range(10)]
        await searches.reach(AT_ONCE)
        ready, listed = await ask("GET", "/readyz"), await ask("GET", "/scheduler/executions", as_="viewer")
        assert searches.most == AT_ONCE

        of_admin = asyncio.create_task(ask("GET", path, as_="admin"))
        await searches.reach(AT_ONCE + 1)
        searches.may_end.set()
        answers = [*await asyncio.gather(*of_viewer), await of_admin]

    assert (ready.status, listed.status) == (200, 200)
    assert {answer.status for answer in answers} == {200}


async def test_too_many_searches_are_refused_with_a_problem(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon_web.http.read_shares.MAX_WAITING", 3)
    async with serve(guarded=True) as ask:
        searches = SlowSearches(ask.kernel)
        pending = {
            asyncio.create_task(ask("GET", "/scheduler/executions?q=x", as_="viewer")) for _ in range(AT_ONCE + 3 + 1)
        }
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        searches.may_end.set()
        refused = [task.result() for task in done if task.result().status == 429]
        others = await asyncio.gather(*pending)

    assert len(refused) == 1
    assert refused[0].culprits == []
    assert refused[0].headers["Retry-After"] == "1"
    assert {answer.status for answer in others} == {200}


async def test_a_search_that_nobody_waits_for_keeps_its_turn() -> None:
    shares, caller = Shares(1, 0, "reads"), Identity("ann", "viewer")
    end = await shares.enter(caller)
    with pytest.raises(ApiError, match="'ann' has 1 reads in progress"):
        await shares.enter(caller)
    (await shares.enter(Identity("bob", "viewer")))()
    end()
    end()  # again, as when a connection is lost meanwhile

    assert (await shares.enter(caller)) is not None


async def test_large_bodies_of_one_caller_take_turns(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, may_end = asyncio.Semaphore(0), asyncio.Event()
    read_body = request_parsing.read_body

    async def slowly(request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.content_length is None or request.content_length >= LARGE_BODY:
            reading.release()
            await may_end.wait()
        return await read_body(request, *args, **kwargs)

    async def chunks() -> Any:
        yield b'{"kwargs": {}}'  # of unknown size

    monkeypatch.setattr(endpoint, "read_body", slowly)
    monkeypatch.setattr("gnomon_web.http.read_shares.MAX_WAITING", 1)
    path, large = "/scheduler/jobs/unknown/trigger", {"json": {"kwargs": {"value": "x" * LARGE_BODY}}}
    async with serve(guarded=True) as ask:
        of_operator = [
            asyncio.create_task(ask("POST", path, as_="operator", **large)) for _ in range(LARGE_AT_ONCE + 2)
        ]
        refused, pending = await asyncio.wait(of_operator, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(LARGE_AT_ONCE):
            await reading.acquire()
        of_admin = asyncio.create_task(ask("POST", path, as_="admin", data=chunks()))
        await reading.acquire()  # the admin has a turn; the operator's third request still has none
        assert reading.locked()
        small = await ask("POST", path, as_="operator", json={})
        may_end.set()
        others = [*await asyncio.gather(*pending), await of_admin]

    assert [task.result().status for task in refused] == [429]
    assert small.status == 404
    assert {answer.status for answer in others} == {404, 415}, [answer.json for answer in others]


async def test_answers_that_were_sent_count_no_more(serve: Any) -> None:
    async with serve(guarded=True) as ask:
        for _ in range(3):
            answers = await asyncio.gather(*(ask("GET", "/scheduler/jobs", as_="viewer") for _ in range(40)))
            assert {answer.status for answer in answers} == {200}


async def test_one_caller_has_half_of_the_websockets(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(guarded=True, max_connections=4) as ask, contextlib.AsyncExitStack() as stack:

        async def follow(role: str) -> None:
            headers = {"Authorization": f"Bearer {secrets[role]}"}
            ws = await stack.enter_async_context(ask.client.ws_connect(f"{ask.web.url}/ws/events", headers=headers))
            assert (await ws.receive_json())["type"] == "ready"

        await follow("viewer")
        await follow("viewer")
        refused = await ask(
            "GET", "/ws/events", as_="viewer", headers={"Connection": "Upgrade", "Upgrade": "websocket"}
        )
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await follow("viewer")
        await follow("admin")

    assert refused.status == 503
    assert refused.json["type"] == TOO_MANY_CONNECTIONS.type
    assert "'viewer' has 2 WebSockets open" in refused.json["detail"]
