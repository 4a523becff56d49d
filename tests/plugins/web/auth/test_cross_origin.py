"""Pages of allowed origins may read answers, act and open WebSockets; pages of other origins may not."""

from __future__ import annotations

from typing import Any

import pytest

PAGE = "http://localhost:5173"
WANTED = "authorization,content-type,x-request-id"


async def tick() -> None:
    pass


def preflight(origin: str = PAGE, **more: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": WANTED,
        "Sec-Fetch-Site": "cross-site",
        **more,
    }


@pytest.mark.parametrize("path", ["/scheduler/jobs/tick/trigger", "/scheduler/executions/1", "/ws/ticket", "/login"])
async def test_a_preflight_of_an_allowed_page_is_answered_without_a_token(serve: Any, path: str) -> None:
    async with serve(tick, guarded=True, allowed_origins=[PAGE]) as ask:
        answer = await ask("OPTIONS", path, headers=preflight())

    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == WANTED
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Origin" in answer.headers.getall("Vary")


@pytest.mark.parametrize("origin", ["http://localhost:5174", "https://localhost:5173", "null", "http://evil.example"])
async def test_a_preflight_of_another_page_is_refused(serve: Any, origin: str) -> None:
    async with serve(tick, guarded=True, allowed_origins=[PAGE]) as ask:
        answer = await ask("OPTIONS", "/scheduler/jobs/tick/trigger", headers=preflight(origin))

    assert (answer.status, answer.culprits) == (403, [("header", "Origin")])
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers.getall("Vary")


async def test_nothing_is_allowed_where_no_origin_is_configured(serve: Any) -> None:
    async with serve(tick) as ask:
        answer = await ask("OPTIONS", "/scheduler/jobs", headers=preflight())
        read = await ask("GET", "/scheduler/jobs", headers={"Origin": PAGE})

    assert answer.status == 403
    assert read.status == 200
    assert not [name for name in (*answer.headers, *read.headers) if name.startswith("Access-Control")]
    assert "Vary" not in read.headers


async def test_answers_to_an_allowed_page_can_be_read_by_it_also_those_that_refuse(serve: Any) -> None:
    async with serve(tick, guarded=True, allowed_origins=[PAGE]) as ask:
        answers = {
            200: await ask("GET", "/scheduler/jobs", as_="viewer", headers={"Origin": PAGE}),
            202: await ask("POST", "/scheduler/jobs/tick/trigger", as_="operator", headers={"Origin": PAGE}),
            401: await ask("GET", "/scheduler/jobs", headers={"Origin": PAGE}),
            404: await ask("GET", "/nothing", as_="viewer", headers={"Origin": PAGE}),
            405: await ask("OPTIONS", "/scheduler/jobs", headers={"Origin": PAGE}),
        }
        own = await ask("GET", "/scheduler/jobs", as_="viewer")

    assert {status: answer.status for status, answer in answers.items()} == {status: status for status in answers}
    for answer in answers.values():
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in own.headers


@pytest.mark.parametrize("wanted", ["x\r\nSet-Cookie: a=b", "<script>", "a" * 3000])
async def test_header_names_that_are_not_valid_are_not_repeated(serve: Any, wanted: str) -> None:
    async with serve(tick, allowed_origins=[PAGE]) as ask:
        headers = preflight() | {"Access-Control-Request-Headers": wanted.replace("\r\n", "%0d%0a") + ";"}
        answer = await ask("OPTIONS", "/scheduler/jobs", headers=headers)

    assert answer.status == 204
    assert "Access-Control-Allow-Headers" not in answer.headers


async def test_a_server_on_a_private_network_tells_browsers_that_allowed_pages_may_reach_it(serve: Any) -> None:
    async with serve(tick, allowed_origins=[PAGE]) as ask:
        headers = preflight() | {"Access-Control-Request-Private-Network": "true"}
        answer = await ask("OPTIONS", "/scheduler/jobs", headers=headers)

    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
