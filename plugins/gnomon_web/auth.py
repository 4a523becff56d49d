"""One authenticator for every door: REST, WebSockets and pages ask it, by the same cookie or header."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping

from aiohttp import hdrs, web

from gnomon import Clock
from gnomon_web.config import Config, Token
from gnomon_web.problems import ApiError, Culprit, culprit
from gnomon_web.rate_limit import RateLimit
from gnomon_web.roles import LOCAL, NOBODY, Access, Identity

MOST_SESSIONS = 10_000
"""Logins that are kept; the oldest is forgotten for a new one."""
NOT_CONFIGURED = "this token is none of those that are configured"
CHALLENGE: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="gnomon"'}


class Authenticator:
    """Tells who makes a request, and keeps the logins, in memory: a restart ends them all."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._identities = [(_digest_of(token), Identity(token.name, token.role)) for token in config.tokens]
        self._sessions: OrderedDict[bytes, Identity] = OrderedDict()
        self._failures = RateLimit(config.failed_logins, 60.0, clock)

    @property
    def is_open(self) -> bool:
        """Whether everybody who reaches the server may do everything: no tokens are configured."""
        return not self._identities

    def identify(self, request: web.Request) -> Identity:
        """Tell who makes a request, NOBODY where it does not say; ApiError 401 for a token that is none of ours."""
        if self.is_open:
            return LOCAL
        if (header := request.headers.get(hdrs.AUTHORIZATION)) is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise _refused(culprit("header", "Authorization", "expected `Bearer TOKEN`"))
            return self._check(token.strip(), request.remote or "", culprit("header", "Authorization", NOT_CONFIGURED))
        return self.session_of(request)

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity still holds: false once its login has ended."""
        return identity.session is None or self._alive(identity.session) is identity

    # --- logins ---

    def log_in(self, token: str, remote: str) -> tuple[str, Identity]:
        """Exchange a token for a login; returns the cookie's value. ApiError 401, 429."""
        self._failures.check(remote)
        known = self._check(token, remote, culprit("body", "token", NOT_CONFIGURED))
        value = secrets.token_urlsafe(32)
        key = _digest(value)
        identity = Identity(known.name, known.role, key, self._clock.now() + self._config.session)
        self._sessions[key] = identity
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return value, identity

    def session_of(self, request: web.Request) -> Identity:
        """Return whose login the cookie of a request is; NOBODY where there is none, or none any more."""
        value = request.cookies.get(self._config.cookie_name)
        return (self._alive(_digest(value)) if value else None) or NOBODY

    def log_out(self, identity: Identity) -> None:
        """End a login."""
        if identity.session is not None:
            self._sessions.pop(identity.session, None)

    def _check(self, token: str, remote: str, blamed: Culprit) -> Identity:
        """Compare with every token, so that the time it takes tells nothing."""
        digest, found = _digest(token), None
        for known, identity in self._identities:
            if hmac.compare_digest(known, digest):
                found = identity
        if found is None:
            self._failures.count(remote)
            raise _refused(blamed)
        return found

    def _alive(self, key: bytes) -> Identity | None:
        identity = self._sessions.get(key)
        if identity is not None and identity.expires is not None and identity.expires <= self._clock.now():
            del self._sessions[key]
            return None
        return identity


def require(identity: Identity, access: Access) -> None:
    """Let an identity pass that may do what a route asks for; ApiError 401 where it is unknown, else 403."""
    if identity.may(access):
        return
    if identity is NOBODY:
        detail = f"this needs the role {access}: send `Authorization: Bearer TOKEN`"
        raise _refused(culprit("header", "Authorization", detail))
    detail = f"this needs the role {access}; {identity.name!r} is {identity.role}"
    raise ApiError(403, detail, errors=[culprit("header", "Authorization", detail)])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _digest_of(token: Token) -> bytes:
    if token.token is not None:
        return _digest(token.token.reveal())
    return bytes.fromhex((token.hash or "").removeprefix("sha256:"))


def _refused(blamed: Culprit) -> ApiError:
    return ApiError(401, blamed.detail, errors=[blamed], headers=CHALLENGE)
