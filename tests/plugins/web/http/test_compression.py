from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from gnomon import Job
from gnomon_web.http.compression import MIN_BYTES, accepts_gzip


async def body(**kwargs: Any) -> None: ...


JOBS = [Job(id=f"job-{number}", func=body, every="1h") for number in range(200)]  # type: ignore[arg-type]


async def raw(ask: Any, path: str, coding: str | None, method: str = "GET") -> tuple[Any, bytes]:
    headers = {"Accept-Encoding": coding} if coding is not None else {}
    options = {"skip_auto_headers": ["Accept-Encoding"], "auto_decompress": False}
    async with ask.client.request(method, ask.web.url + path, headers=headers, **options) as answer:
        return answer, await answer.read()


@pytest.mark.parametrize("path", ["/scheduler/jobs", "/openapi.json", "/metrics"])
async def test_large_answers_are_compressed_for_clients_that_accept_it(serve: Any, path: str) -> None:
    async with serve(*JOBS) as ask:
        plain, whole = await raw(ask, path, None)
        answer, small = await raw(ask, path, "br, gzip;q=0.8")

    assert "Content-Encoding" not in plain.headers
    assert answer.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Vary"] == answer.headers["Vary"] == "Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(small) < len(whole) / 3
    if path != "/metrics":  # its values change
        assert json.loads(gzip.decompress(small)) == json.loads(whole)


@pytest.mark.parametrize("path", ["/session", "/livez", "/scheduler/stats/today", "/scheduler/jobs/nothing"])
async def test_small_answers_and_problems_are_not_compressed(serve: Any, path: str) -> None:
    async with serve() as ask:
        answer, whole = await raw(ask, path, "gzip")

    assert len(whole) < MIN_BYTES
    assert "Content-Encoding" not in answer.headers


async def test_the_answer_to_head_names_the_size_of_the_whole(serve: Any) -> None:
    async with serve(*JOBS) as ask:
        _, whole = await raw(ask, "/openapi.json", None)
        answer, nothing = await raw(ask, "/openapi.json", "gzip", "HEAD")

    assert nothing == b""
    assert int(answer.headers["Content-Length"]) == len(whole)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP, br", True),
        ("*", True),
        ("br;q=1.0, gzip; q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("", False),
        ("br", False),
        ("gzipped", False),
        (";;;,=,q=", False),
    ],
)
def test_the_client_says_whether_it_accepts_gzip(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
