"""The one authenticator of REST calls, WebSockets and pages: by bearer token or login cookie."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC

import msgspec
from aiohttp import hdrs, web

from gnomon import Clock
from gnomon.text import moment
from gnomon.wire.problems import (
    AUTHENTICATION_REQUIRED,
    EXPIRED_TOKEN,
    INSUFFICIENT_ROLE,
    INVALID_TOKEN,
    Culprit,
    ProblemKind,
)
from gnomon_web.auth.rate_limit import RateLimit
from gnomon_web.auth.roles import LOCAL, NOBODY, Access, Identity
from gnomon_web.auth.tokens import Token, digest_of
from gnomon_web.config import Config
from gnomon_web.errors import ApiError, culprit

MAX_SESSIONS = 10_000
"""Logins that are kept; a new one beyond that ends the oldest."""
NOT_CONFIGURED = "this token is not configured"
CHALLENGE: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="gnomon"'}


class Authenticator:
    """Identifies the sender of a request and keeps the logins, in memory: a restart ends them all."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._tokens = [(token.digest, token) for token in config.tokens]
        self._sessions: OrderedDict[bytes, Identity] = OrderedDict()
        self._failures = RateLimit(config.failed_logins, 60.0, clock)

    @property
    def is_open(self) -> bool:
        """Whether no tokens are configured, so that anyone who reaches the server may do everything."""
        return not self._tokens

    def identify(self, request: web.Request) -> Identity:
        """Return the sender of a request, NOBODY without credentials; ApiError 401 for a token that is not valid."""
        if self.is_open:
            return LOCAL
        if (header := request.headers.get(hdrs.AUTHORIZATION)) is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise _refused(INVALID_TOKEN, culprit("header", "Authorization", "expected `Bearer TOKEN`"))
            blamed = culprit("header", "Authorization", NOT_CONFIGURED)
            found = self._check(token.strip(), request.remote or "", blamed)
            return Identity(found.name, found.role)
        return self.session_of(request)

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity still holds: false once its login has ended."""
        return identity.session is None or self._live(identity.session) is identity

    # --- logins ---

    def log_in(self, token: str, remote: str) -> tuple[str, Identity]:
        """Exchange a token for a login and return the cookie's value; ApiError 401, 429."""
        self._failures.check(remote)
        known = self._check(token, remote, culprit("body", "token", NOT_CONFIGURED))
        value = secrets.token_urlsafe(32)
        key = digest_of(value)
        until = self._clock.now() + self._config.session
        identity = Identity(known.name, known.role, key, min(until, known.expires or until))
        self._sessions[key] = identity
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return value, identity

    def session_of(self, request: web.Request) -> Identity:
        """Return the identity of the request's login cookie; NOBODY without one, or once the login has ended."""
        value = request.cookies.get(self._config.cookie_name)
        return (self._live(digest_of(value)) if value else None) or NOBODY

    def log_out(self, identity: Identity) -> None:
        """End a login."""
        if identity.session is not None:
            self._sessions.pop(identity.session, None)

    def _check(self, token: str, remote: str, blamed: Culprit) -> Token:
        """Compare with every token, so that the time it takes reveals nothing."""
        digest, found = digest_of(token), None
        for known, candidate in self._tokens:
            if hmac.compare_digest(known, digest):
                found = candidate
        if found is None:
            self._failures.count(remote)
            raise _refused(INVALID_TOKEN, blamed)
        if found.has_expired(self._clock.now()):
            detail = f"the token {found.name!r} expired at {moment(found.expires, UTC)}; ask for a new one"
            raise _refused(EXPIRED_TOKEN, msgspec.structs.replace(blamed, detail=detail))
        return found

    def _live(self, key: bytes) -> Identity | None:
        identity = self._sessions.get(key)
        if identity is not None and identity.expires is not None and identity.expires <= self._clock.now():
            del self._sessions[key]
            return None
        return identity


def require(identity: Identity, access: Access) -> None:
    """Raise ApiError unless the identity has the role that a route requires: 401 without credentials, else 403."""
    if identity.may(access):
        return
    if identity is NOBODY:
        detail = f"this call requires the role {access}: send `Authorization: Bearer TOKEN`"
        raise _refused(AUTHENTICATION_REQUIRED, culprit("header", "Authorization", detail))
    detail = f"this call requires the role {access}; {identity.name!r} has the role {identity.role}"
    raise ApiError(INSUFFICIENT_ROLE, detail, errors=[culprit("header", "Authorization", detail)])


def _refused(kind: ProblemKind, blamed: Culprit) -> ApiError:
    return ApiError(kind, blamed.detail, errors=[blamed], headers=CHALLENGE)
