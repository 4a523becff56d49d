from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from gnomon import Kernel, hookimpl
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon_web.auth.browser_security import HEADERS
from gnomon_web.auth.roles import RANK
from gnomon_web.auth.tokens import Token
from gnomon_web.config import Config
from gnomon_web.http.routes import Route, RouteTable
from gnomon_web.projections import Projections
from gnomon_web.server import build_app, build_routes

EXAMPLES = {"job_id": "tick", "execution_id": "0" * 24}


async def tick() -> None:
    """A job."""


class Extension:
    """Another plugin with routes of every kind."""

    @hookimpl(optionalhook=True)
    def register_routes(self, register: Callable[..., None]) -> None:
        register("GET", "/extension/{name}", self.answer, role="viewer")
        register("POST", "/extension/{name}", self.answer, role="operator")
        register("GET", "/extension/{name}/live", self.watch, role="viewer", kind="websocket")

    async def answer(self, request: aiohttp.web.Request, name: str) -> dict[str, str]:
        return {"name": name}

    async def watch(self, request: aiohttp.web.Request, name: str) -> aiohttp.web.WebSocketResponse:
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket


@pytest.fixture
def table(gnomon_kernel: Callable[..., Kernel]) -> RouteTable:
    return build_routes(gnomon_kernel(tick, plugins=[Extension()]))


def calls(table: RouteTable, *, unsafe: bool = False) -> list[tuple[Route, str]]:
    """List all routes with an example of their path; with `unsafe` those that change something or open a WebSocket."""
    routes = [route for route, _ in table if not unsafe or route.method != "GET" or route.kind == "websocket"]
    fill = lambda found: EXAMPLES.get(found[1], "anything") + (".svg" if "svg" in (found[2] or "") else "")  # noqa: E731
    return [(route, re.sub(r"\{(\w+)(:[^{}]*)?\}", fill, route.path)) for route in routes]


def upgrade(route: Route) -> dict[str, str]:
    return {"Upgrade": "websocket", "Connection": "Upgrade"} if route.kind == "websocket" else {}


# --- the router ---


async def test_the_router_serves_the_table_and_nothing_else(gnomon_kernel: Callable[..., Kernel]) -> None:
    async with gnomon_kernel(tick, plugins=[Extension()]) as kernel:
        app = build_app(Config(base_path="/api"), kernel, await Projections.begin(kernel, max_connections=1))
        served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
        table = build_routes(kernel)

    expected = {(str(route.method), "/api" + re.sub(r":[^{}]*\}", "}", route.path)) for route, _ in table}
    expected |= {("HEAD", path) for method, path in expected if method == "GET"}
    assert served == expected


def test_a_route_without_a_role_cannot_be_made() -> None:
    async def handler(request: aiohttp.web.Request) -> None: ...

    with pytest.raises(TypeError, match="role"):
        Route(method="GET", path="/open", handler=handler)  # type: ignore[call-arg]
    with pytest.raises(
        ValueError, match="needs a role: expected one of public, viewer, operator, admin, got 'stranger'"
    ):
        RouteTable().add(Route(method="GET", path="/open", handler=handler, role="stranger"))  # type: ignore[arg-type]


def test_changes_require_an_operator(table: RouteTable) -> None:
    """A ticket changes nothing."""
    changing = {route.path: route.role for route, _ in table if route.method != "GET"}

    assert {path for path, role in changing.items() if RANK[role] < RANK["operator"]} == {
        "/login", "/logout", "/ws/ticket",
    }  # fmt: skip


def test_only_pages_health_and_logins_are_public(table: RouteTable) -> None:
    public = {route.path for route, _ in table if route.role == "public" and route.kind != "asset"}

    assert public == {
        "/livez", "/readyz", "/scheduler/health", "/login", "/logout", "/session", "/openapi.json",
    }  # fmt: skip


# --- every route ---


async def test_every_route_requires_its_role(serve: Any, table: RouteTable) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True) as ask:
        for route, path in calls(table):
            without = await ask(route.method, path)
            statuses = {one: (await ask(route.method, path, as_=one)).status for one in ("viewer", "operator", "admin")}

            role = "viewer" if route.path.startswith("/badge/") else route.role  # public with `public_badges`
            if role == "public":
                assert without.status not in {401, 403}, route.path
                continue
            assert (without.status, without.culprits) == (401, [("header", "Authorization")]), route.path
            assert without.headers["WWW-Authenticate"].startswith("Bearer")
            too_low = {one for one in statuses if RANK[one] < RANK[role]}  # type: ignore[index]
            assert {one for one, status in statuses.items() if status == 403} == too_low, route.path
            assert 401 not in statuses.values(), route.path


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer Zq8v-3rWk-X5tL-of-the-viewer2",
        "Basic dmlld2Vy",
        "Zq8v-3rWk-X5tL-of-the-viewer",
    ],
)
async def test_no_route_accepts_a_wrong_token(serve: Any, table: RouteTable, header: str) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True, failed_logins=1000) as ask:
        for route, path in calls(table):
            answer = await ask(route.method, path, headers={"Authorization": header})

            assert (answer.status, answer.culprits) == (401, [("header", "Authorization")]), route.path


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
async def test_no_route_answers_to_a_foreign_name(serve: Any, table: RouteTable, host: str) -> None:
    async with serve(tick, plugins=[Extension()]) as ask:
        for route, path in calls(table):
            answer = await ask(route.method, path, headers={"Host": host})

            assert (answer.status, answer.culprits) == (421, [("header", "Host")]), route.path


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:9", "[::1]:8000", "10.0.0.7", "app.localhost", "GNOMON.example"]
)
async def test_known_names_and_ip_addresses_are_answered(serve: Any, host: str) -> None:
    async with serve(tick, allowed_hosts=["gnomon.example"]) as ask:
        answer = await ask("GET", "/scheduler/jobs", headers={"Host": host})

    assert answer.status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
async def test_no_page_of_another_origin_may_act_or_listen(serve: Any, table: RouteTable, origin: str) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True) as ask:
        cookie = await ask.log_in("admin")
        for route, path in calls(table, unsafe=True):
            for headers in ({}, {"Cookie": cookie["Cookie"]}):
                answer = await ask(route.method, path, headers={**headers, "Origin": origin, **upgrade(route)})

                assert (answer.status, answer.culprits) == (403, [("header", "Origin")]), route.path


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_no_action_for_a_page_of_another_site(serve: Any, table: RouteTable, site: str) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True) as ask:
        browser = await ask.log_in("admin")
        for route, path in calls(table, unsafe=True):
            answer = await ask(route.method, path, headers={**browser, "Sec-Fetch-Site": site, **upgrade(route)})

            assert (answer.status, answer.culprits) == (403, [("header", "Sec-Fetch-Site")]), route.path


async def test_a_cookie_alone_does_nothing_without_an_origin(serve: Any, table: RouteTable) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True) as ask:
        cookie = (await ask.log_in("admin"))["Cookie"]
        for route, path in calls(table, unsafe=True):
            answer = await ask(route.method, path, headers={"Cookie": cookie, **upgrade(route)})

            assert (answer.status, answer.culprits) == (403, [("header", "Origin")]), route.path


@pytest.mark.parametrize("name", ["token", "access_token", "Api_Key"])
async def test_no_route_accepts_a_token_in_its_address(
    serve: Any, table: RouteTable, secrets: dict[str, str], name: str
) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True) as ask:
        for route, path in calls(table):
            answer = await ask(route.method, f"{path}?{name}={secrets['admin']}", as_="admin")

            assert (answer.status, answer.culprits) == (400, [("query", name)]), route.path
            assert "Authorization: Bearer" in answer.json["detail"]
            assert secrets["admin"] not in answer.body.decode()


async def test_no_route_accepts_an_expired_login(serve: Any, table: RouteTable, gnomon_clock: Any) -> None:
    async with serve(tick, plugins=[Extension()], guarded=True, session=Duration(hours=1)) as ask:
        browser = await ask.log_in("admin")
        before = await ask("GET", "/scheduler/jobs", headers=browser)
        await gnomon_clock.advance(timedelta(hours=1))

        statuses = {
            route.path: (await ask(route.method, path, headers={**browser, **upgrade(route)})).status
            for route, path in calls(table)
            if route.role != "public"
        }

    assert before.status == 200
    assert set(statuses.values()) == {401}, statuses


async def test_every_answer_has_the_security_headers(serve: Any, table: RouteTable) -> None:
    async with serve(tick, plugins=[Extension()]) as ask:
        answers = [await ask(route.method, path) for route, path in calls(table)]
        answers += [await ask("GET", "/nowhere"), await ask("GET", "/", headers={"Host": "evil.example"})]

    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "trusted-types 'none'" in HEADERS["Content-Security-Policy"]


# --- logins ---


async def test_a_login_is_a_cookie_that_scripts_and_other_sites_cannot_use(serve: Any, secrets: dict[str, str]) -> None:
    async with serve(tick, guarded=True) as ask:
        answer = await ask("POST", "/login", json={"token": secrets["operator"]})
        nobody = (await ask("GET", "/session")).json
        browser = await ask.log_in("operator")
        operator = (await ask("GET", "/session", headers=browser)).json
        acted = await ask("POST", "/scheduler/jobs/tick/pause", headers=browser)
        forbidden = await ask("POST", f"/scheduler/executions/{'0' * 24}/mark-failed", headers=browser)

    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert secrets["operator"] not in cookie
    assert (nobody["role"], operator["name"], operator["role"]) == ("public", "operator", "operator")
    assert (acted.status, acted.json["paused_by"]) == (200, "operator")
    assert forbidden.status == 403


async def test_a_logout_ends_only_its_own_login(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        mine, yours = await ask.log_in("viewer"), await ask.log_in("viewer")
        await ask("POST", "/logout", headers=mine)
        statuses = [(await ask("GET", "/scheduler/jobs", headers=browser)).status for browser in (mine, yours)]

    assert statuses == [401, 200]


async def test_too_many_wrong_tokens_make_an_address_wait(
    serve: Any, secrets: dict[str, str], gnomon_clock: Any
) -> None:
    async with serve(tick, guarded=True, failed_logins=3) as ask:

        async def log_in(token: str) -> Any:
            return await ask("POST", "/login", json={"token": token})

        wrong = [await log_in("not-this-one") for _ in range(4)]
        right = await log_in(secrets["admin"])
        known = await ask("GET", "/scheduler/jobs", as_="admin")
        await gnomon_clock.advance(timedelta(seconds=61))
        later = await log_in(secrets["admin"])

    assert [answer.status for answer in wrong] == [401, 401, 401, 429]
    assert right.status == 429
    assert int(right.headers["Retry-After"]) == 60
    assert known.status == 200  # who has a token already is not locked out by others
    assert later.status == 200


async def test_an_expired_token_is_refused_with_its_end_and_ends_its_logins(serve: Any, gnomon_clock: Any) -> None:
    end = gnomon_clock.now() + timedelta(hours=1)
    token = Token("anna", "viewer", Secret("w4rm-Stone.Casts9"), expires=end)
    bearer = {"Authorization": "Bearer w4rm-Stone.Casts9"}
    async with serve(tick, tokens=[token]) as ask:
        login = await ask("POST", "/login", json={"token": "w4rm-Stone.Casts9"})
        cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0]}
        before = [(await ask("GET", "/scheduler/jobs", headers=headers)).status for headers in (bearer, cookie)]
        await gnomon_clock.advance(timedelta(hours=1))
        after = [(await ask("GET", "/scheduler/jobs", headers=headers)).status for headers in (bearer, cookie)]
        refused = await ask("GET", "/scheduler/jobs", headers=bearer)
        second = await ask("POST", "/login", json={"token": "w4rm-Stone.Casts9"})

    assert login.json["expires"] == end.isoformat().replace("+00:00", "Z")
    assert (before, after) == ([200, 200], [401, 401])
    assert refused.json["type"].endswith("#expired-token")
    assert f"expired at {end:%Y-%m-%d %H:%M}" in refused.json["detail"]
    assert second.status == 401


async def test_without_tokens_everybody_on_this_machine_is_the_admin(serve: Any) -> None:
    async with serve(tick) as ask:
        session = (await ask("GET", "/session")).json
        login = await ask("POST", "/login", json={"token": "whatever"})

    assert session == {"name": "local", "role": "admin", "expires": None, "is_open": True}
    assert login.status == 200
    assert "Set-Cookie" not in login.headers


# --- what is written down ---


async def test_the_access_log_has_the_actor_and_no_secret(
    serve: Any, secrets: dict[str, str], logged: list[Any]
) -> None:
    async with serve(tick, guarded=True) as ask:
        browser = await ask.log_in("viewer")
        await ask("GET", "/scheduler/executions?q=hush", headers=browser)
        await ask("GET", f"/scheduler/jobs?token={secrets['admin']}")
        await ask("POST", "/login", json={"token": "a-wrong-token"})
        await ask("POST", "/scheduler/jobs/tick/pause", as_="operator")

    requests = [line for line in logged if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"], line["actor"]) for line in requests] == [
        ("POST", "/login", 200, "nobody"),
        ("GET", "/scheduler/executions", 200, "viewer"),
        ("GET", "/scheduler/jobs", 400, "nobody"),
        ("POST", "/login", 401, "nobody"),
        ("POST", "/scheduler/jobs/tick/pause", 200, "operator"),
    ]
    told = repr(logged)
    cookie = browser["Cookie"].partition("=")[2]
    assert not [secret for secret in (*secrets.values(), "a-wrong-token", "hush", cookie) if secret in told]
