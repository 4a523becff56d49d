"""Who a request comes from behind proxies, and how cookies and HSTS follow TLS."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gnomon import ConfigError
from gnomon.conversion import Secret
from gnomon.plugins.plugin_set import PluginSet
from gnomon_web import WebPlugin
from gnomon_web.auth.client_address import FORWARDING_HEADERS, find_client
from gnomon_web.auth.networks import bucket_of
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

TOKENS = [Token("ops", "admin", Secret("w4rm-Stone.Casts9"))]
BEHIND = Config(tokens=TOKENS, trusted_proxies=["127.0.0.0/8", "::1", "10.0.0.0/8"])


async def tick() -> None:
    """A job."""


def client(peer: str, *headers: tuple[str, str]) -> tuple[str, bool]:
    found = find_client(peer, CIMultiDictProxy(CIMultiDict(headers)), BEHIND, is_tls=False)
    return found.address, found.is_secure


def test_headers_of_a_peer_that_is_not_a_trusted_proxy_are_ignored() -> None:
    spoofed = (
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=127.0.0.1;proto=https"),
    )

    assert client("203.0.113.9", *spoofed) == ("203.0.113.9", False)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.2.3, 10.9.9.9", "203.0.113.9"),
        ("10.1.2.3, 10.9.9.9", "10.1.2.3"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, unknown", "127.0.0.1"),
        ("203.0.113.9, 10.0.0.1, <script>", "127.0.0.1"),
        ("203.0.113.9, evil, 10.0.0.1", "10.0.0.1"),
        ("", "127.0.0.1"),
        (" , ,", "127.0.0.1"),
    ],
)
def test_the_rightmost_address_that_is_not_a_trusted_proxy_counts(header: str, address: str) -> None:
    assert client("127.0.0.1", ("X-Forwarded-For", header))[0] == address


def test_a_header_on_two_lines_is_one_list() -> None:
    lines = (("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.9, 10.0.0.1"))

    assert client("127.0.0.1", *lines)[0] == "203.0.113.9"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("for=203.0.113.9", ("203.0.113.9", False)),
        ('for=6.6.6.6, For="[2001:db8::1]:4711";Proto=HTTPS;by=10.0.0.1', ("2001:db8::1", True)),
        ("for=203.0.113.9;proto=https, for=10.0.0.1;proto=http", ("203.0.113.9", True)),
        ('for="_hidden;x,y=1", for=10.0.0.1', ("10.0.0.1", False)),
        ("for=203.0.113.9, for=_secret", ("127.0.0.1", False)),
        ("for=203.0.113.9, ;;;", ("127.0.0.1", False)),
        ("proto=https", ("127.0.0.1", True)),
    ],
)
def test_the_forwarded_header_of_rfc_7239_is_read(header: str, found: tuple[str, bool]) -> None:
    assert client("127.0.0.1", ("Forwarded", header)) == found


def test_headers_that_contradict_each_other_are_not_believed() -> None:
    both = (("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=6.6.6.6"))
    same = (("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9"))

    assert [client("127.0.0.1", *headers)[0] for headers in (both, same)] == ["127.0.0.1", "203.0.113.9"]


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        ((("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")), True),
        ((("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "http")), False),
        ((("X-Forwarded-For", "203.0.113.9, 10.0.0.1"), ("X-Forwarded-Proto", "https, http")), True),
        ((("X-Forwarded-Proto", "https"),), True),
        ((("X-Forwarded-For", "203.0.113.9"),), False),
    ],
)
def test_the_scheme_is_that_of_the_client(headers: Any, is_secure: bool) -> None:
    assert client("10.0.0.1", *headers)[1] is is_secure


def test_one_ipv6_client_has_a_whole_64() -> None:
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert bucket_of("2001:db8:0:1::1") != bucket_of("2001:db8::1")
    assert bucket_of("::ffff:203.0.113.9") == bucket_of("203.0.113.9") == "203.0.113.9"


# --- a server behind a proxy ---


async def test_wrong_tokens_count_for_the_client_and_not_for_its_proxy(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(tick, guarded=True, failed_logins=2, trusted_proxies=["127.0.0.1"]) as ask:

        async def log_in(token: str, address: str) -> int:
            answer = await ask("POST", "/login", json={"token": token}, headers={"X-Forwarded-For": address})
            return int(answer.status)

        wrong = [await log_in("wrong", f"2001:db8::{number}") for number in range(3)]
        same_network = await log_in(secrets["admin"], "2001:db8::99")
        spoofing = await log_in(secrets["admin"], "203.0.113.9, 2001:db8::99")
        another = await log_in(secrets["admin"], "2001:db8::99, 203.0.113.9")

    assert (wrong, same_network, spoofing, another) == ([401, 401, 429], 429, 429, 200)


async def test_without_trusted_proxies_no_header_escapes_the_limit(serve: Any) -> None:
    async with serve(tick, guarded=True, failed_logins=2) as ask:
        statuses = [
            (await ask("POST", "/login", json={"token": "wrong"}, headers={"X-Forwarded-For": f"203.0.113.{n}"})).status
            for n in range(3)
        ]

    assert statuses == [401, 401, 429]


async def test_wrong_bearer_tokens_lock_nobody_out(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(tick, guarded=True, failed_logins=2) as ask:
        wrong = [(await ask("GET", "/session", headers={"Authorization": "Bearer wrong"})).status for _ in range(5)]
        login = await ask("POST", "/login", json={"token": secrets["viewer"]})

    assert (wrong, login.status) == ([401] * 5, 200)


async def test_an_expired_token_locks_out_nobody_else(serve: Any, secrets: dict[str, str], gnomon_clock: Any) -> None:
    tokens = [*TOKENS, Token("old", "viewer", Secret("0ther-Stone.Casts9"), expires=gnomon_clock.now())]
    async with serve(tick, tokens=tokens, failed_logins=2) as ask:
        old = [(await ask("POST", "/login", json={"token": "0ther-Stone.Casts9"})).status for _ in range(4)]
        mine = await ask("POST", "/login", json={"token": "w4rm-Stone.Casts9"})

    assert (old, mine.status) == ([401] * 4, 200)


async def test_one_token_logs_in_so_often_in_a_minute(serve: Any, secrets: dict[str, str], gnomon_clock: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        first = [(await ask("POST", "/login", json={"token": secrets["viewer"]})).status for _ in range(61)]
        other = await ask("POST", "/login", json={"token": secrets["admin"]})
        await gnomon_clock.advance(timedelta(seconds=61))
        later = await ask("POST", "/login", json={"token": secrets["viewer"]})

    assert (first, other.status, later.status) == ([200] * 60 + [429], 200, 200)


async def test_behind_tls_cookies_are_secure_and_hsts_is_sent(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(tick, guarded=True, trusted_proxies=["127.0.0.1"]) as ask:
        outside = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        login = await ask("POST", "/login", json={"token": secrets["operator"]}, headers=outside)
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        host = ask.web.url.removeprefix("http://")
        acts = [
            await ask("POST", "/scheduler/jobs/tick/pause", headers={"Cookie": cookie, "Origin": origin, **extra})
            for origin, extra in (
                (f"https://{host}", outside),
                (f"http://{host}", outside),
                (f"https://{host}", {}),
            )
        ]
        plain = await ask("POST", "/login", json={"token": secrets["operator"]})

    assert cookie.startswith("__Host-gnomon-")
    assert "Secure" in login.headers["Set-Cookie"].split("; ")
    assert login.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert [answer.status for answer in acts] == [200, 403, 403]
    assert "Secure" not in plain.headers["Set-Cookie"]
    assert "Strict-Transport-Security" not in plain.headers


async def test_public_url_names_the_host_the_origin_and_tls(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(tick, guarded=True, public_url="https://Gnomon.example/") as ask:
        named = {"Host": "gnomon.example"}
        login = await ask("POST", "/login", json={"token": secrets["operator"]}, headers=named)
        cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], **named}
        statuses = [
            (await ask("POST", "/scheduler/jobs/tick/pause", headers={**cookie, "Origin": origin})).status
            for origin in ("https://gnomon.example", "http://gnomon.example", "https://gnomon.example:8443")
        ]
        malformed = await ask.client.get(ask.web.url, headers={"X": "a" * 40_000})

    assert "Secure" in login.headers["Set-Cookie"].split("; ")
    assert "Strict-Transport-Security" in login.headers
    assert statuses == [200, 403, 403]
    assert "Strict-Transport-Security" in malformed.headers


@pytest.mark.parametrize("header", FORWARDING_HEADERS)
async def test_a_server_without_tokens_serves_no_clients_of_proxies(serve: Any, header: str) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", "/scheduler/jobs", headers={header: "for=203.0.113.9"})

    assert (answer.status, answer.culprits) == (403, [("header", header)])
    assert answer.json["type"].endswith("#forwarded-request")


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"trusted_proxies": ["10.0.0.0/33"]}, "expected addresses or networks such as 10.0.0.1 or 10.0.0.0/8"),
        ({"public_url": "gnomon.example"}, "public_url must be like https://gnomon.example"),
        ({"public_url": "https://gnomon.example/other"}, "the path of public_url must be base_path"),
        ({"public_url": "https://gnomon.example", "tokens": []}, "there are no tokens"),
        ({"trusted_proxies": ["10.0.0.1"], "tokens": []}, "there are no tokens"),
    ],
)
def test_invalid_proxies_are_refused(section: dict[str, Any], problem: str) -> None:
    token = {"name": "ops", "role": "admin", "token": "w4rm-Stone.Casts9"}
    with pytest.raises(ConfigError, match=problem):
        PluginSet().add(WebPlugin, "web", {"tokens": [token], **section})


@pytest.mark.parametrize(
    ("section", "is_warned"),
    [
        ({"host": "0.0.0.0"}, True),  # noqa: S104 - the address is the matter
        ({"host": "0.0.0.0", "public_url": "https://gnomon.example"}, False),  # noqa: S104
        ({"host": "0.0.0.0", "trusted_proxies": ["10.0.0.0/8"]}, False),  # noqa: S104
        ({"host": "127.0.0.1"}, False),
    ],
)
async def test_plain_http_on_a_foreign_address_warns(
    serve: Any, logged: list[Any], section: dict[str, Any], is_warned: bool
) -> None:
    async with serve(tick, guarded=True, **section):
        pass

    warnings = [line for line in logged if "can be read on the network" in line["event"]]
    assert bool(warnings) is is_warned
