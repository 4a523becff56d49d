"""Checks against web pages of other sites: the Host and Origin of a request, and the security headers of answers."""

from __future__ import annotations

import ipaddress
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from gnomon.wire.problems import FOREIGN_ORIGIN, TOKEN_IN_ADDRESS, UNKNOWN_HOST
from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, SAFE_METHODS, is_secure
from gnomon_web.auth.client_address import client_of
from gnomon_web.auth.cross_origin import answer_preflight, headers_for_origin, is_preflight
from gnomon_web.config import Config
from gnomon_web.errors import ApiError, culprit

TOKENS_IN_QUERIES: Final = frozenset({"token", "access_token", "auth_token", "api_key", "apikey", "authorization"})
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; "
        "form-action 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@web.middleware
async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse unknown host names, actions by foreign pages, and tokens in the address."""
    config = request.app[CONFIG]
    _check_host(request, config)
    if request.method not in SAFE_METHODS or hdrs.UPGRADE in request.headers:
        _check_origin(request, config)
    if is_preflight(request):
        return answer_preflight(request)
    for name in request.query:
        if name.lower() in TOKENS_IN_QUERIES:
            detail = "logs and browser histories keep addresses: send the token as `Authorization: Bearer TOKEN`"
            raise ApiError(TOKEN_IN_ADDRESS, detail, errors=[culprit("query", name, detail)])
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers; connected to the signal on_response_prepare, so that every answer gets them."""
    for name, value in headers_of(is_secure=is_secure(request)).items():
        response.headers.setdefault(name, value)
    for name, value in headers_for_origin(request, request.app[CONFIG]).items():
        response.headers.add(name, value)


def headers_of(*, is_secure: bool) -> dict[str, str]:
    """Return the headers that every answer gets, unless it sets them itself."""
    headers = {**HEADERS, hdrs.CACHE_CONTROL: "no-store"}
    return {**headers, "Strict-Transport-Security": "max-age=31536000"} if is_secure else headers


def _check_host(request: web.Request, config: Config) -> None:
    """Refuse unknown names: with DNS rebinding, a page under a foreign name would be of the server's own origin.

    IP addresses cannot be rebound: a page that shows one in the address bar was loaded from there.
    """
    host = request.headers.get(hdrs.HOST, "")  # request.host does a blocking DNS lookup where the header is missing
    name = _host_name(host)
    known = {"localhost", config.host.lower(), *(host.lower() for host in config.allowed_hosts)}
    if config.public_host is not None and (public := _host_name(config.public_host)) is not None:
        known.add(public)
    if name is None or not (name in known or name.endswith(".localhost") or _is_address(name)):
        detail = f"this server does not answer to the name {host!r}; allowed_hosts of [plugins.web] lists its names"
        raise ApiError(UNKNOWN_HOST, detail, errors=[culprit("header", "Host", detail)])


def _check_origin(request: web.Request, config: Config) -> None:
    """Allow only pages of this server to act or open a WebSocket; programs other than browsers send no Origin."""
    origin = request.headers.get(hdrs.ORIGIN)
    if (
        origin is not None
        and origin != _own_origin(request, config)
        and origin not in {config.public_origin, *config.allowed_origins}
    ):
        detail = f"pages of {origin!r} may not do this; allowed_origins of [plugins.web] lists those that may"
        raise ApiError(FOREIGN_ORIGIN, detail, errors=[culprit("header", "Origin", detail)])
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in {"same-origin", "none"} and origin not in config.allowed_origins:
        detail = f"a page of another site sent this request (Sec-Fetch-Site: {site})"
        raise ApiError(FOREIGN_ORIGIN, detail, errors=[culprit("header", "Sec-Fetch-Site", detail)])
    has_cookie = any(
        request.app[AUTHENTICATOR].cookie_name(is_secure=secure) in request.cookies for secure in (True, False)
    )
    if origin is None and has_cookie and hdrs.AUTHORIZATION not in request.headers:
        detail = "a request with a login cookie must send its Origin, as every browser does"
        raise ApiError(FOREIGN_ORIGIN, detail, errors=[culprit("header", "Origin", detail)])


def _own_origin(request: web.Request, config: Config) -> str | None:
    """Return the origin of pages that the sender loaded from this server; under its public name only `public_url`."""
    host = request.headers[hdrs.HOST]
    if host.lower() == config.public_host:
        return config.public_origin
    return f"{'https' if client_of(request, config).is_secure else 'http'}://{host}"


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
