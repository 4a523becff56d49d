"""Answers to pages of other origins, for those that `allowed_origins` names (CORS, in the Fetch standard).

Pages of other origins get no headers: their browsers then keep answers from them.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import hdrs, web

from gnomon_web.config import Config

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED: Final = "ETag, Location, Retry-After, WWW-Authenticate"
"""Headers of answers that pages may read, besides those that all may."""
MAX_AGE_S: Final = 600
"""Seconds for which a browser may keep the answer to a preflight."""
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,2000}")
_REQUEST_PRIVATE_NETWORK: Final = "Access-Control-Request-Private-Network"
_ALLOW_PRIVATE_NETWORK: Final = "Access-Control-Allow-Private-Network"


def is_preflight(request: web.Request) -> bool:
    """Return whether a browser asks with this request whether a page may send another one."""
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def answer_preflight(request: web.Request) -> web.Response:
    """Allow the request that a page of an allowed origin is about to send; its own role is checked when it comes."""
    headers: dict[str, str] = {hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS, hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_S)}
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    if wanted and _HEADER_NAMES.fullmatch(wanted):
        headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = wanted  # by name: "*" does not include Authorization
    if _REQUEST_PRIVATE_NETWORK in request.headers:
        headers[_ALLOW_PRIVATE_NETWORK] = "true"
    return web.Response(status=204, headers=headers)


def headers_for_origin(request: web.Request, config: Config) -> dict[str, str]:
    """Return the headers that let a page of an allowed origin read the answer."""
    if not config.allowed_origins:
        return {}
    headers: dict[str, str] = {hdrs.VARY: hdrs.ORIGIN}  # a cache must not give the answer for one origin to another
    origin = request.headers.get(hdrs.ORIGIN)
    if origin in config.allowed_origins:
        headers |= {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
            hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true",
            hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED,
        }
    return headers
