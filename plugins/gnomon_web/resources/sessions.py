"""Login sessions: a browser exchanges a token for a cookie that no script can read and no other site can send."""

from __future__ import annotations

from datetime import datetime
from http.cookies import Morsel
from typing import Annotated, Any

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from gnomon import GnomonError
from gnomon.logs import get_logger
from gnomon.wire.problems import UNAVAILABLE, UNKNOWN_SESSION
from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, KERNEL, actor_of, is_secure
from gnomon_web.auth import sessions
from gnomon_web.auth.roles import NOBODY, Access, Identity, Role
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Answer, Route
from gnomon_web.resources.parameters import Text

log = get_logger("gnomon.web")

SIGN_IN_PATH = "/login/oidc"
"""The path of single sign-on."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token to log in with."""

    token: Annotated[str, Meta(min_length=1, max_length=1000)]


class SignIn(msgspec.Struct, frozen=True):
    """The provider of single sign-on: its name, and the address that leads a browser to it."""

    name: str
    url: str


class Session(msgspec.Struct, kw_only=True):
    """The sender of the request. `is_open`: no tokens are configured, so nobody logs in. `expires`: end of a login.

    `sign_in` is present where the server has single sign-on, and `is_link` is true for a wall link.
    """

    name: str
    role: Access
    expires: datetime | None
    is_open: bool
    sign_in: SignIn | msgspec.UnsetType = msgspec.UNSET
    is_link: bool | msgspec.UnsetType = msgspec.UNSET


class OpenSession(msgspec.Struct, kw_only=True):
    """An open login: who logged in, how, from where, and until when. Its id is not a secret."""

    id: str
    name: str
    role: Role
    via: str
    address: str
    begun: datetime
    expires: datetime

    @classmethod
    def of(cls, session: sessions.Session) -> OpenSession:
        """Return what may be shown of a login."""
        names = cls.__struct_fields__
        return cls(**{name: value for name, value in msgspec.structs.asdict(session).items() if name in names})


class SessionFilters(msgspec.Struct, kw_only=True, frozen=True):
    """The name whose logins are ended."""

    name: Text


def routes() -> list[Route]:
    """Return the routes of this module."""
    admin: dict[str, Any] = {"role": "admin", "tag": "session"}
    return [
        Route(method="POST", path="/login", handler=log_in, role="public", tag="session", errors=(413, 415, 422, 429)),
        Route(method="POST", path="/logout", handler=log_out, role="public", tag="session"),
        Route(method="GET", path="/session", handler=get_session, role="public", tag="session"),
        Route(method="GET", path="/sessions", handler=list_sessions, **admin),
        Route(method="DELETE", path="/sessions", handler=end_sessions, **admin),
        Route(method="DELETE", path="/sessions/{session_id}", handler=end_session, errors=(404,), **admin),
    ]


async def log_in(request: web.Request, body: Login) -> Answer[Session]:
    """Exchange a token for a login cookie."""
    authenticator = request.app[AUTHENTICATOR]
    if authenticator.is_open:
        return Answer(_session(request, await authenticator.identify(request)))
    value, identity = await authenticator.log_in(body.token, request)
    await replace_login(request)
    return Answer(_session(request, identity), login_cookie(request, value, identity))


async def log_out(request: web.Request) -> Answer[Session]:
    """End the login of this request, and the connections opened with it."""
    authenticator = request.app[AUTHENTICATOR]
    without = _cookie(request, "", 0)
    try:
        await authenticator.log_out(request)
    except GnomonError as exc:
        detail = f"this login has ended in this process, and ends in the others when that can be stored: {exc}"
        raise ApiError(UNAVAILABLE, detail, headers={hdrs.RETRY_AFTER: "5", **without}) from exc
    identity = await authenticator.identify(request) if authenticator.is_open else NOBODY
    return Answer(_session(request, identity), without)


async def list_sessions(request: web.Request) -> list[OpenSession]:
    """List the open logins, newest first."""
    authenticator = request.app[AUTHENTICATOR]
    await authenticator.sessions.read()
    return [OpenSession.of(session) for session in authenticator.open_logins()]


async def end_sessions(request: web.Request, query: SessionFilters) -> list[OpenSession]:
    """End all logins of a name, and the connections opened with them; return those that were open."""
    ended = await request.app[AUTHENTICATOR].end_sessions(lambda session: session.name == query.name, actor_of(request))
    return [OpenSession.of(session) for session in ended]


async def end_session(request: web.Request, session_id: str) -> OpenSession:
    """End a login, and the connections opened with it."""
    ended = await request.app[AUTHENTICATOR].end_sessions(lambda session: session.id == session_id, actor_of(request))
    if not ended:
        detail = f"no open login has the id {session_id!r}; `GET /sessions` lists them"
        raise ApiError(UNKNOWN_SESSION, detail, errors=[culprit("path", "session_id", detail)])
    return OpenSession.of(ended[0])


async def get_session(request: web.Request) -> Session:
    """Return the name and role of the sender."""
    authenticator = request.app[AUTHENTICATOR]
    return _session(request, await authenticator.identify(request))


async def replace_login(request: web.Request) -> None:
    """End the login that a browser had before the one that it gets now: it has one at a time."""
    try:
        await request.app[AUTHENTICATOR].log_out(request, is_replaced=True)
    except GnomonError as exc:
        log.warning("the earlier login of a browser ends in the other processes later", problem=str(exc))


def login_cookie(request: web.Request, value: str, identity: Identity) -> dict[str, str]:
    """Return the header that gives a browser its login."""
    assert identity.expires is not None  # noqa: S101 - every login has an end
    remaining = identity.expires - request.app[KERNEL].clock.now()
    return _cookie(request, value, int(remaining.total_seconds()))


def _cookie(request: web.Request, value: str, max_age: int) -> dict[str, str]:
    cookie: Morsel[str] = Morsel()
    cookie.set(request.app[AUTHENTICATOR].cookie_name(is_secure=is_secure(request)), value, value)
    flags = {"path": "/", "max-age": max_age, "httponly": True, "samesite": "Strict", "secure": is_secure(request)}
    for name, flag in flags.items():
        cookie[name] = flag
    return {hdrs.SET_COOKIE: cookie.OutputString()}


def _session(request: web.Request, identity: Identity) -> Session:
    authenticator = request.app[AUTHENTICATOR]
    sign_in: SignIn | msgspec.UnsetType = msgspec.UNSET
    if authenticator.oidc is not None:
        sign_in = SignIn(authenticator.oidc.config.name, f"{request.app[CONFIG].base_path}{SIGN_IN_PATH}")
    return Session(
        name=identity.name,
        role=identity.role,
        expires=identity.expires,
        is_open=authenticator.is_open,
        sign_in=sign_in,
        is_link=identity.is_link or msgspec.UNSET,
    )
