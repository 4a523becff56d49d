"""Keeps foreign web pages out: which names the server answers to, which pages may act, and what browsers may do."""

from __future__ import annotations

import ipaddress
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from gnomon_web.config import Config
from gnomon_web.keys import BEGUN, CONFIG
from gnomon_web.problems import ApiError, culprit

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
TOKENS_IN_QUERIES: Final = frozenset({"token", "access_token", "auth_token", "api_key", "apikey", "authorization"})
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; form-action 'self'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what comes by a foreign name, from a foreign page, or with a token where logs would show it."""
    config = request.app[CONFIG]
    _check_host(request, config)
    if request.method not in SAFE_METHODS or hdrs.UPGRADE in request.headers:
        _check_origin(request, config)
    for name in request.query:
        if name.lower() in TOKENS_IN_QUERIES:
            detail = "a token in an address ends up in logs and histories: send `Authorization: Bearer TOKEN`"
            raise ApiError(400, detail, errors=[culprit("query", name, detail)])
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Tell browsers what they may not do; for the signal on_response_prepare, so that no answer goes without."""
    request[BEGUN] = response
    for name, value in headers_of(request.app[CONFIG]).items():
        response.headers.setdefault(name, value)


def headers_of(config: Config) -> dict[str, str]:
    """List the headers that every answer has, unless it has others of these names."""
    headers = {**HEADERS, hdrs.CACHE_CONTROL: "no-store"}
    return headers if config.scheme == "http" else {**headers, "Strict-Transport-Security": "max-age=31536000"}


def _check_host(request: web.Request, config: Config) -> None:
    """Answer only to known names: a foreign one that leads here is DNS rebinding, and its page would be of our origin.

    An address in numbers cannot be rebound: who sees it in the address bar is there.
    """
    host = request.headers.get(hdrs.HOST, "")  # not request.host: without a header that asks the DNS, and blocks
    name = _host_name(host)
    known = {"localhost", config.host.lower(), *(host.lower() for host in config.allowed_hosts)}
    if name is None or not (name in known or name.endswith(".localhost") or _is_address(name)):
        detail = f"this server is not called {host!r}; its names are listed in allowed_hosts of [plugins.web]"
        raise ApiError(421, detail, errors=[culprit("header", "Host", detail)])


def _check_origin(request: web.Request, config: Config) -> None:
    """Let only pages of this server act, or open a WebSocket; programs that are no browsers name no origin."""
    origin = request.headers.get(hdrs.ORIGIN)
    if (
        origin is not None
        and origin != f"{config.scheme}://{request.headers[hdrs.HOST]}"
        and origin not in config.allowed_origins
    ):
        detail = f"pages of {origin!r} may not do this; allowed_origins of [plugins.web] lists those that may"
        raise ApiError(403, detail, errors=[culprit("header", "Origin", detail)])
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in {"same-origin", "none"} and origin not in config.allowed_origins:
        detail = f"this was sent by another site's page (Sec-Fetch-Site: {site})"
        raise ApiError(403, detail, errors=[culprit("header", "Sec-Fetch-Site", detail)])
    if origin is None and config.cookie_name in request.cookies and hdrs.AUTHORIZATION not in request.headers:
        detail = "a request with a login's cookie must name its Origin, as every browser does"
        raise ApiError(403, detail, errors=[culprit("header", "Origin", detail)])


def _host_name(host: str) -> str | None:
    try:
        return URL.build(scheme="http", authority=host).host
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
