"""http against a real server on this machine."""

import asyncio
import json
import pickle
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from gnomon import Context, RunCancelled
from gnomon_chores import http
from gnomon_chores.errors import BadArgument, RequestFailed, RequestTimedOut, UnexpectedStatus

SECRET = "hunter2-hunter2"


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {"method": request.method, "headers": dict(request.headers), "body": await request.text()},
        status=int(request.query.get("status", "200")),
    )


async def big(request: web.Request) -> web.Response:
    return web.Response(body="é".encode() * 100_000)


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound("/echo")


async def round_and_round(request: web.Request) -> web.Response:
    raise web.HTTPFound("/loop")


async def astray(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"ftp://elsewhere/?{request.query_string}&more=1")


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"only this")
    assert request.transport is not None
    request.transport.abort()
    return response


async def never(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"wait")
    request.app[ASKED].set()
    await request.app[CLOSING].wait()
    return response


ASKED = web.AppKey("asked", asyncio.Event)
CLOSING = web.AppKey("closing", asyncio.Event)


@pytest.fixture
def asked() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def server(asked: asyncio.Event) -> AsyncIterator[str]:
    app = web.Application()
    app[ASKED], app[CLOSING] = asked, asyncio.Event()
    app.router.add_route("*", "/echo", echo)
    for handler in (astray, big, redirect, broken, never):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_get("/loop", round_and_round)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    app[CLOSING].set()
    await runner.cleanup()


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        yield int(unused.getsockname()[1])


async def test_an_answer_is_returned(server: str, ctx: Context) -> None:
    result = await http(ctx, url=f"{server}/echo")

    assert result["status"] == 200
    assert result["bytes"] == len(result["body"])
    assert json.loads(result["body"])["method"] == "GET"
    assert result["duration"] > 0


async def test_method_headers_and_text_arrive(server: str, ctx: Context) -> None:
    result = await http(ctx, method="put", url=f"{server}/echo", headers={"X-Job": "7"}, body="日晷")

    seen = json.loads(result["body"])
    assert (seen["method"], seen["headers"]["X-Job"], seen["body"]) == ("PUT", "7", "日晷")


async def test_json_arrives_with_its_content_type(server: str, ctx: Context) -> None:
    result = await http(ctx, method="POST", url=f"{server}/echo", json={"a": [1, None]})

    seen = json.loads(result["body"])
    assert seen["headers"]["Content-Type"] == "application/json"
    assert json.loads(seen["body"]) == {"a": [1, None]}


async def test_a_long_answer_is_counted_in_full_and_kept_in_part(
    server: str, ctx: Context, told_progress: list[dict[str, Any]]
) -> None:
    result = await http(ctx, url=f"{server}/big", output_limit=7)

    assert (result["bytes"], result["body"]) == (200_000, "ééé\ufffd")
    assert (told_progress[-1]["processed_items"], told_progress[-1]["total_items"]) == (200_000, 200_000)


async def test_an_unexpected_status_is_a_failure_with_the_start_of_the_body(server: str, ctx: Context) -> None:
    with pytest.raises(UnexpectedStatus, match=r"status 503, expected 200\. .*The body starts with: .*POST") as caught:
        await http(ctx, method="POST", url=f"{server}/echo?status=503", body="x" * 10_000)

    assert caught.value.status == 503
    assert len(caught.value.body_start) == 500
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


@pytest.mark.parametrize("expected", [404, [200, 404]])
async def test_an_expected_status_is_a_success(server: str, ctx: Context, expected: int | list[int]) -> None:
    assert (await http(ctx, url=f"{server}/not-there", expected_status=expected))["status"] == 404


async def test_a_redirect_is_followed(server: str, ctx: Context) -> None:
    assert json.loads((await http(ctx, url=f"{server}/redirect"))["body"])["method"] == "GET"


async def test_a_redirect_that_is_expected_is_not_followed(server: str, ctx: Context) -> None:
    assert (await http(ctx, url=f"{server}/redirect", expected_status=302))["status"] == 302


async def test_secrets_of_the_request_never_appear_in_errors(server: str, ctx: Context) -> None:
    url = server.replace("//", f"//user:{SECRET}@") + f"/echo?status=500&token={SECRET}"

    with pytest.raises(UnexpectedStatus) as caught:  # the server repeats all headers in its answer
        await http(ctx, url=url, headers={"X-Api-Key": SECRET, "Cookie": f"session={SECRET}; theme=dark"})

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
    assert SECRET not in shown
    assert "'X-Api-Key': '***'" in shown.replace('"', "'")
    assert f"{server}/echo returned status 500" in shown


@pytest.mark.parametrize(("path", "error"), [("loop", "TooManyRedirects"), ("astray", "NonHttpUrlRedirectClientError")])
async def test_an_error_of_the_library_shows_no_query(server: str, ctx: Context, path: str, error: str) -> None:
    with pytest.raises(RequestFailed, match=error) as caught:
        await http(ctx, url=f"{server}/{path}?token={SECRET}")

    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_header_that_cannot_be_sent_is_a_failure_without_its_value(server: str, ctx: Context) -> None:
    with pytest.raises(RequestFailed, match="ValueError") as caught:
        await http(ctx, url=f"{server}/echo", headers={"Authorization": f"Bearer {SECRET}\nHost: evil"})

    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_no_server_is_a_failure_that_names_the_address(ctx: Context, closed_port: int) -> None:
    with pytest.raises(RequestFailed, match=rf"GET http://127\.0\.0\.1:{closed_port}/ failed: Cannot connect to host"):
        await http(ctx, url=f"http://127.0.0.1:{closed_port}/")


async def test_an_answer_that_breaks_off_is_a_failure(server: str, ctx: Context) -> None:
    with pytest.raises(RequestFailed, match="ClientPayloadError"):
        await http(ctx, url=f"{server}/broken")


async def test_an_answer_that_does_not_end_in_time_is_a_failure(server: str, ctx: Context) -> None:
    with pytest.raises(RequestTimedOut, match=r"/never had no complete response after 0\.2 s"):
        await http(ctx, url=f"{server}/never", timeout=0.2)


async def test_cancel_ends_the_request(server: str, ctx: Context, asked: asyncio.Event) -> None:
    task = asyncio.create_task(http(ctx, url=f"{server}/never", timeout=1000))
    await asked.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_sent_when_cancel_was_requested_before(
    ctx: Context, cancel_after: Callable[[int], None], closed_port: int
) -> None:
    cancel_after(0)

    with pytest.raises(RunCancelled):
        await http(ctx, url=f"http://127.0.0.1:{closed_port}/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "example.org"}, "url is not a valid URL, expected http://"),
        ({"url": f"ftp://user:{SECRET}@host/"}, "url is not a valid URL"),
        ({"url": "http://host:99999/"}, "url is not a valid URL"),
        ({"url": 7}, "url is of type int"),
        ({"method": "GE T"}, "method is 'GE T'"),
        ({"headers": ["A: b"]}, "headers is of type list"),
        ({"headers": {"A": 1}}, r"headers\['A'\] is of type int"),
        ({"body": {"a": 1}}, "body is of type dict, expected a string; give tables and lists as `json`"),
        ({"body": "a", "json": 1}, "body is given together with `json`"),
        ({"expected_status": []}, "expected_status is empty"),
        ({"expected_status": "200"}, "expected_status is of type str"),
        ({"expected_status": [200, 600]}, "expected_status is 600"),
        ({"expected_status": True}, "expected_status is of type bool"),
        ({"timeout": 0}, "timeout is 0"),
        ({"output_limit": -1}, "output_limit is -1"),
    ],
)
async def test_bad_arguments_are_named(ctx: Context, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=f"^http: {message}") as caught:
        await http(ctx, **{"url": "http://127.0.0.1/", **arguments})

    assert SECRET not in str(caught.value)
