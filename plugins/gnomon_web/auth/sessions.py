"""The logins: which are open, how their cookies are signed, and how they survive a restart.

The value of a cookie is an id and its signature. What it stands for is kept in this table, which the store keeps as a
checkpoint: a login ends when its entry is removed. The key of the signature is not in the store, so a copy of the
database, or write access to it, is not enough to forge a login. The signature covers the id of the log: a cookie of
another deployment with the same key is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from gnomon import Checkpoint, GnomonError, KernelApi
from gnomon.logs import get_logger
from gnomon_web.auth.roles import Role

log = get_logger("gnomon.web")

CHECKPOINT = "web:sessions"
PREFIX = "gnomon-session."
"""Begins the value of every login, so that it cannot be taken for a token."""
MAX_SESSIONS = 5_000
MAX_SESSIONS_OF_NAME = 100
"""Open logins that are kept; a new one beyond that ends the oldest. One token cannot end the logins of others."""
SAVE_LIMIT_S = 2.0
"""Seconds that a login or logout waits for the store. While the store is away, people must be able to log in."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A login. `source` is the fingerprint of what granted it: a token, or a configured provider with its roles."""

    id: str
    name: str
    role: Role
    via: Literal["token", "oidc"]
    source: str
    begun: datetime
    expires: datetime
    address: str = ""
    subject: str = ""


class Sessions:
    """The open logins of a server."""

    def __init__(self, kernel: KernelApi, key: bytes) -> None:
        self._kernel = kernel
        self._key = hmac.digest(key, b"sessions of log " + kernel.log_id.encode(), "sha256")
        self._open: dict[str, Session] = {}
        self._saving = asyncio.Lock()
        self._is_saved = True

    @classmethod
    async def begin(cls, kernel: KernelApi, key: bytes) -> Sessions:
        """Return the logins that the store has kept."""
        sessions = cls(kernel, key)
        try:
            checkpoint = await kernel.checkpoint(CHECKPOINT)
            kept = msgspec.json.decode((checkpoint and checkpoint.view) or b"[]", type=list[Session])
        except (GnomonError, msgspec.MsgspecError) as exc:
            log.warning("the logins before this start have ended: they cannot be read", problem=str(exc))
            kept = []
        now = kernel.clock.now()
        sessions._open = {session.id: session for session in kept if session.expires > now}
        return sessions

    def fingerprint(self, source: bytes) -> str:
        """Return a text that identifies what granted a login and does not reveal it."""
        return hmac.digest(self._key, b"source " + source, "sha256").hex()[:32]

    def value_of(self, session: Session) -> str:
        """Return the value of the cookie of a login."""
        return f"{PREFIX}{session.id}.{self._signature(session.id)}"

    def add(
        self, name: str, role: Role, via: Literal["token", "oidc"], *, source: bytes, expires: datetime, **facts: str
    ) -> Session:
        """Open a login. Await `save` before its cookie is sent."""
        session = Session(
            id=secrets.token_hex(16),
            name=name,
            role=role,
            via=via,
            source=self.fingerprint(source),
            begun=self._kernel.clock.now(),
            expires=expires,
            **facts,
        )
        self._forget_expired()
        of_name = [one.id for one in self._open.values() if one.name == name]
        for oldest in of_name[: max(len(of_name) - MAX_SESSIONS_OF_NAME + 1, 0)]:
            del self._open[oldest]
        while len(self._open) >= MAX_SESSIONS:
            del self._open[next(iter(self._open))]
        self._open[session.id] = session
        return session

    def read(self, value: str) -> Session | None:
        """Return the open login with this cookie, or None."""
        identifier, _, signature = value.removeprefix(PREFIX).partition(".")
        expected = self._signature(identifier)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        return self.get(identifier)

    def get(self, identifier: str) -> Session | None:
        """Return the open login with this id, or None."""
        session = self._open.get(identifier)
        return session if session is not None and session.expires > self._kernel.clock.now() else None

    def listed(self) -> list[Session]:
        """Return the open logins, newest first."""
        self._forget_expired()
        return list(reversed(self._open.values()))

    def end(self, condition: Callable[[Session], bool]) -> list[Session]:
        """End the logins that fulfil a condition, and return them. Await `save` afterwards."""
        ended = [session for session in self._open.values() if condition(session)]
        for session in ended:
            del self._open[session.id]
        return ended

    async def save(self) -> None:
        """Write the open logins to the store; `save_missed` tries again later where it is away."""
        self._is_saved = False
        try:
            async with asyncio.timeout(SAVE_LIMIT_S), self._saving:
                view = msgspec.json.encode(list(self._open.values()))
                await self._kernel.save_checkpoint(CHECKPOINT, Checkpoint(0, view))
                self._is_saved = True
        except (GnomonError, TimeoutError) as exc:
            log.warning("logins and logouts are not stored yet", problem=str(exc) or "the store did not answer in time")

    async def save_missed(self) -> None:
        """Save once more after a `save` that failed; called periodically."""
        if not self._is_saved:
            await self.save()

    def sign(self, purpose: str, text: str) -> str:
        """Return a text with a signature for one purpose, for a cookie that a browser brings back."""
        return f"{text}.{self._mac(purpose, text)}"

    def signed(self, purpose: str, value: str) -> str | None:
        """Return the text of a signed value, or None where the signature is not right."""
        text, _, signature = value.rpartition(".")
        is_right = hmac.compare_digest(self._mac(purpose, text).encode(), signature.encode("utf-8", "surrogateescape"))
        return text if is_right else None

    def _forget_expired(self) -> None:
        now = self._kernel.clock.now()
        self.end(lambda session: session.expires <= now)

    def _signature(self, identifier: str) -> str:
        return self._mac("login", identifier)

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose} {text}".encode("utf-8", "surrogateescape"), "sha256").hex()
