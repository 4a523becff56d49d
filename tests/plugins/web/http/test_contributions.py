"""Contributed calls: served like the built-in ones, with their defects attributed to their plugin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gnomon import PluginError, UnknownJobError, hookimpl
from gnomon.durations import Duration
from gnomon.plugins.plugin_set import PluginSet
from servers import eventually


async def tick() -> None:
    """A job."""


class Period(msgspec.Struct):
    """Which days."""

    days: Annotated[int, msgspec.Meta(ge=1, le=31)] = 7


class Report(msgspec.Struct):
    """A report."""

    name: str
    days: int


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """An order for a report."""

    name: str


class Reports:
    """A third-party plugin; it imports nothing from gnomon_web."""

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        register("GET", "/reports/{name}", self.report, role="viewer")
        register("POST", "/reports", self.order, role="operator", status=201)
        register("GET", "/scheduler/jobs/{job_id}/execution-stats", self.statistics, role="viewer")
        register("GET", "/reports/{name}/live", self.watch, role="viewer", kind="websocket")

    async def report(self, request: Any, name: str, query: Period) -> Report:
        """Write a report."""
        match name:
            case "raises":
                raise KeyError(name)
            case "hangs":
                await asyncio.Event().wait()
            case "lies":
                return object()  # type: ignore[return-value]
            case "unknown":
                raise UnknownJobError(name)
        return Report(name, query.days)

    async def order(self, request: Any, body: Order) -> Report:
        return Report(body.name, 0)

    async def watch(self, request: Any, name: str) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(name)
        raise KeyError(name)

    async def statistics(self, request: Any, job_id: str) -> dict[str, str]:
        return {"from": "reports"}


async def test_a_contributed_call_is_served_checked_guarded_and_described(serve: Any) -> None:
    async with serve(tick, plugins=[Reports()], guarded=True) as ask:
        good = await ask("GET", "/reports/week?days=3", as_="viewer")
        wrong = await ask("GET", "/reports/week?days=32", as_="viewer")
        nobody = await ask("GET", "/reports/week")
        ordered = await ask("POST", "/reports", json={"name": "year"}, as_="operator")
        misread = await ask("POST", "/reports", json={"nam": "year"}, as_="operator")
        unknown = await ask("GET", "/reports/unknown", as_="viewer")
        document = (await ask("GET", "/openapi.json")).json

    assert (good.status, good.json) == (200, {"name": "week", "days": 3})
    assert (wrong.status, wrong.culprits) == (400, [("query", "days")])
    assert nobody.status == 401
    assert (ordered.status, ordered.json["name"]) == (201, "year")
    assert misread.status == 422
    assert unknown.status == 404
    described = document["paths"]["/reports/{name}"]["get"]
    assert (described["summary"], described["tags"]) == ("Write a report", ["Reports"])
    assert [one["name"] for one in described["parameters"]] == ["name", "days"]
    assert "Report" in document["components"]["schemas"]


@pytest.mark.parametrize("name", ["raises", "hangs", "lies"])
async def test_a_defect_in_a_contributed_call_names_its_plugin_and_affects_nothing_else(serve: Any, name: str) -> None:
    async with serve(tick, plugins=[Reports()], timeout=Duration(seconds=2)) as ask:
        bad, after = await asyncio.gather(ask("GET", f"/reports/{name}"), ask("GET", "/scheduler/jobs"))

    assert (bad.status, bad.culprits) == (500, [])
    assert "the plugin 'Reports' failed to answer GET /reports/{name}" in bad.json["detail"]
    assert "KeyError" not in bad.body.decode()
    assert after.status == 200


class Slow:
    """Answers when its client has left."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        register("GET", "/slow", self.answer, role="viewer")

    async def answer(self, request: Any) -> Report:
        self.is_asked.set()
        await eventually(lambda: request.transport is None or request.transport.is_closing())
        return Report("late", 1)


async def test_a_client_that_leaves_before_its_answer_is_no_defect_of_the_plugin(serve: Any) -> None:
    slow = Slow()
    with capture_logs() as lines:
        async with serve(tick, plugins=[slow]) as ask:
            host, _, port = ask.web.url.removeprefix("http://").partition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await slow.is_asked.wait()
            writer.transport.abort()
            await eventually(lambda: any(line.get("path") == "/slow" for line in lines))

    assert [line["status"] for line in lines if line["event"] == "request" and line["path"] == "/slow"] == [499]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == []


async def test_a_defect_in_a_contributed_socket_closes_it_with_1011(serve: Any) -> None:
    async with serve(tick, plugins=[Reports()]) as ask:
        async with ask.client.ws_connect(f"{ask.web.url}/reports/week/live") as socket:
            said = [await socket.receive() for _ in range(2)]
        after = await ask("GET", "/scheduler/jobs")

    assert [message.data for message in said] == ["week", 1011]
    assert after.status == 200


async def test_contributed_statistics_replace_those_of_the_store(serve: Any) -> None:
    async with serve(tick, plugins=[Reports()]) as ask:
        answer = await ask("GET", "/scheduler/jobs/tick/execution-stats")

    assert answer.json == {"from": "reports"}


async def plain(request: Any) -> None: ...


async def curious(request: Any, color: str) -> None: ...


async def untyped(request: Any, query: Any) -> None: ...


async def odd(request: Any) -> complex:
    return 1j


def not_async(request: Any) -> None: ...


@pytest.mark.parametrize(
    ("path", "handler", "keys", "problem"),
    [
        ("/x", plain, {}, "role"),
        ("/x", plain, {"role": "root"}, "needs a role: expected one of public, viewer"),
        ("x", plain, {"role": "viewer"}, "path 'x' is not valid"),
        ("/x", not_async, {"role": "viewer"}, "expected an `async def`"),
        (
            "/x/{name}",
            curious,
            {"role": "viewer"},
            "parameters: color; expected some of name, query, headers, body",
        ),
        ("/x", untyped, {"role": "viewer"}, "must annotate `query` with a msgspec.Struct"),
        ("/x", odd, {"role": "viewer"}, "complex"),
        ("/scheduler/jobs", plain, {"role": "viewer"}, "is already served by gnomon_web"),
        ("/scheduler/jobs/{other}", plain, {"role": "viewer"}, "is already served by gnomon_web"),
    ],
)
async def test_a_route_that_cannot_be_served_stops_the_start_and_names_its_plugin(
    serve: Any, path: str, handler: Any, keys: dict[str, Any], problem: str
) -> None:
    class Careless:
        @hookimpl(optionalhook=True)
        def register_routes(self, register: Callable[..., None]) -> None:
            register("GET", path, handler, **keys)

    with pytest.raises(PluginError) as caught:
        async with serve(tick, plugins=[Careless()]):
            pass

    assert "plugin 'Careless' failed in register_routes" in str(caught.value)
    assert problem in str(caught.value)


def test_a_plugin_with_routes_works_without_the_web_plugin() -> None:
    assert PluginSet().add(Reports()).name == "Reports"


def test_a_hook_of_a_plugin_must_be_marked_as_optional() -> None:
    class Forgetful:
        @hookimpl
        def register_routes(self, register: Callable[..., None]) -> None: ...

    with pytest.raises(PluginError, match="'register_routes', which is not a known hook"):
        PluginSet().add(Forgetful())
