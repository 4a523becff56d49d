"""Contributed handlers that raise, return or do anything: the caller gets a problem, and the server goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from aiohttp import web

from gnomon import GnomonError, Job, PluginError, hookimpl
from gnomon.durations import Duration


async def tick() -> None:
    """A job."""


class Fatal(BaseException):
    """Not an Exception."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")


class UnprintableGnomonError(GnomonError):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class HostileZone(tzinfo):
    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise SystemExit("from utcoffset")


async def _raise_system_exit() -> Any:
    raise SystemExit(3)


async def _raise_keyboard_interrupt() -> Any:
    raise KeyboardInterrupt


async def _raise_cancelled() -> Any:
    raise asyncio.CancelledError


async def _raise_generator_exit() -> Any:
    raise GeneratorExit


async def _raise_base_exception() -> Any:
    raise Fatal


async def _raise_unprintable() -> Any:
    raise Unprintable


async def _raise_exception_group() -> Any:
    raise BaseExceptionGroup("group", [SystemExit(1), KeyboardInterrupt()])


async def _cancel_its_task() -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _swallow_cancellation() -> Any:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if asyncio.current_task() not in _swallowed:
                _swallowed.add(asyncio.current_task())
                continue
            raise


_swallowed: set[Any] = set()


async def _return_surrogates() -> Any:
    return {"name": "\udc80", "\udc81": ["\ud800"]}


async def _return_what_json_has_not() -> Any:
    return {"value": object()}


async def _return_a_hostile_time() -> Any:
    return {"at": datetime(2026, 1, 1, tzinfo=HostileZone())}


async def _stream_and_exit() -> Any:
    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise SystemExit(3)

    return web.Response(body=body())


async def _raise_unprintable_gnomon_error() -> Any:
    raise UnprintableGnomonError


async def _raise_endless_gnomon_error() -> Any:
    raise GnomonError("x" * 10_000_000 + "\udc80")


ZOO: dict[str, tuple[Callable[[], Any], int | None]] = {
    "SystemExit": (_raise_system_exit, 500),
    "KeyboardInterrupt": (_raise_keyboard_interrupt, 500),
    "CancelledError": (_raise_cancelled, 500),
    "GeneratorExit": (_raise_generator_exit, 500),
    "BaseException": (_raise_base_exception, 500),
    "unprintable": (_raise_unprintable, 500),
    "group": (_raise_exception_group, 500),
    "cancels itself": (_cancel_its_task, 500),
    "swallows cancellation": (_swallow_cancellation, 500),
    "surrogates": (_return_surrogates, 200),
    "not JSON": (_return_what_json_has_not, 500),
    "hostile time": (_return_a_hostile_time, 500),
    "exit in the body": (_stream_and_exit, None),  # the answer has begun, so the connection is aborted
    "unprintable GnomonError": (_raise_unprintable_gnomon_error, 503),
    "endless GnomonError": (_raise_endless_gnomon_error, 503),
}


class Hostile:
    def __init__(self, behave: Callable[[], Any]) -> None:
        self.behave = behave

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        register("GET", "/hostile", self.answer, role="viewer")
        register("GET", "/hostile/live", self.answer, role="viewer", kind="websocket")
        register("GET", "/scheduler/stats/today", self.answer, role="viewer")

    async def answer(self, request: Any) -> Any:
        return await self.behave()


@pytest.mark.parametrize("kind", ZOO)
async def test_a_hostile_handler_gets_a_problem_and_the_server_goes_on(serve: Any, kind: str) -> None:
    behave, status = ZOO[kind]
    limit = {"timeout": Duration(seconds=3)} if kind == "swallows cancellation" else {}
    async with serve(tick, plugins=[Hostile(behave)], **limit) as ask:
        async with ask.client.ws_connect(f"{ask.web.url}/ws/progress/tick") as viewer:
            await viewer.receive_json()
            if status is None:
                with pytest.raises(Exception, match=r".+"):
                    await ask("GET", "/hostile")
            else:
                answer = await ask("GET", "/hostile")
                assert answer.status == status
                assert len(answer.body) < 10_000
            if status == 500:
                assert answer.json["type"] == "/docs/problems#plugin-failed"
                assert "'Hostile'" in answer.json["detail"]
            overview = await ask("GET", "/scheduler/stats")  # which asks the contributed handler for its part
            assert overview.status in {500, 503}
            run = (await ask("POST", "/scheduler/jobs/tick/trigger")).json["_id"]
            seen = await asyncio.wait_for(viewer.receive_json(), 60)
        health = await ask("GET", "/readyz")

    assert seen["execution_id"] == run
    assert health.status == 200


@pytest.mark.parametrize("kind", ["SystemExit", "CancelledError", "BaseException", "unprintable"])
async def test_a_hostile_websocket_ends_alone(serve: Any, kind: str) -> None:
    async with serve(tick, plugins=[Hostile(ZOO[kind][0])]) as ask:
        refused = await ask("GET", "/hostile/live")
        after = await ask("GET", "/scheduler/jobs")

    assert (refused.status, after.status) == (500, 200)


class HostileTrigger:
    """A trigger object that works until `is_armed`."""

    is_armed = False

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        if HostileTrigger.is_armed:
            raise SystemExit("from the trigger")
        return now + timedelta(days=1) if previous is None else None

    def __str__(self) -> str:
        if HostileTrigger.is_armed:
            raise KeyboardInterrupt
        return "tomorrow"

    __repr__ = __str__


async def test_a_hostile_trigger_spoils_neither_the_list_of_jobs_nor_the_dashboard(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = Job(id="hostile", func=tick, trigger=HostileTrigger())
    async with serve(hostile, Job(id="tame", func=tick, every=Duration(hours=1))) as ask:
        monkeypatch.setattr(HostileTrigger, "is_armed", True)
        listed, one = await ask("GET", "/scheduler/jobs"), await ask("GET", "/scheduler/jobs/hostile")
        async with ask.client.ws_connect(f"{ask.web.url}/ws/live", protocols=["gnomon.live.v1"]) as page:
            await page.send_json({"t": "hello"})
            snapshot = await asyncio.wait_for(page.receive_json(), 60)
        monkeypatch.setattr(HostileTrigger, "is_armed", False)

    assert [job["id"] for job in listed.json] == ["hostile", "tame"]
    assert (one.status, one.json["next_run_times"][1:]) == (200, [])
    assert [job["id"] for job in snapshot["jobs"]] == ["hostile", "tame"]


async def test_a_plugin_that_describes_its_problem_with_surrogates_does_not_spoil_health(serve: Any) -> None:
    class Odd:
        problem = "broken \udc80 text"

        @hookimpl
        def on_started(self) -> None: ...

    async with serve(tick, plugins=[Odd()]) as ask:
        answer = await ask("GET", "/readyz")

    assert (answer.status, answer.json["status"]) == (200, "degraded")
    assert "broken" in answer.body.decode()


class UnnamedHandler:
    async def __call__(self, request: Any) -> None: ...

    @property
    def __name__(self) -> str:
        raise SystemExit("from __name__")


async def handler_with_a_hostile_hint(request: Any, query: "__import__('sys').exit(3)") -> None: ...  # type: ignore[valid-type]  # noqa: UP037


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "a nameless handler", "a hostile hint"])
async def test_a_plugin_that_fails_to_register_its_routes_is_named(serve: Any, kind: str) -> None:
    class Careless:
        @hookimpl(optionalhook=True)
        def register_routes(self, register: Callable[..., None]) -> None:
            match kind:
                case "SystemExit":
                    raise SystemExit(3)
                case "KeyboardInterrupt":
                    raise KeyboardInterrupt
                case "a nameless handler":
                    register("GET", "/x", UnnamedHandler(), role="viewer")
                case _:
                    register("GET", "/x", handler_with_a_hostile_hint, role="viewer")

    with pytest.raises(PluginError, match="plugin 'Careless' failed in register_routes"):
        async with serve(tick, plugins=[Careless()]):
            pass
