"""Logins through a provider of OpenID Connect, which the test runs, and attacks on them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from yarl import URL

import oidc_provider
from gnomon import ConfigError
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.plugins.plugin_set import PluginSet
from gnomon_web import WebPlugin
from gnomon_web.auth.oidc_config import Oidc
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config

ROLES: dict[Any, list[str]] = {"admin": ["root"], "operator": ["ops"], "viewer": ["dev"]}
BROWSER = {"Accept": "text/html", "Accept-Language": "en"}


async def tick() -> None:
    """A job."""


@pytest.fixture
async def provider(gnomon_clock: Any) -> AsyncIterator[Any]:
    found = oidc_provider.Provider(lambda: gnomon_clock.now().timestamp())
    async with found.server:
        yield found


def settings(provider: Any, **more: Any) -> Oidc:
    keys: dict[str, Any] = {"name": "Example", "roles": ROLES, **more}
    secret = Secret(oidc_provider.CLIENT_SECRET)
    return Oidc(issuer=provider.issuer, client_id=oidc_provider.CLIENT_ID, client_secret=secret, **keys)


class Browser:
    """A browser: it keeps cookies and follows the redirects to the provider and back."""

    def __init__(self, ask: Any, **headers: str) -> None:
        self.ask = ask
        self.headers = {**BROWSER, **headers}
        self.cookies: dict[str, str] = {}

    async def get(self, path: str) -> Any:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.ask("GET", path, headers={**self.headers, "Cookie": cookie}, allow_redirects=False)
        for line in answer.headers.getall("Set-Cookie", ()):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def begin(self, path: str = "/login/oidc") -> str:
        """Go to the provider, log in there, and return the address to which it sends the browser back."""
        answer = await self.get(path)
        assert answer.status == 303, answer.body
        async with self.ask.client.get(URL(answer.headers["Location"], encoded=True), allow_redirects=False) as back:
            return str(back.headers["Location"]).removeprefix(self.ask.web.url)

    async def log_in(self, path: str = "/login/oidc") -> Any:
        return await self.get(await self.begin(path))

    async def session(self) -> Any:
        return (await self.get("/session")).json


async def test_a_user_of_the_provider_logs_in_with_the_role_of_the_groups(
    serve: Any, provider: Any, gnomon_clock: Any
) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        before = (await ask("GET", "/session")).json
        browser = Browser(ask)
        answer = await browser.log_in("/login/oidc?page=/jobs/tick")
        session = await browser.session()
        jobs = await browser.get("/scheduler/jobs")
        cookies = answer.headers.getall("Set-Cookie")

    assert before["sign_in"] == {"name": "Example", "url": "/login/oidc"}
    assert (before["role"], before["is_open"]) == ("public", False)
    assert (answer.status, answer.headers["Location"]) == (303, "/jobs/tick")
    assert (session["name"], session["role"], jobs.status) == ("anna", "operator", 200)
    end = gnomon_clock.now() + timedelta(seconds=300)  # of the ID token, before that of `session`
    assert session["expires"].startswith(f"{end:%Y-%m-%dT%H:%M:%S}")
    assert any("HttpOnly" in line and "SameSite=Strict" in line for line in cookies)
    assert any("Max-Age=0" in line and "SameSite=Lax" in line for line in cookies)


async def test_what_a_user_does_has_the_name_of_the_user(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        await browser.log_in()
        host, port = ask.web.address
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        paused = await ask(
            "POST", "/scheduler/jobs/tick/pause", headers={"Cookie": cookie, "Origin": f"http://{host}:{port}"}
        )
        forbidden = await ask(
            "DELETE", f"/scheduler/executions/{'0' * 24}", headers={"Cookie": cookie, "Origin": f"http://{host}:{port}"}
        )

    assert (paused.json["paused_by"], forbidden.status) == ("anna", 403)


@pytest.mark.parametrize(
    ("user", "keys", "expected"),
    [
        ({"groups": ["root", "dev"]}, {}, "admin"),
        ({"groups": "dev"}, {}, "viewer"),
        ({"groups": ["x"]}, {"roles": {"viewer": ["*"]}}, "viewer"),
        ({"groups": None}, {"roles": {"viewer": ["*"]}}, "viewer"),
        ({"realm_access": {"roles": ["ops"]}}, {"claim": "realm_access.roles"}, "operator"),
        ({"https://example/roles": ["ops"]}, {"claim": "https://example/roles"}, "operator"),
    ],
)
async def test_the_highest_role_of_the_claim_is_granted(
    serve: Any, provider: Any, user: dict[str, Any], keys: dict[str, Any], expected: str
) -> None:
    provider.user |= user
    async with serve(tick, oidc=settings(provider, **keys)) as ask:
        browser = Browser(ask)
        await browser.log_in()

        assert (await browser.session())["role"] == expected


@pytest.mark.parametrize(
    ("groups", "shown"),
    [(["<b>cooks</b>"], "&lt;b&gt;cooks&lt;/b&gt;"), (None, "&#x27;groups&#x27; is missing"), ({}, "is missing")],
)
async def test_a_user_without_a_role_gets_a_page_that_names_the_claim(
    serve: Any, provider: Any, groups: Any, shown: str
) -> None:
    provider.user["groups"] = groups
    async with serve(tick, oidc=settings(provider)) as ask:
        answer = await Browser(ask).log_in()
        chinese = await Browser(ask, **{"Accept-Language": "zh-CN,zh"}).log_in()
        program = await Browser(ask, Accept="*/*").log_in()

    page = answer.body.decode()
    assert (answer.status, answer.content_type) == (403, "text/html")
    assert "groups" in page
    assert shown in page
    assert "<b>" not in page
    assert 'lang="zh"' in chinese.body.decode()
    assert (program.status, program.json["type"].rpartition("#")[2]) == (403, "no-role-granted")


async def test_the_claim_may_be_in_the_user_information(serve: Any, provider: Any) -> None:
    del provider.user["groups"]
    provider.userinfo = {"sub": "4711", "groups": ["root"]}
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        await browser.log_in()
        role = (await browser.session())["role"]
        provider.userinfo["sub"] = "another"
        refused = await Browser(ask).log_in()

    assert (role, refused.status) == ("admin", 401)


# --- hostile answers ---

DAY = 86_400


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("nonce", "another"),
        ("nonce", None),
        ("aud", "another client"),
        ("aud", ["another client"]),
        ("aud", None),
        ("iss", "https://another.example"),
        ("exp", -DAY),
        ("exp", None),
        ("iat", DAY),
        ("nbf", DAY),
        ("azp", "another client"),
        ("sub", None),
        ("sub", 7),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(serve: Any, provider: Any, claim: str, value: Any) -> None:
    def spoil(claims: dict[str, Any]) -> None:
        claims.pop(claim, None)
        if value is not None:
            claims[claim] = int(provider.now()) + value if isinstance(value, int) and claim != "sub" else value

    provider.spoil = spoil
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        answer = await browser.log_in()
        session = await browser.session()

    assert answer.status == 401
    assert b"does not hold" in answer.body
    assert session["role"] == "public"


@pytest.mark.parametrize("claim", ["exp", "iat"])
async def test_clocks_may_differ_by_less_than_a_minute(serve: Any, provider: Any, claim: str) -> None:
    provider.spoil = lambda claims: claims.update(exp=int(provider.now()) - 30 if claim == "exp" else claims["exp"])
    if claim == "iat":
        provider.spoil = lambda claims: claims.update(iat=int(provider.now()) + 30)
    async with serve(tick, oidc=settings(provider)) as ask:
        answer = await Browser(ask).log_in()

    assert answer.status == 303


@pytest.mark.parametrize("attack", ["none", "HS256 with the public key", "another key", "garbage", "empty"])
async def test_a_token_that_the_provider_did_not_sign_is_refused(serve: Any, provider: Any, attack: str) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    forgeries: dict[str, Callable[[dict[str, Any]], str]] = {
        "none": provider.unsigned,
        "HS256 with the public key": provider.sign_with_public_key,
        "another key": lambda claims: provider.sign(claims, stranger),
        "garbage": lambda claims: "a.b.c",
        "empty": lambda claims: "",
    }
    provider.forge = forgeries[attack]
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        answer = await browser.log_in()
        session = await browser.session()

    assert answer.status == 401
    assert b"is not signed by the provider" in answer.body
    assert session["role"] == "public"


async def test_the_answer_to_the_login_of_another_browser_is_refused(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        attacker, victim = Browser(ask), Browser(ask)
        answer_for_attacker = await attacker.begin()
        without = await victim.get(answer_for_attacker)
        await victim.begin()
        with_own = await victim.get(answer_for_attacker)
        sessions = [await browser.session() for browser in (attacker, victim)]

    assert (without.status, with_own.status) == (401, 401)
    assert [session["role"] for session in sessions] == ["public", "public"]
    assert provider.asked.count("token") == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?state=x&code=y",
        "?code=y",
        "?state=%FF&code=y",
        "?error=access_denied&error_description=%3Cscript%3E",
    ],
)
async def test_an_answer_without_the_right_state_is_refused(serve: Any, provider: Any, query: str) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        await browser.begin()
        answer = await browser.get(f"/login/oidc/callback{query}")

    assert answer.status == 401
    assert b"<script>" not in answer.body


async def test_a_refusal_of_the_provider_is_shown(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        state = URL(await browser.begin()).query["state"]
        path = f"/login/oidc/callback?state={state}&error=access_denied&error_description=%3Cb%3Eno%3C/b%3E"
        answer = await browser.get(path)

    assert answer.status == 401
    assert b"the provider refused the login: &lt;b&gt;no" in answer.body


async def test_an_answer_counts_once(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        back = await browser.begin()
        flow = dict(browser.cookies)
        first = await browser.get(back)
        browser.cookies = flow
        replayed = await browser.get(back)
        fresh = Browser(ask)
        state = URL(await fresh.begin()).query["state"]
        code = URL(back).query["code"]
        used_code = await fresh.get(f"/login/oidc/callback?state={state}&code={code}")

    assert (first.status, replayed.status, used_code.status) == (303, 401, 401)
    assert b"has been used before" in replayed.body
    assert b"invalid_grant" in used_code.body


async def test_a_login_that_takes_too_long_is_refused(serve: Any, provider: Any, gnomon_clock: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        back = await browser.begin()
        await gnomon_clock.advance(timedelta(minutes=11))
        answer = await browser.get(back)

    assert answer.status == 401
    assert b"longer than 10 minutes" in answer.body


async def test_another_issuer_in_the_answer_is_refused(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        back = await browser.begin()
        answer = await browser.get(f"{back}&iss=https://evil.example")

    assert answer.status == 401
    assert provider.asked.count("token") == 0


@pytest.mark.parametrize(
    "page", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a%0d%0aX: y", ""]
)
async def test_a_login_returns_to_pages_of_this_server_only(serve: Any, provider: Any, page: str) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        answer = await Browser(ask).log_in(f"/login/oidc?page={page}")

    assert answer.headers["Location"] == "/"


async def test_no_secret_of_a_login_is_logged(serve: Any, provider: Any, logged: list[Any]) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        back = await browser.begin()
        await browser.get(back)

    told = repr(logged)
    secrets = [*URL(back).query.values(), oidc_provider.CLIENT_SECRET, *browser.cookies.values()]
    assert [secret for secret in secrets if len(secret) > 1 and secret in told] == []


# --- the provider ---


@pytest.mark.parametrize("key", ["two", "one"])
async def test_a_new_key_of_the_provider_is_fetched(serve: Any, provider: Any, gnomon_clock: Any, key: str) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        first = await Browser(ask).log_in()
        provider.rotate(key)
        await gnomon_clock.advance(timedelta(seconds=30))
        second = await Browser(ask).log_in()
        third = await Browser(ask).log_in()

    assert [answer.status for answer in (first, second, third)] == [303, 303, 303]
    assert provider.asked.count("jwks") == 2
    assert provider.asked.count("discovery") == 1


async def test_forged_tokens_do_not_make_the_server_fetch_keys_each_time(serve: Any, provider: Any) -> None:
    provider.forge = lambda claims: "a.b.c"
    async with serve(tick, oidc=settings(provider)) as ask:
        for _ in range(3):
            await Browser(ask).log_in()

    assert provider.asked.count("jwks") == 1


async def test_a_provider_that_is_away_is_a_page_that_says_so(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        provider.is_broken = True
        broken = await Browser(ask).get("/login/oidc")
        program = await ask("GET", "/login/oidc")
        provider.is_broken = False
        works = await Browser(ask).log_in()
        browser = Browser(ask)
        back = await browser.begin()
        await provider.server.close()
        gone = await browser.get(back)

    assert (broken.status, works.status, gone.status) == (503, 303, 503)
    assert b"status 503" in broken.body
    assert b"cannot be reached" in gone.body
    assert program.json["type"].rpartition("#")[2] == "provider-unavailable"


async def test_a_discovery_document_of_another_issuer_is_refused(serve: Any, provider: Any) -> None:
    wrong = settings(provider)
    other = Oidc(issuer=wrong.issuer + "/", client_id=wrong.client_id, roles=ROLES)
    async with serve(tick, oidc=other) as ask:
        answer = await Browser(ask).get("/login/oidc")

    assert answer.status == 503
    assert b"is of the issuer" in answer.body


# --- logins ---


async def test_a_login_ends_with_its_token_of_the_provider(serve: Any, provider: Any, gnomon_clock: Any) -> None:
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        await browser.log_in()
        before = (await browser.get("/scheduler/jobs")).status
        await gnomon_clock.advance(timedelta(seconds=301))

        assert (before, (await browser.get("/scheduler/jobs")).status) == (200, 401)


async def test_session_limits_a_login_of_the_provider_too(serve: Any, provider: Any, gnomon_clock: Any) -> None:
    async with serve(tick, oidc=settings(provider), session=Duration(seconds=60)) as ask:
        browser = Browser(ask)
        await browser.log_in()
        await gnomon_clock.advance(timedelta(seconds=61))

        assert (await browser.get("/scheduler/jobs")).status == 401


@pytest.mark.parametrize(
    ("changed", "status"), [({"roles": {"viewer": ["ops"]}}, 401), ({"name": "Another text"}, 200), (None, 401)]
)
async def test_a_reload_ends_logins_that_other_roles_would_not_grant(
    serve: Any, provider: Any, changed: dict[str, Any] | None, status: int
) -> None:
    token = Token("ops", "admin", Secret("w4rm-Stone.Casts9"))
    async with serve(tick, oidc=settings(provider), tokens=[token]) as ask:
        browser = Browser(ask)
        await browser.log_in()
        oidc = None if changed is None else settings(provider, **changed)
        await ask.kernel.reload_plugins({"web": Config(port=0, tokens=[token], oidc=oidc)})

        assert (await browser.get("/scheduler/jobs")).status == status
        assert (await ask("GET", "/login/oidc", allow_redirects=False)).status == (404 if oidc is None else 303)


@pytest.mark.parametrize("name", ["ops", "kernel", "Kernel ", "local", "nobody"])
async def test_a_user_does_not_act_under_the_name_of_somebody_else(serve: Any, provider: Any, name: str) -> None:
    provider.user["preferred_username"] = name
    token = Token("ops", "viewer", Secret("w4rm-Stone.Casts9"))
    async with serve(tick, oidc=settings(provider), tokens=[token]) as ask:
        browser = Browser(ask)
        await browser.log_in()
        listed = (await browser.session())["name"]

    assert listed == f"{name.strip()}@127.0.0.1"


async def test_a_user_without_a_name_has_the_subject(serve: Any, provider: Any) -> None:
    del provider.user["preferred_username"]
    async with serve(tick, oidc=settings(provider)) as ask:
        browser = Browser(ask)
        await browser.log_in()

        assert (await browser.session())["name"] == "4711"


async def test_the_callback_is_below_public_url(serve: Any, provider: Any) -> None:
    async with serve(tick, oidc=settings(provider), public_url="https://gnomon.example/api", base_path="/api") as ask:
        answer = await ask("GET", "/login/oidc", allow_redirects=False, headers={"Host": "gnomon.example"})

    assert URL(answer.headers["Location"]).query["redirect_uri"] == "https://gnomon.example/api/login/oidc/callback"
    assert {"Secure", "SameSite=Lax", "HttpOnly"} <= set(answer.headers["Set-Cookie"].split("; "))


# --- the config ---

SECTION = {"issuer": "https://login.example", "client_id": "gnomon", "roles": {"admin": ["ops"]}}


def refused(section: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        PluginSet().add(WebPlugin, "web", {"oidc": section})
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (SECTION | {"issuer": "login.example"}, "issuer must be a URL"),
        (SECTION | {"issuer": "http://login.example"}, "issuer must begin with https://"),
        (SECTION | {"roles": {}}, "roles grants nothing"),
        (SECTION | {"roles": {"root": ["ops"]}}, "root"),
        (SECTION | {"scopes": ["profile"]}, 'scopes must contain "openid"'),
        (SECTION | {"isuer": "x"}, "did you mean 'issuer'?"),
    ],
)
def test_invalid_providers_are_refused(section: dict[str, Any], problem: str) -> None:
    assert problem in refused(section)


def test_a_provider_may_grant_access_without_any_token() -> None:
    section = {"host": "0.0.0.0", "oidc": SECTION}  # noqa: S104 - nothing listens
    PluginSet().add(WebPlugin, "web", section)


def test_without_the_library_the_config_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "authlib", None)

    assert "pip install 'gnomon[oidc]'" in refused(SECTION)
