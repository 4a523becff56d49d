"""The one authenticator of REST calls, WebSockets and pages: by bearer token or login cookie."""

from __future__ import annotations

import hmac
import importlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from gnomon import Clock
from gnomon.domain.operator_actions import is_reserved
from gnomon.text import moment, shorten
from gnomon.wire.problems import (
    AUTHENTICATION_REQUIRED,
    EXPIRED_TOKEN,
    FORWARDED_REQUEST,
    INSUFFICIENT_ROLE,
    INVALID_TOKEN,
    Culprit,
    ProblemKind,
)
from gnomon_web.auth.access_log import AccessLog
from gnomon_web.auth.client_address import FORWARDING_HEADERS, client_of
from gnomon_web.auth.networks import bucket_of
from gnomon_web.auth.oidc_config import Oidc
from gnomon_web.auth.peer_owner import local_identity, user_name
from gnomon_web.auth.rate_limit import RateLimit
from gnomon_web.auth.roles import LOCAL, NOBODY, Access, Identity, Role
from gnomon_web.auth.sessions import PREFIX, Session, Sessions
from gnomon_web.auth.tokens import GENERATE, Token, digest_of
from gnomon_web.config import Config
from gnomon_web.errors import ApiError, culprit

if TYPE_CHECKING:
    from gnomon_web.auth.oidc_client import OidcClient

NOT_CONFIGURED = "this token is not configured"
LOGINS_OF_NAME = 60
"""Logins with one token in a minute."""
MAX_NAME_CHARACTERS = 200
CHALLENGE: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="gnomon"'}


class Authenticator:
    """Identifies the sender of a request. `reload` applies the tokens and the provider of a changed config."""

    def __init__(self, config: Config, clock: Clock, sessions: Sessions, access_log: AccessLog) -> None:
        self._config = config
        self._clock = clock
        self.sessions = sessions
        self.access_log = access_log
        self._tokens: dict[bytes, Token] = {}
        self.oidc: OidcClient | None = None
        self._failures = RateLimit(config.failed_logins, 60.0, clock)
        self._logins = RateLimit(LOGINS_OF_NAME, 60.0, clock)
        self._apply(config)

    async def reload(self, config: Config) -> None:
        """Apply the tokens and the provider of a changed config; logins that they no longer grant end."""
        if self._apply(config):
            await self.sessions.save()

    def _apply(self, config: Config) -> list[Session]:
        self._config = config
        self._tokens = {token.digest: token for token in config.tokens}
        if config.oidc is None:
            self.oidc = None
        elif self.oidc is None or self.oidc.config != config.oidc:
            self.oidc = make_oidc_client(config.oidc, self._clock)
        ended = self.sessions.end(lambda session: not self._grants(session))
        for session in ended:
            self.access_log.logged_out(session, session.name, "reload")
        return ended

    def _grants(self, session: Session) -> bool:
        """Whether the config still grants a login: its token is the same, or its provider and that one's roles."""
        if session.via == "oidc":
            oidc = self._config.oidc
            return oidc is not None and self.sessions.fingerprint(oidc.fingerprint) == session.source
        token = self._token_named(session.name)
        return token is not None and self.sessions.fingerprint(token.digest) == session.source

    def _token_named(self, name: str) -> Token | None:
        return next((token for token in self._tokens.values() if token.name == name), None)

    @property
    def is_open(self) -> bool:
        """Whether nobody can log in, so that anyone who reaches the server may do everything."""
        return self._config.is_open

    def identify(self, request: web.Request, access: Access = "admin") -> Identity:
        """Return the sender of a request, NOBODY without credentials; ApiError 401 for a token that is not valid.

        `access` is what the sender wants to do. Without tokens every user of the machine may read, and only the
        kernel's own user and root may act.
        """
        if self.is_open:
            _refuse_forwarded(request)
            return LOCAL if access in {"public", "viewer"} else local_identity(request)
        if (header := request.headers.get(hdrs.AUTHORIZATION)) is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise _refused(INVALID_TOKEN, culprit("header", "Authorization", "expected `Bearer TOKEN`"))
            return self._bearer(token.strip())
        return self.session_of(request)

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity still holds: false once its login or token has ended or was removed."""
        if identity.expires is not None and identity.expires <= self._clock.now():
            return False
        if identity.session is not None and self.sessions.get(identity.session) is None:
            return False
        if identity.token is None:
            return identity.session is not None or identity is NOBODY or self.is_open
        token = self._tokens.get(identity.token)
        return token is not None and (token.role, token.scope) == (identity.role, identity.scope)

    # --- logins ---

    async def log_in(self, token: str, request: web.Request) -> tuple[str, Identity]:
        """Exchange a token for a login and return the cookie's value; ApiError 401, 429."""
        address = client_of(request, self._config).address
        self._failures.check(bucket_of(address), f"too many wrong tokens from {address}")
        try:
            known = self._check(token, culprit("body", "token", NOT_CONFIGURED))
        except ApiError as exc:
            if exc.problem.is_a(INVALID_TOKEN):  # an expired one is known, and does not lock out its neighbours
                self._failures.count(bucket_of(address))
            raise
        self._logins.check(known.name, f"too many logins with the token {known.name!r}")
        self._logins.count(known.name)
        until = self._clock.now() + self._config.session
        expires = min(until, known.expires or until)
        session = self.sessions.add(
            known.name, known.role, "token", source=known.digest, expires=expires, address=address
        )
        return await self._opened(session)

    async def log_in_user(self, claims: Mapping[str, Any], role: Role, request: web.Request) -> tuple[str, Identity]:
        """Open a login for a user of the provider, until the end of the ID token at the latest; ApiError 429."""
        oidc = self._config.oidc
        assert oidc is not None  # noqa: S101 - the claims are a provider's
        subject = str(claims["sub"])
        name = self._name_of_user(oidc, claims)
        self._logins.check(f"oidc {subject}", f"too many logins of {name!r}")
        self._logins.count(f"oidc {subject}")
        expires = min(self._clock.now() + self._config.session, datetime.fromtimestamp(claims["exp"], UTC))
        address = client_of(request, self._config).address
        session = self.sessions.add(
            name, role, "oidc", source=oidc.fingerprint, expires=expires, address=address, subject=subject
        )
        return await self._opened(session)

    async def _opened(self, session: Session) -> tuple[str, Identity]:
        await self.sessions.save()
        self.access_log.logged_in(session)
        return self.sessions.value_of(session), self._identity_of_session(session)

    def _name_of_user(self, oidc: Oidc, claims: Mapping[str, Any]) -> str:
        """Return the actor of a user: never the name of a token, of the kernel, or of what has no name."""
        name = shorten("".join(filter(str.isprintable, oidc.name_of(claims))).strip(), MAX_NAME_CHARACTERS)
        taken = is_reserved(name) or self._token_named(name) or name in {LOCAL.name, NOBODY.name}
        return f"{name}@{urlsplit(oidc.issuer).hostname}" if taken or not name else name

    def session_of(self, request: web.Request) -> Identity:
        """Return the identity of the request's login cookie; NOBODY without one, or once the login has ended."""
        is_secure = self._config.is_public_secure or client_of(request, self._config).is_secure
        value = request.cookies.get(self._config.cookie_name(is_secure=is_secure))
        return self.identity_of_login(value or "") or NOBODY

    def identity_of_login(self, value: str) -> Identity | None:
        """Return the identity of a login by its value, as `log_in` returned it; None once it has ended."""
        session = self.sessions.read(value) if value else None
        identity = NOBODY if session is None else self._identity_of_session(session)
        return None if identity is NOBODY else identity

    async def log_out(self, identity: Identity) -> None:
        """End a login."""
        if identity.session is not None:
            await self.end_sessions(lambda session: session.id == identity.session, identity.name, "logout")

    async def end_sessions(self, condition: Callable[[Session], bool], actor: str, reason: str) -> list[Session]:
        """End the logins that fulfil a condition, and return them."""
        ended = self.sessions.end(condition)
        for session in ended:
            self.access_log.logged_out(session, actor, reason)
        if ended:
            await self.sessions.save()
        return ended

    def _bearer(self, value: str) -> Identity:
        if value.startswith(PREFIX):
            if (identity := self.identity_of_login(value)) is not None:
                return identity
            raise _refused(INVALID_TOKEN, culprit("header", "Authorization", "this login has ended: log in again"))
        known = self._check(value, culprit("header", "Authorization", NOT_CONFIGURED))
        return Identity(known.name, known.role, expires=known.expires, token=known.digest, scope=known.scope)

    def _check(self, token: str, blamed: Culprit) -> Token:
        """Compare with every token, so that the time it takes reveals nothing."""
        digest, found = digest_of(token), None
        for known, candidate in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = candidate
        if found is None:
            raise _refused(INVALID_TOKEN, blamed)
        if found.has_expired(self._clock.now()):
            detail = f"the token {found.name!r} expired at {moment(found.expires, UTC)}; ask for a new one"
            raise _refused(EXPIRED_TOKEN, msgspec.structs.replace(blamed, detail=detail))
        return found

    def _identity_of_session(self, session: Session) -> Identity:
        """Return the identity of a login, with what its token may do now."""
        if not self._grants(session):
            return NOBODY
        if session.via == "oidc":
            return Identity(session.name, session.role, session.id, session.expires)
        token = self._token_named(session.name)
        assert token is not None  # noqa: S101 - it grants the login
        expires = min(session.expires, token.expires or session.expires)
        return Identity(token.name, token.role, session.id, expires, token.digest, token.scope)


def make_oidc_client(oidc: Oidc, clock: Clock) -> OidcClient:
    """Return the client of a provider. Its module needs the extra `oidc`, which the config has checked."""
    client: OidcClient = importlib.import_module("gnomon_web.auth.oidc_client").OidcClient(oidc, clock)
    return client


def require(identity: Identity, access: Access) -> None:
    """Raise ApiError unless the identity has the role that a route requires: 401 without credentials, else 403."""
    if identity.may(access):
        return
    if identity is NOBODY:
        detail = f"this call requires the role {access}: send `Authorization: Bearer TOKEN`"
        raise _refused(AUTHENTICATION_REQUIRED, culprit("header", "Authorization", detail))
    if identity.token is None and identity.session is None:
        detail = (
            f"this server has no tokens, so only its own user, {user_name(os.geteuid())}, and root may do this; the "
            f"request comes from the {identity.name}. To act as another user, configure a token with the role {access} "
            f"in [[plugins.web.tokens]]; {GENERATE}"
        )
        raise ApiError(INSUFFICIENT_ROLE, detail, errors=[culprit("header", "Authorization", detail)])
    detail = f"this call requires the role {access}; {identity.name!r} has the role {identity.role}"
    raise ApiError(INSUFFICIENT_ROLE, detail, errors=[culprit("header", "Authorization", detail)])


def _refuse_forwarded(request: web.Request) -> None:
    """Refuse what a proxy sends on to a server without tokens: its client may be anywhere, and would be the admin."""
    for name in FORWARDING_HEADERS:
        if name in request.headers:
            detail = (
                "this server has no tokens and serves this machine only, and a proxy sent this request: configure "
                "[[plugins.web.tokens]], and trusted_proxies of [plugins.web]"
            )
            raise ApiError(FORWARDED_REQUEST, detail, errors=[culprit("header", name, detail)])


def _refused(kind: ProblemKind, blamed: Culprit) -> ApiError:
    return ApiError(kind, blamed.detail, errors=[blamed], headers=CHALLENGE)
