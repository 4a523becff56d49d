"""Login sessions: a browser exchanges a token for a cookie that no script can read and no other site can send."""

from __future__ import annotations

from datetime import datetime
from http.cookies import Morsel
from typing import Annotated

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, IDENTITY
from gnomon_web.auth.roles import LOCAL, NOBODY, Access, Identity
from gnomon_web.http.routes import Answer, Route


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token to log in with."""

    token: Annotated[str, Meta(min_length=1, max_length=1000)]


class Session(msgspec.Struct, kw_only=True):
    """The sender of the request. `is_open`: no tokens are configured, so nobody logs in. `expires`: end of a login."""

    name: str
    role: Access
    expires: datetime | None
    is_open: bool


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(method="POST", path="/login", handler=log_in, role="public", tag="session", errors=(413, 415, 422, 429)),
        Route(method="POST", path="/logout", handler=log_out, role="public", tag="session"),
        Route(method="GET", path="/session", handler=get_session, role="public", tag="session"),
    ]


async def log_in(request: web.Request, body: Login) -> Answer[Session]:
    """Exchange a token for a login cookie."""
    authenticator, config = request.app[AUTHENTICATOR], request.app[CONFIG]
    if authenticator.is_open:
        return Answer(_session(request, request[IDENTITY]))
    authenticator.log_out(authenticator.session_of(request))  # a browser has one login at a time
    value, identity = authenticator.log_in(body.token, request.remote or "")
    return Answer(_session(request, identity), _cookie(request, value, int(config.session.total_seconds())))


async def log_out(request: web.Request) -> Answer[Session]:
    """End the login of this cookie, and the connections opened with it."""
    authenticator = request.app[AUTHENTICATOR]
    authenticator.log_out(authenticator.session_of(request))
    return Answer(_session(request, LOCAL if authenticator.is_open else NOBODY), _cookie(request, "", 0))


async def get_session(request: web.Request) -> Session:
    """Return the name and role of the sender."""
    return _session(request, request[IDENTITY])


def _cookie(request: web.Request, value: str, max_age: int) -> dict[str, str]:
    cookie: Morsel[str] = Morsel()
    cookie.set(request.app[CONFIG].cookie_name, value, value)
    flags = {"path": "/", "max-age": max_age, "httponly": True, "samesite": "Strict"}
    for name, flag in (flags | {"secure": request.app[CONFIG].scheme == "https"}).items():
        cookie[name] = flag
    return {hdrs.SET_COOKIE: cookie.OutputString()}


def _session(request: web.Request, identity: Identity) -> Session:
    is_open = request.app[AUTHENTICATOR].is_open
    return Session(name=identity.name, role=identity.role, expires=identity.expires, is_open=is_open)
