"""The login of TradingAgents-CN: a name and a password are exchanged for a bearer token.

The name is that of a token in the config, and the password is the token itself. What the client gets is not that token
but a login, which ends, and which `POST /auth/logout` ends at once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import GnomonError
from gnomon.wire.problems import INVALID_TOKEN
from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, IDENTITY, KERNEL
from gnomon_web.auth.authenticator import CHALLENGE
from gnomon_web.auth.roles import Identity
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Answer, Route
from gnomon_web.resources import sessions

Word = Annotated[str, Meta(min_length=1, max_length=1000)]
NOT_NEEDED = "not-needed"
"""The token that a server without tokens gives, which checks none."""


class Credentials(msgspec.Struct, frozen=True):
    """The name of a token of the config, and the token."""

    username: Word
    password: Word


class Renewal(msgspec.Struct, frozen=True):
    """The `refresh_token` of a login."""

    refresh_token: Word


class User(msgspec.Struct, kw_only=True):
    """The sender of a request."""

    id: str
    username: str
    name: str
    email: str
    is_admin: bool
    roles: list[str]

    @classmethod
    def of(cls, identity: Identity) -> User:
        """Describe an identity."""
        name = identity.name
        return cls(
            id=name, username=name, name=name, email="", is_admin=identity.may("admin"), roles=[str(identity.role)]
        )


class LoggedIn(msgspec.Struct, kw_only=True):
    """A login. `expires_in` is in seconds; both tokens are the same, and end together."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    user: User


def routes() -> list[Route]:
    """Return the routes of this module."""
    public: dict[str, Any] = {"method": "POST", "role": "public", "tag": "tradingagents"}
    return [
        Route(path="/auth/login", handler=log_in, errors=(413, 415, 422, 429), **public),
        Route(path="/auth/refresh", handler=refresh, errors=(413, 415, 422), **public),
        Route(path="/auth/logout", handler=log_out, **public),
        Route(method="GET", path="/auth/me", handler=who_am_i, role="viewer", tag="tradingagents", scoped=True),
    ]


async def log_in(request: web.Request, body: Credentials) -> Answer[LoggedIn]:
    """Log in with the name of a token and the token itself."""
    authenticator = request.app[AUTHENTICATOR]
    if authenticator.is_open:
        return Answer(_logged_in(request, NOT_NEEDED, request[IDENTITY]))
    value, identity = await authenticator.log_in(body.password, request)
    if identity.name != body.username:
        with suppress(GnomonError):  # nobody has its value
            await authenticator.end_logins({identity.session} if identity.session else ())
        raise _refused("username", "this token has another name")
    # The cookie is for the WebSockets of pages on the same host: browsers send no bearer token with them.
    return Answer(_logged_in(request, value, identity), sessions.login_cookie(request, value, identity))


async def refresh(request: web.Request, body: Renewal) -> LoggedIn:
    """Return a login that has not ended, with the time that it still has."""
    authenticator = request.app[AUTHENTICATOR]
    if authenticator.is_open:
        return _logged_in(request, NOT_NEEDED, request[IDENTITY])
    identity = await authenticator.identity_of_login(body.refresh_token)
    if identity is None:
        raise _refused("refresh_token", "this login has ended: log in again")
    return _logged_in(request, body.refresh_token, identity)


async def log_out(request: web.Request) -> Answer[sessions.Session]:
    """End the login of this request."""
    return await sessions.log_out(request)


async def who_am_i(request: web.Request) -> User:
    """Return the sender of the request."""
    return User.of(request[IDENTITY])


def _logged_in(request: web.Request, token: str, identity: Identity) -> LoggedIn:
    now = request.app[KERNEL].clock.now()
    ends = identity.expires or now + request.app[CONFIG].session
    return LoggedIn(
        access_token=token,
        refresh_token=token,
        token_type="bearer",  # noqa: S106 - the kind of a token
        expires_in=int((ends - now).total_seconds()),
        user=User.of(identity),
    )


def _refused(name: str, detail: str) -> ApiError:
    return ApiError(INVALID_TOKEN, detail, errors=[culprit("body", name, detail)], headers=CHALLENGE)
