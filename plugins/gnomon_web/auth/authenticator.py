"""The one authenticator of REST calls, WebSockets and pages: by bearer token or login cookie."""

from __future__ import annotations

import hmac
import importlib
import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from gnomon import Clock, GnomonError
from gnomon.domain.operator_actions import is_reserved
from gnomon.logs import get_logger
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
from gnomon_web.auth.rate_limit import SharedLimit
from gnomon_web.auth.roles import LOCAL, NOBODY, Access, Identity, Role
from gnomon_web.auth.sessions import PREFIX, Session, Sessions
from gnomon_web.auth.shared_claims import SharedClaims
from gnomon_web.auth.tokens import GENERATE, Token, digest_of
from gnomon_web.config import Config
from gnomon_web.errors import ApiError, culprit

if TYPE_CHECKING:
    from gnomon_web.auth.oidc_client import OidcClient

log = get_logger("gnomon.web")

NOT_CONFIGURED = "this token is not configured"
LOGINS_OF_NAME = 60
"""Logins with one token in a minute."""
MAX_NAME_CHARACTERS = 200
CHALLENGE: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="gnomon"'}


class OpenedLink(NamedTuple):
    """A wall link and its value, which is a secret."""

    value: str
    session: Session


class Authenticator:
    """Identifies the sender of a request. `reload` applies the tokens and the provider of a changed config."""

    def __init__(self, config: Config, claims: SharedClaims, sessions: Sessions, access_log: AccessLog) -> None:
        self._config = config
        self._clock = claims.clock
        self.sessions = sessions
        self.access_log = access_log
        self._cookie = sessions.cookie_name(config.port)
        self._tokens: dict[bytes, Token] = {}
        self.oidc: OidcClient | None = None
        self._failures = SharedLimit(claims, "failures", config.failed_logins, 60.0)
        self._logins = SharedLimit(claims, "logins", LOGINS_OF_NAME, 60.0)
        self._apply(config)

    async def reload(self, config: Config) -> None:
        """Apply the tokens and the provider of a changed config; logins that they no longer grant end everywhere."""
        before = self._config
        self._apply(config)

        def is_revoked(session: Session) -> bool:
            return self._grants(session, before) and not self._grants(session, config)

        try:
            await self.sessions.end(
                is_revoked, lambda session: self.access_log.logged_out(session, session.name, "reload")
            )
        except GnomonError as exc:
            log.warning("logins that the config no longer grants end in the other processes later", problem=str(exc))

    def _apply(self, config: Config) -> None:
        self._config = config
        self._tokens = {token.digest: token for token in config.tokens}
        if config.oidc is None:
            self.oidc = None
        elif self.oidc is None or self.oidc.config != config.oidc:
            self.oidc = make_oidc_client(config.oidc, self._clock)

    def _grants(self, session: Session, config: Config) -> bool:
        """Whether a config grants a login: it has the same token, or the same provider with the same roles."""
        if session.via == "oidc":
            return config.oidc is not None and self.sessions.fingerprint(config.oidc.fingerprint) == session.source
        if session.link:
            return any(self.sessions.fingerprint(token.digest) == session.source for token in config.tokens)
        token = next((token for token in config.tokens if token.name == session.name), None)
        return token is not None and self.sessions.fingerprint(token.digest) == session.source

    def _token_named(self, name: str) -> Token | None:
        return next((token for token in self._tokens.values() if token.name == name), None)

    @property
    def is_open(self) -> bool:
        """Whether nobody can log in, so that anyone who reaches the server may do everything."""
        return self._config.is_open

    def cookie_name(self, *, is_secure: bool) -> str:
        """Return the name of the login cookie. Browsers accept a `__Host-` cookie only over TLS."""
        # Only the host itself can set such a cookie, and no page of a subdomain.
        return f"{'__Host-' if is_secure else ''}gnomon-{self._cookie}"

    async def identify(self, request: web.Request, access: Access = "admin") -> Identity:
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
            return await self._bearer(token.strip())
        return await self.session_of(request)

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity still holds: false once its login or token has ended or was removed."""
        if identity.expires is not None and identity.expires <= self._clock.now():
            return False
        session = self.sessions.get(identity.session) if identity.session is not None else None
        if identity.session is not None and session is None:
            return False
        if session is not None and session.link:  # its scope is that of the creator's token
            return self._identity_of_session(session) == identity
        if identity.token is None:
            return identity.session is not None or identity is NOBODY or self.is_open
        token = self._tokens.get(identity.token)
        return token is not None and (token.role, token.scope) == (identity.role, identity.scope)

    # --- logins ---

    async def log_in(self, token: str, request: web.Request) -> tuple[str, Identity]:
        """Exchange a token for a login and return the cookie's value; ApiError 401, 429."""
        address = client_of(request, self._config).address
        bucket = bucket_of(address)
        problem = f"too many wrong tokens from {address}"
        self._failures.check(bucket, problem)
        if (wall := await self._wall_of(token)) is not None:
            return token, wall
        try:
            known = self._check(token, culprit("body", "token", NOT_CONFIGURED))
        except ApiError as exc:
            if exc.problem.is_a(INVALID_TOKEN):  # an expired one is known, and does not lock out its neighbours
                await self._failures.count(bucket, problem)
            raise
        await self._failures.look(bucket, problem)
        await self._count_login(known.name, f"too many logins with the token {known.name!r}")
        until = self._clock.now() + self._config.session
        expires = min(until, known.expires or until)
        session = await self.sessions.add(
            known.name,
            known.role,
            "token",
            source=self.sessions.fingerprint(known.digest),
            expires=expires,
            address=address,
        )
        return self._opened(session)

    async def log_in_user(self, claims: Mapping[str, Any], role: Role, request: web.Request) -> tuple[str, Identity]:
        """Open a login for a user of the provider, until the end of the ID token at the latest; ApiError 429."""
        oidc = self._config.oidc
        assert oidc is not None  # noqa: S101 - the claims are a provider's
        subject = str(claims["sub"])
        name = self._name_of_user(oidc, claims)
        await self._count_login(f"oidc {subject}", f"too many logins of {name!r}")
        expires = min(self._clock.now() + self._config.session, datetime.fromtimestamp(claims["exp"], UTC))
        address = client_of(request, self._config).address
        session = await self.sessions.add(
            name,
            role,
            "oidc",
            source=self.sessions.fingerprint(oidc.fingerprint),
            expires=expires,
            address=address,
            subject=subject,
        )
        return self._opened(session)

    async def _wall_of(self, value: str) -> Identity | None:
        """Return the identity of a wall link by its value, None for anything else."""
        identity = await self.identity_of_login(value) if value.startswith(PREFIX) else None
        return identity if identity is not None and identity.is_link else None

    async def make_link(self, creator: Identity, name: str, days: int, request: web.Request) -> OpenedLink:
        """Open a login for a wall, which the token or provider of its creator grants; return its value, too."""
        login = self.sessions.get(creator.session) if creator.session is not None else None
        if login is None and creator.token is None:
            detail = "this server has no tokens, so a wall on this machine needs no link: open /?wall"
            raise _refused(INSUFFICIENT_ROLE, culprit("header", "Authorization", detail))
        source = login.source if login is not None else self.sessions.fingerprint(creator.token or b"")
        token = next((one for one in self._tokens.values() if one.digest == creator.token), None)
        until = self._clock.now() + timedelta(days=days)
        session = await self.sessions.add(
            f"wall {name}",
            "viewer",
            login.via if login is not None else "token",
            source=source,
            expires=min(until, token.expires or until) if token is not None else until,
            address=client_of(request, self._config).address,
            link=True,
            creator=creator.name,
        )
        self.access_log.logged_in(session)
        return OpenedLink(self.sessions.value_of(session), session)

    async def _count_login(self, key: str, problem: str) -> None:
        self._logins.check(key, problem)
        await self._logins.count(key, problem)

    def _opened(self, session: Session) -> tuple[str, Identity]:
        self.access_log.logged_in(session)
        return self.sessions.value_of(session), self._identity_of_session(session)

    def _name_of_user(self, oidc: Oidc, claims: Mapping[str, Any]) -> str:
        """Return the actor of a user: never the name of a token, of the kernel, or of what has no name."""
        name = shorten("".join(filter(str.isprintable, oidc.name_of(claims))).strip(), MAX_NAME_CHARACTERS)
        taken = is_reserved(name) or self._token_named(name) or name in {LOCAL.name, NOBODY.name}
        return f"{name}@{urlsplit(oidc.issuer).hostname}" if taken or not name else name

    async def session_of(self, request: web.Request) -> Identity:
        """Return the identity of the request's login cookie; NOBODY without one, or once the login has ended."""
        return await self.identity_of_login(self._cookie_of(request)) or NOBODY

    def _cookie_of(self, request: web.Request) -> str:
        is_secure = self._config.is_public_secure or client_of(request, self._config).is_secure
        return request.cookies.get(self.cookie_name(is_secure=is_secure), "")

    async def identity_of_login(self, value: str) -> Identity | None:
        """Return the identity of a login by its value, as `log_in` returned it; None once it has ended."""
        identifier = self.sessions.identifier_of(value) if value else None
        return await self.identity_of_session(identifier) if identifier is not None else None

    async def identity_of_session(self, identifier: str) -> Identity | None:
        """Return the identity of a login by its id, with what its token may do now; None once it has ended."""
        await self.sessions.read()
        session = self.sessions.get(identifier)
        identity = NOBODY if session is None else self._identity_of_session(session)
        return None if identity is NOBODY else identity

    def identity_of_fingerprint(self, fingerprint: str) -> Identity | None:
        """Return the identity of a configured token by its fingerprint."""
        found = [token for token in self._tokens.values() if self.sessions.fingerprint(token.digest) == fingerprint]
        return _identity_of_token(found[0]) if found else None

    def open_logins(self) -> list[Session]:
        """Return the open logins that this process knows and whose tokens are valid here, newest first."""
        return [session for session in self.sessions.listed() if self._grants(session, self._config)]

    async def log_out(self, request: web.Request, *, is_replaced: bool = False) -> None:
        """End the logins of a request, or only that of its browser; GnomonError where not all processes know it yet."""
        _, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        given = (self._cookie_of(request), "" if is_replaced else bearer.strip())
        ids = [self.sessions.identifier_of(value) for value in given if value.startswith(PREFIX)]
        logins = [self.sessions.get(one) for one in ids if one is not None]
        links = {one.id for one in logins if one is not None and one.link}  # other walls have them, too
        await self.end_logins({one for one in ids if one is not None and one not in links})

    async def end_logins(self, ids: Collection[str]) -> None:
        """End the logins with these ids, which their owners gave; GnomonError as above."""
        if ids:
            await self.sessions.end(
                lambda session: session.id in ids,
                lambda session: self.access_log.logged_out(session, session.name, "logout"),
                ids,
            )

    async def end_sessions(self, condition: Callable[[Session], bool], actor: str) -> list[Session]:
        """End the logins that fulfil a condition, and return them; GnomonError as above."""
        return await self.sessions.end(condition, lambda session: self.access_log.logged_out(session, actor, "revoked"))

    async def _bearer(self, value: str) -> Identity:
        if value.startswith(PREFIX):
            if (identity := await self.identity_of_login(value)) is not None:
                return identity
            raise _refused(INVALID_TOKEN, culprit("header", "Authorization", "this login has ended: log in again"))
        known = self._check(value, culprit("header", "Authorization", NOT_CONFIGURED))
        return _identity_of_token(known)

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
        if not self._grants(session, self._config):
            return NOBODY
        if session.link:
            fingerprint = self.sessions.fingerprint
            granted = [token for token in self._tokens.values() if fingerprint(token.digest) == session.source]
            scope = granted[0].scope if granted else None
            return Identity(session.name, "viewer", session.id, session.expires, scope=scope, is_link=True)
        if session.via == "oidc":
            return Identity(session.name, session.role, session.id, session.expires)
        token = self._token_named(session.name)
        assert token is not None  # noqa: S101 - it grants the login
        expires = min(session.expires, token.expires or session.expires)
        return Identity(token.name, token.role, session.id, expires, token.digest, token.scope)


def _identity_of_token(token: Token) -> Identity:
    return Identity(token.name, token.role, expires=token.expires, token=token.digest, scope=token.scope)


def make_oidc_client(oidc: Oidc, clock: Clock) -> OidcClient:
    """Return the client of a provider. Its module needs the extra `oidc`, which the config has checked."""
    client: OidcClient = importlib.import_module("gnomon_web.auth.oidc_client").OidcClient(oidc, clock)
    return client


def expect_on_wall(identity: Identity, *, is_public: bool) -> None:
    """Raise ApiError for a wall link that asks for more than a wall shows."""
    if identity.is_link and not is_public:
        detail = "this login is a link for a wall, which shows the wall alone"
        raise _refused(INSUFFICIENT_ROLE, culprit("header", "Cookie", detail))


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
