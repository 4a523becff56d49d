"""Invalid requests: each is answered with a problem that names the culprit, and the server keeps working."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon import Duration

JSON = {"Content-Type": "application/json"}


async def tick(x: int = 1) -> int:
    return x


@pytest.mark.parametrize(
    ("query", "name", "hint"),
    [
        ("limit=0", "limit", ">= 1"),
        ("limit=201", "limit", "<= 200"),
        ("limit=x", "limit", "expected an integer"),
        ("limit=1.0", "limit", "expected an integer"),
        ("limit=%D9%A1", "limit", "expected an integer"),  # an Arabic one
        ("limit=99999999999999999999999", "limit", "expected an integer"),
        ("limit=1&limit=2", "limit", "given twice"),
        ("offset=-1", "offset", ">= 0"),
        ("offset=999999999999999999", "offset", "<="),
        ("status=nope", "status", "expected one of scheduled, running"),
        ("status=failed,nope", "status", "expected one of"),
        ("is_manual=maybe", "is_manual", "expected true or false"),
        ("is_manual=2", "is_manual", "expected true or false"),
        ("since=yesterday", "since", "with an offset"),
        ("since=2026-01-01T00:00:00", "since", "with an offset"),
        ("since=2026-01-01T00:00:00+08:00", "since", "%2B"),
        ("since=7d", "since", "relative to now, such as -7d"),
        ("since=-7years", "since", "expected a duration"),
        ("since=-999999d", "since", "the calendar does not reach"),
        ("since=0001-01-01T00:00:00Z", "since", "in the years 2 to 9998"),
        ("until=9999-12-31T23:59:59Z", "until", "in the years 2 to 9998"),
        ("cursor=abc", "cursor", "not a valid cursor of this list"),
        ("cursor=%00", "cursor", "not a valid cursor of this list"),
        ("cursor=abc&offset=1", "", "cursor and offset"),
        ("cursor=" + "a" * 20_000, "cursor", "length <= 200"),
        ("job_id=" + "a" * 200, "job_id", "length <= 128"),
        ("statu=failed", "statu", "did you mean 'status'"),
        ("limit[]=1", "limit[]", "unknown parameter"),
    ],
)
async def test_an_invalid_parameter_is_named(serve: Any, query: str, name: str, hint: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", f"/scheduler/executions?{query}")

    assert (answer.status, answer.culprits) == (400, [("query", name)])
    assert hint in answer.json["detail"]
    assert answer.json["detail"].count(", got ") <= 1


@pytest.mark.parametrize("word", ["true", "True", "1", "yes"])
async def test_booleans_may_be_written_in_several_ways(serve: Any, word: str) -> None:
    async with serve(tick) as ask:
        await ask("POST", f"/scheduler/jobs/tick/trigger?force={word}")
        manual = await ask("GET", f"/scheduler/executions?is_manual={word}")

    assert [run["force"] for run in manual.json["items"]] == [True]


async def test_empty_parameters_count_as_absent(serve: Any) -> None:
    async with serve(tick) as ask:
        await ask("POST", "/scheduler/jobs/tick/trigger", json={"kwargs": None})
        answer = await ask("GET", "/scheduler/executions?status=&q=&job_id=&since=&limit=&cursor=&is_manual=")
        unknown = await ask("GET", "/scheduler/executions?statu=")

    assert (answer.status, answer.json["total"], answer.json["limit"]) == (200, 1, 50)
    assert (unknown.status, unknown.culprits) == (400, [("query", "statu")])


async def test_the_job_of_the_query_must_be_that_of_the_path(serve: Any) -> None:
    async with serve(tick) as ask:
        same = await ask("GET", "/scheduler/jobs/tick/executions?job_id=tick")
        other = await ask("GET", "/scheduler/jobs/tick/executions?job_id=tock")

    assert same.status == 200
    assert (other.status, other.culprits) == (400, [("query", "job_id")])


async def test_all_invalid_parameters_are_named_at_once(serve: Any) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", "/scheduler/executions?limit=0&offset=x&nope=1")

    assert answer.culprits == [("query", "limit"), ("query", "offset"), ("query", "nope")]


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"", 400, ""),
        (b"{", 400, ""),
        (b"\xff\xfe", 400, ""),
        (b'{"job_id": "\\ud800"}', 400, ""),
        (b"[" * 100_000, 422, ""),
        (b'{"job_id": "tick", "kwargs": {"x": ' + b"[" * 100_000, 400, ""),
        (b"[]", 422, ""),
        (b"null", 422, ""),
        (b"{}", 422, "job_id"),
        (b'{"job_id": 5}', 422, "job_id"),
        (b'{"job_id": ""}', 422, "job_id"),
        (b'{"job_id": "tick", "kwargs": []}', 422, "kwargs"),
        (b'{"job_id": "tick", "force": "yes"}', 422, "force"),
        (b'{"job_id": "tick", "retry": true}', 422, "retry"),
        (b'{"job_id": "tick", "kwargs": {"x": NaN}}', 400, ""),
        (b'{"job_id": "tick", "kwargs": {"y": {"z": [1e999]}}}', 422, "kwargs[...][...][0]"),
        (b'{"job_id": "tick", "kwargs": {"self": 1}}', 422, "kwargs"),
        (b'{"job_id": "tick\\u0000"}', 404, "job_id"),
    ],
)
async def test_an_invalid_body_is_refused_with_its_place(serve: Any, body: bytes, status: int, name: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("POST", "/scheduler/trigger", data=body, headers=JSON)

    assert (answer.status, answer.culprits) == (status, [("body", name)])


async def test_a_body_that_is_too_large_is_refused(serve: Any) -> None:
    async with serve(tick, body_limit=1000) as ask:
        answer = await ask("POST", "/scheduler/trigger", data=b'{"job_id": "' + b"a" * 1000 + b'"}', headers=JSON)

    assert (answer.status, answer.culprits) == (413, [("body", "")])


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_of_another_type_is_refused(serve: Any, content_type: str) -> None:
    async with serve(tick) as ask:
        headers = {"Content-Type": content_type}
        answer = await ask("POST", "/scheduler/trigger", data=b'{"job_id": "tick"}', headers=headers)

    assert (answer.status, answer.culprits) == (415, [("header", "Content-Type")])


async def test_a_body_where_none_is_expected_is_refused_unless_it_is_empty(serve: Any) -> None:
    async with serve(tick) as ask:
        empty = await ask("POST", "/scheduler/jobs/tick/pause", json={})
        full = await ask("POST", "/scheduler/jobs/tick/pause", json={"noise": "yes"})

    assert empty.status == 200
    assert (full.status, full.culprits) == (422, [("body", "")])


async def test_unknown_paths_and_methods_are_problems(serve: Any) -> None:
    async with serve(tick) as ask:
        nowhere = await ask("GET", "/scheduler/nothing")
        deleted = await ask("DELETE", "/scheduler/jobs")

    assert (nowhere.status, nowhere.culprits) == (404, [("path", "/scheduler/nothing")])
    assert (deleted.status, deleted.culprits) == (405, [("method", "DELETE")])
    assert deleted.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("key", ["", "k" * 256, "caf\u00e9", "\u00ff\u0080", "a\tb"])
async def test_an_invalid_idempotency_key_is_named(serve: Any, key: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("POST", "/scheduler/jobs/tick/trigger", headers={"Idempotency-Key": key})

    assert (answer.status, answer.culprits) == (400, [("header", "Idempotency-Key")])


@pytest.mark.parametrize("key", [b"\x80", b"caf\xe9", b"\xff\xfe", b"\xc3\xa9"])
async def test_bytes_of_an_idempotency_key_that_are_not_ascii_are_named(serve: Any, key: bytes) -> None:
    async with serve(tick) as ask:
        reader, writer = await asyncio.open_connection(*ask.web.address)
        writer.write(b"POST /scheduler/jobs/tick/trigger HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
        writer.write(b"Idempotency-Key: " + key + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert b" 400 " in answer.splitlines()[0]
    assert b"expected 1 to 255 printable ASCII characters" in answer


async def test_a_body_that_does_not_arrive_is_408(serve: Any) -> None:
    async with serve(tick, timeout=Duration(milliseconds=200)) as ask:
        reader, writer = await asyncio.open_connection(*ask.web.address)
        writer.write(b"POST /scheduler/trigger HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n")
        writer.write(b"Content-Type: application/json\r\n\r\n{")
        status = await reader.readline()
        writer.close()

    assert b" 408 " in status


async def test_a_request_without_a_host_is_refused(serve: Any) -> None:
    async with serve(tick) as ask:
        reader, writer = await asyncio.open_connection(*ask.web.address)
        writer.write(b"GET /scheduler/jobs HTTP/1.0\r\n\r\n")
        status = await reader.readline()
        writer.close()

    assert b" 421 " in status


GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
UNREADABLE = [
    (b"nonsense\r\n\r\n", "nonsense"),
    (b"GET /?token=" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "xxx"),
    (GET + b"Authorization: Bearer " + b"x" * 40_000 + b"\r\n\r\n", "xxx"),
    (GET + b"no colon\r\n\r\n", "no colon"),
]


@pytest.mark.parametrize("envelope", [False, True])
@pytest.mark.parametrize(("sent", "secret"), UNREADABLE, ids=["no method", "long line", "long header", "no header"])
async def test_an_unreadable_request_is_answered_with_a_problem(
    serve: Any, sent: bytes, secret: str, envelope: bool, logged: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(tick, envelope=envelope) as ask:
        reader, writer = await asyncio.open_connection(*ask.web.address)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")  # to the end: the connection is closed
        writer.close()
        after = await ask("GET", "/livez")

    told = json.loads(body)
    problem = told["data"] if envelope else told
    assert head.startswith((b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.0 400 Bad Request\r\n"))
    assert (b"application/json" if envelope else b"application/problem+json") in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert (problem["status"], problem["title"], problem["errors"]) == (400, "Malformed request", [])
    assert problem["detail"] not in {"", "Malformed request"}
    assert secret not in problem["detail"]
    (line,) = [line for line in logged if line["event"] == "unreadable request"]
    assert secret not in str(line)
    assert caplog.text == ""
    assert after.status == 200


NOISE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ANY_JSON = st.dictionaries(
    st.sampled_from(["job_id", "kwargs", "force", "resume"]) | NOISE,
    st.none() | st.booleans() | st.integers() | NOISE | st.dictionaries(NOISE, NOISE, max_size=2),
    max_size=4,
)
HEADERS = ["Authorization", "Cookie", "Origin", "Accept", "Content-Type", "Idempotency-Key", "Host"]
PATHS = ["/scheduler/executions", "/scheduler/jobs", "/scheduler/jobs/tick/executions", "/scheduler/history"]


async def test_noise_in_paths_queries_and_bodies_never_causes_a_500(serve: Any) -> None:
    async with serve(tick) as ask:
        loop = asyncio.get_running_loop()

        def check(method: str, path: str, **options: Any) -> None:
            answer = asyncio.run_coroutine_threadsafe(ask(method, path, **options), loop).result(60)
            assert answer.status < 500, (path, options, answer.body)
            if answer.status >= 400:
                assert answer.culprits

        @settings(max_examples=150, database=None, suppress_health_check=list(HealthCheck))
        @given(
            kind=st.sampled_from(["query", "id", "body", "header"]),
            name=st.sampled_from(["limit", "offset", "cursor", "status", "is_manual", "since", "q", "job_id"]) | NOISE,
            value=NOISE,
            body=st.binary(max_size=60) | ANY_JSON.map(json.dumps).map(str.encode),
        )
        def noise(kind: str, name: str, value: str, body: bytes) -> None:
            if kind == "query":
                check("GET", f"{PATHS[len(value) % 3]}?{quote(name)}={quote(value)}")
            elif kind == "header":
                text = "".join(one for one in value if one.isprintable()).encode("utf-8").decode("latin-1")
                sent = {one: "".join(filter(str.isprintable, text)) for one in HEADERS[len(value) % len(HEADERS) :]}
                check("POST", "/scheduler/jobs/tick/trigger", headers=sent)
            elif kind == "id":
                check("GET", f"/scheduler/executions/{quote(value, safe='') or 'x'}")
                check("POST", f"/scheduler/jobs/{quote(value, safe='') or 'x'}/trigger")
            else:
                check("POST", "/scheduler/trigger", data=body, headers=JSON)

        await asyncio.to_thread(noise)
        after = await ask("GET", "/scheduler/jobs")

    assert after.status == 200
