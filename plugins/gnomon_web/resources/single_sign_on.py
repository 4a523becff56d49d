"""Single sign-on: a browser goes to the provider, comes back with a code, and gets a login as from a token.

Between the two requests the browser keeps state, nonce and PKCE verifier in a signed cookie, so that nobody can make
this server remember logins that were only begun. A state is used once.
"""

from __future__ import annotations

import hmac
import html
import re
import secrets
from http import HTTPStatus
from http.cookies import Morsel
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import hdrs, web

from gnomon import GnomonError
from gnomon.text import shorten
from gnomon.wire.problems import (
    NO_ROLE_GRANTED,
    PROVIDER_UNAVAILABLE,
    SIGN_IN_FAILED,
    UNAVAILABLE,
    UNKNOWN_PATH,
    ProblemKind,
)
from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, KERNEL, is_secure, note_refusal
from gnomon_web.auth.client_address import client_of
from gnomon_web.auth.networks import bucket_of
from gnomon_web.auth.oidc_config import ProviderError, RefusedError
from gnomon_web.auth.rate_limit import SharedLimit
from gnomon_web.auth.shared_claims import SharedClaims, SingleUse
from gnomon_web.dashboard.assets import build
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Route
from gnomon_web.resources.sessions import SIGN_IN_PATH, login_cookie, replace_login

if TYPE_CHECKING:
    from gnomon_web.auth.oidc_client import OidcClient

CALLBACK = f"{SIGN_IN_PATH}/callback"
FLOW_S = 600
"""Seconds in which a user has to log in at the provider."""
FLOWS_PER_MINUTE = 30
"""Codes of an address that are exchanged in a minute: each is a request to the provider."""
MAX_SHOWN = 300
_LOCAL_PAGE = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


class Flow(msgspec.Struct, frozen=True):
    """A login that has begun. `until` is the end of its time, in seconds since 1970."""

    state: str
    nonce: str
    verifier: str
    page: str
    until: float


class SingleSignOn:
    """The states that were used, and the limit on exchanged codes."""

    def __init__(self, claims: SharedClaims) -> None:
        self.limit = SharedLimit(claims, "codes", FLOWS_PER_MINUTE, 60.0)
        self.states = SingleUse(claims, "state", FLOW_S)


SINGLE_SIGN_ON = web.AppKey("single_sign_on", SingleSignOn)


def routes() -> list[Route]:
    """Return the routes of this module. Providers add parameters of all kinds, so these are not checked."""
    base: dict[str, Any] = {"method": "GET", "role": "public", "kind": "asset", "tag": "session"}
    return [Route(path=SIGN_IN_PATH, handler=begin, **base), Route(path=CALLBACK, handler=finish, **base)]


async def begin(request: web.Request) -> web.StreamResponse:
    """Send the browser to the provider."""
    client = _client(request)
    flow = Flow(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        page=_page(request),
        until=request.app[KERNEL].clock.now().timestamp() + FLOW_S,
    )
    try:
        url = await client.authorization_url(
            _redirect_uri(request), state=flow.state, nonce=flow.nonce, verifier=flow.verifier
        )
    except ProviderError as exc:
        return _problem_page(request, PROVIDER_UNAVAILABLE, str(exc))
    signed = request.app[AUTHENTICATOR].sessions.sign("oidc", msgspec.json.encode(flow).hex())
    return _redirect(url, _flow_cookie(request, signed, FLOW_S))


async def finish(request: web.Request) -> web.StreamResponse:
    """Exchange the code that the browser brings back from the provider for a login."""
    client = _client(request)
    try:
        flow = await _flow(request)
        address = client_of(request, request.app[CONFIG]).address
        limit, problem = request.app[SINGLE_SIGN_ON].limit, f"too many logins from {address}"
        limit.check(bucket_of(address), problem)
        await limit.count(bucket_of(address), problem)
        code = _code(request, client)
        claims = await client.claims(code, _redirect_uri(request), nonce=flow.nonce, verifier=flow.verifier)
        values = client.config.values_of(claims)
        role = client.config.role_of(values)
        if role is None:
            raise ApiError(NO_ROLE_GRANTED, _no_role(client, claims, values))
        authenticator = request.app[AUTHENTICATOR]
        value, identity = await authenticator.log_in_user(claims, role, request)
        await replace_login(request)
    except ApiError as exc:
        return _problem_page(request, exc.kind, exc.problem.detail)
    except RefusedError as exc:
        return _problem_page(request, SIGN_IN_FAILED, str(exc))
    except ProviderError as exc:
        return _problem_page(request, PROVIDER_UNAVAILABLE, str(exc))
    except GnomonError as exc:
        return _problem_page(request, UNAVAILABLE, f"the login cannot be stored now, try again in a moment: {exc}")
    answer = _redirect(flow.page, _flow_cookie(request, "", 0))
    answer.headers.add(hdrs.SET_COOKIE, login_cookie(request, value, identity)[hdrs.SET_COOKIE])
    return answer


# --- the request ---


def _client(request: web.Request) -> OidcClient:
    client = request.app[AUTHENTICATOR].oidc
    if client is None:
        detail = "this server has no single sign-on: [plugins.web.oidc] is not configured"
        raise ApiError(UNKNOWN_PATH, detail, errors=[culprit("path", request.path, "unknown")])
    return client


async def _flow(request: web.Request) -> Flow:
    """Return the login that this browser has begun; ApiError for the answer to another one."""
    signed = request.app[AUTHENTICATOR].sessions.signed("oidc", request.cookies.get(_cookie_name(request), ""))
    if not signed:
        raise _failed("this browser has not begun to log in here, or its cookie was lost; log in again")
    flow = msgspec.json.decode(bytes.fromhex(signed), type=Flow)
    state = request.query.get("state", "")
    if not hmac.compare_digest(flow.state.encode(), state.encode("utf-8", "surrogateescape")):
        raise _failed("the answer belongs to another login than this browser has begun last; log in again")
    if flow.until < request.app[KERNEL].clock.now().timestamp():
        raise _failed(f"the login took longer than {FLOW_S // 60} minutes; log in again")
    if not await request.app[SINGLE_SIGN_ON].states.use(flow.state):
        raise _failed("this answer of the provider has been used before; log in again")
    return flow


def _code(request: web.Request, client: OidcClient) -> str:
    query = request.query
    if (error := query.get("error")) is not None:
        detail = shorten(query.get("error_description", error), MAX_SHOWN)
        raise _failed(f"the provider refused the login: {detail}")
    if query.get("iss", client.config.issuer) != client.config.issuer:  # RFC 9207
        raise _failed("the answer comes from another provider than the configured one; log in again")
    if not (code := query.get("code", "")):
        raise _failed("the provider sent no code; log in again")
    return code


def _failed(detail: str) -> ApiError:
    return ApiError(SIGN_IN_FAILED, detail)


def _no_role(client: OidcClient, claims: dict[str, Any], values: list[str]) -> str:
    config = client.config
    found = f"has the values {', '.join(map(repr, values))}" if values else "is missing or empty"
    return shorten(
        f"the provider knows {config.name_of(claims)!r}, who has no role here: the claim {config.claim!r} {found}, and "
        "`roles` of [plugins.web.oidc] grants no role for that; ask an administrator",
        MAX_SHOWN * 2,
    )


def _page(request: web.Request) -> str:
    """Return the page to which the user returns: one of this server, never another one."""
    base = request.app[CONFIG].base_path
    wanted = request.query.get("page", "")
    return wanted if _LOCAL_PAGE.fullmatch(wanted) and wanted.startswith(f"{base}/") else f"{base}/"


def _redirect_uri(request: web.Request) -> str:
    """Return the address of the callback, as it is registered at the provider."""
    config = request.app[CONFIG]
    scheme = "https" if client_of(request, config).is_secure else "http"
    origin = config.public_origin or f"{scheme}://{request.headers[hdrs.HOST]}"  # a host that has been checked
    return f"{origin}{config.base_path}{CALLBACK}"


# --- the answer ---


def _cookie_name(request: web.Request) -> str:
    return f"{request.app[AUTHENTICATOR].cookie_name(is_secure=is_secure(request))}-oidc"


def _flow_cookie(request: web.Request, value: str, max_age: int) -> str:
    cookie: Morsel[str] = Morsel()
    cookie.set(_cookie_name(request), value, value)
    # Lax, because the provider sends the browser back: a Strict cookie would not come with it.
    flags = {"path": "/", "max-age": max_age, "httponly": True, "samesite": "Lax", "secure": is_secure(request)}
    for name, flag in flags.items():
        cookie[name] = flag
    return cookie.OutputString()


def _redirect(url: str, cookie: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: url, hdrs.SET_COOKIE: cookie})


def _problem_page(request: web.Request, kind: ProblemKind, detail: str) -> web.StreamResponse:
    """Answer with a page for people, or raise the problem for a program."""
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        raise ApiError(kind, detail)
    note_refusal(request, kind)
    base = request.app[CONFIG].base_path
    is_chinese = request.headers.get(hdrs.ACCEPT_LANGUAGE, "").lower().startswith("zh")
    title, back = ("无法登录", "返回登录页") if is_chinese else ("You are not logged in", "Back to the login")
    text = f"""<!doctype html>
<html lang="{"zh" if is_chinese else "en"}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Gnomon</title>
<link rel="icon" href="{base}/ui/{build().name}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{base}/ui/{build().name}/app.css">
</head>
<body>
<main class="login"><div class="panel">
<h1>{title}</h1>
<p class="problem" role="alert">{html.escape(detail)}</p>
<p><a href="{base}/">{back}</a></p>
</div></main>
</body>
</html>
"""
    return web.Response(status=kind.status, text=text, content_type="text/html")
