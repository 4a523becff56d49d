"""The validation of the section [plugins.web], and the setup of the server."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import ssl
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import ConfigError, PluginError
from gnomon.conversion import Secret
from gnomon.plugins.plugin_set import PluginSet
from gnomon_web import WebPlugin
from gnomon_web.auth.tokens import Token, weakness_of
from gnomon_web.config import Config

TOKEN = {"name": "ops", "role": "operator", "token": "w4rm-Stone.Casts9"}


async def tick() -> None:
    """A job."""


def refused(**section: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        PluginSet().add(WebPlugin, "web", section)
    return str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "gnomon.example"])  # noqa: S104 - refused
def test_without_tokens_only_loopback_addresses_are_accepted(host: str) -> None:
    problem = refused(host=host)

    assert problem.startswith("plugins.web: host ")
    assert "[[plugins.web.tokens]]" in problem


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_tokens_this_machine_is_served(host: str) -> None:
    PluginSet().add(WebPlugin, "web", {"host": host})


def test_with_a_token_any_address_is_accepted() -> None:
    PluginSet().add(WebPlugin, "web", {"host": "0.0.0.0", "tokens": [TOKEN]})  # noqa: S104 - nothing listens


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"tokens": [TOKEN | {"token": "short"}]}, "fewer than 16 characters"),
        ({"tokens": [TOKEN | {"token": "changeme-changeme-1"}]}, "consists of common words"),
        ({"tokens": [TOKEN | {"token": "abcabcabcabcabcabc"}]}, "repeats a shorter text"),
        ({"tokens": [TOKEN | {"token": "aaaaaaaaaaaaaaaaab"}]}, "follows a simple pattern"),
        ({"tokens": [TOKEN | {"token": "0123456789abcdef"}]}, "follows a simple pattern"),
        ({"tokens": [TOKEN | {"token": "an unusual, but spaced text"}]}, "has spaces or control characters"),
        ({"tokens": [TOKEN | {"token": "short"}]}, "secrets.token_urlsafe()"),
        ({"tokens": [TOKEN | {"name": " "}]}, "needs a name"),
        ({"tokens": [TOKEN | {"expires": "soon"}]}, "must be a date such as 2027-01-31"),
        ({"tokens": [TOKEN | {"expires": datetime(2027, 1, 31)}]}, "needs an offset: write 2027-01-31T00:00:00Z"),  # noqa: DTZ001
        ({"tokens": [TOKEN | {"hash": "sha256:" + "0" * 64}]}, "needs exactly one of token and hash"),
        ({"tokens": [{"name": "ops", "role": "operator"}]}, "needs exactly one of token and hash"),
        ({"tokens": [{"name": "ops", "role": "operator", "hash": "md5:0"}]}, "64 lower-case hex digits"),
        ({"tokens": [TOKEN | {"role": "root"}]}, "'root'"),
        ({"tokens": [TOKEN | {"name": "kernel"}]}, "'kernel' is reserved for acts of the kernel"),
        ({"tokens": [TOKEN | {"name": " Kernel"}]}, "' Kernel' is reserved for acts of the kernel"),
        ({"tokens": [TOKEN, TOKEN]}, "token names must be unique"),
        ({"port": 70000}, "from 0 to 65535"),
        ({"base_path": "api"}, "must be empty or like /api"),
        ({"base_path": "/api/"}, "must be empty or like /api"),
        ({"tls_key": "key.pem"}, "requires tls_cert"),
        ({"allowed_origins": ["https://a.example/"]}, "allowed_origins must be like"),
        ({"session": "0s"}, "greater than 0"),
        ({"prot": 1}, "did you mean 'port'?"),
    ],
)
def test_invalid_values_are_refused(section: dict[str, Any], problem: str) -> None:
    assert problem in refused(**section)


def test_no_problem_and_no_repr_shows_a_token() -> None:
    config = Config(tokens=[Token(name="ops", role="viewer", token=Secret("w4rm-Stone.Casts9"))])

    assert "w4rm-Stone.Casts9" not in repr(config)
    assert "shorty" not in refused(tokens=[TOKEN | {"token": "shorty"}])


async def test_a_token_may_be_kept_as_its_hash(serve: Any) -> None:
    stored = "sha256:" + hashlib.sha256(b"w4rm-Stone.Casts9").hexdigest()
    async with serve(tick, tokens=[Token(name="ops", role="viewer", hash=stored)]) as ask:
        right = await ask("GET", "/scheduler/jobs", headers={"Authorization": "Bearer w4rm-Stone.Casts9"})
        the_hash = await ask("GET", "/scheduler/jobs", headers={"Authorization": f"Bearer {stored}"})

    assert (right.status, the_hash.status) == (200, 401)


@pytest.mark.parametrize(
    ("expires", "moment"),
    [
        (date(2027, 1, 31), datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027-01-31T08:00:00+08:00", datetime(2027, 1, 31, tzinfo=UTC)),
        (datetime(2027, 1, 31, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_token_is_a_time_or_the_end_of_a_day(expires: Any, moment: datetime) -> None:
    token = PluginSet().add(WebPlugin, "web", {"tokens": [TOKEN | {"expires": expires}]}).object.config.tokens[0]

    assert token.expires == moment
    assert [token.has_expired(at) for at in (moment - timedelta(seconds=1), moment)] == [False, True]


def test_generated_tokens_are_accepted() -> None:
    tokens = [
        make(size) for make in (secrets.token_urlsafe, secrets.token_hex) for size in (16, 32) for _ in range(100)
    ]

    assert [token for token in tokens if weakness_of(token)] == []


async def test_a_port_in_use_stops_the_start_and_is_named(gnomon_kernel: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PluginError, match=f"cannot listen on 127.0.0.1 port {port}"):
            async with gnomon_kernel(tick, plugins=[WebPlugin(Config(port=port))]):
                pass


async def test_the_address_is_known_while_serving_and_free_afterwards(serve: Any) -> None:
    async with serve(tick) as ask:
        host, port = ask.web.address
        assert ask.web.url == f"http://127.0.0.1:{port}"

    assert ask.web.address is None
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind((host, port))


async def test_everything_sits_under_the_base_path(serve: Any) -> None:
    async with serve(tick, base_path="/api") as ask:
        jobs = await ask("GET", "/scheduler/jobs")
        run = await ask("POST", "/scheduler/jobs/tick/trigger")
        document = (await ask("GET", "/openapi.json")).json
        outside = await ask.client.get(ask.web.url.removesuffix("/api") + "/scheduler/jobs")
        told = (await outside.json(content_type=None))["detail"]

    assert (jobs.status, outside.status) == (200, 404)
    assert told == "there is nothing at /scheduler/jobs; every path of this server begins with /api/"
    assert run.headers["Location"] == f"/api/scheduler/executions/{run.json['_id']}"
    assert all(path.startswith("/api/") for path in document["paths"])


async def test_the_envelope_is_around_answers_and_errors(serve: Any) -> None:
    async with serve(tick, envelope=True) as ask:
        good, bad = await ask("GET", "/scheduler/jobs"), await ask("GET", "/scheduler/jobs/tik")
        document = (await ask("GET", "/openapi.json")).json

    assert good.json["success"] is True
    assert [job["id"] for job in good.json["data"]] == ["tick"]
    assert {"message", "timestamp"} <= good.json.keys()
    assert (bad.status, bad.content_type) == (404, "application/json")
    assert (bad.json["success"], bad.json["code"]) == (False, 404)
    assert "did you mean 'tick'" in bad.json["message"]
    assert bad.json["data"]["errors"][0]["name"] == "job_id"
    wrapped = document["paths"]["/scheduler/jobs"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert wrapped["properties"].keys() == good.json.keys()


async def test_with_a_certificate_it_serves_https_and_binds_the_cookie_to_the_host(
    serve: Any, certificate: tuple[Path, Path], secrets: dict[str, str]
) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=cert)
    async with serve(tick, guarded=True, tls_cert=cert, tls_key=key) as ask:
        login = await ask("POST", "/login", json={"token": secrets["operator"]}, ssl=trusting)
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        same = {"Cookie": cookie, "Origin": ask.web.url}
        plain = {"Cookie": cookie, "Origin": ask.web.url.replace("https", "http")}
        statuses = [
            (await ask("POST", "/scheduler/jobs/tick/pause", headers=headers, ssl=trusting)).status
            for headers in (same, plain)
        ]

    assert ask.web.config.scheme == "https"
    assert cookie.startswith("__Host-gnomon-")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=Strict"} <= set(login.headers["Set-Cookie"].split("; "))
    assert login.headers["Strict-Transport-Security"].startswith("max-age=")
    assert statuses == [200, 403]


async def test_an_invalid_certificate_stops_the_start(gnomon_kernel: Any, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    with pytest.raises(PluginError, match=r"cannot use the certificate .*cert\.pem with the key"):
        async with gnomon_kernel(tick, plugins=[WebPlugin(Config(port=0, tls_cert=tmp_path / "cert.pem"))]):
            pass


async def test_a_listed_origin_may_act_with_a_token(serve: Any) -> None:
    async with serve(tick, guarded=True, allowed_origins=["https://ops.example"]) as ask:
        foreign = {"Origin": "https://ops.example", "Sec-Fetch-Site": "cross-site"}
        answer = await ask("POST", "/scheduler/jobs/tick/pause", as_="operator", headers=foreign)

    assert answer.status == 200


async def test_a_stop_does_not_wait_for_connections_that_are_idle(serve: Any) -> None:
    async with asyncio.timeout(60):
        async with serve(tick) as ask:
            idle = await asyncio.open_connection(*ask.web.address)
            await ask("GET", "/scheduler/jobs")
        idle[1].close()
