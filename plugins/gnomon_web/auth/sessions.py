"""The logins: which are open, how their cookies are signed, and how the processes on a log agree about them.

The value of a cookie is an id and its signature. What it stands for is kept with the log, as one checkpoint that all
processes read and change: each change replaces the view that it was made from, so none gets lost. A request with a
login reads it first, so a login counts everywhere once it is answered, and so does its end.

The key of the signature is not in the store, so a copy of the database, or write access to it, is not enough to forge
a login. The signature covers the id of the log: a cookie of another deployment with the same key is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Literal

import msgspec

from gnomon import Checkpoint, GnomonError, KernelApi, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon_web.auth.roles import Role
from gnomon_web.auth.session_key import SessionKey

log = get_logger("gnomon.web")

CHECKPOINT = "web:sessions"
PREFIX = "gnomon-session."
"""Begins the value of every login, so that it cannot be taken for a token."""
MAX_SESSIONS = 5_000
MAX_SESSIONS_OF_NAME = 100
"""Open logins that are kept; a new one beyond that ends the oldest. One token cannot end the logins of others."""
MAX_LINKS_OF_CREATOR = 20
OWN_LIMIT_S = 2.0
"""Seconds that a process which leads waits for the store. While it is away, people must be able to log in."""
ORDER_LIMIT_S = 12.0
"""Seconds that a process which follows waits for the store, and for a kernel that leads."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A login. `source` is the fingerprint of what granted it: a token, or a configured provider with its roles.

    `key` is the fingerprint of the key that its cookie is signed with. A `link` is a login that its `creator` has made
    for a wall: its value allows anyone to see what a wall shows, and nothing else.
    """

    id: str
    name: str
    role: Role
    via: Literal["token", "oidc"]
    source: str
    begun: datetime
    expires: datetime
    address: str = ""
    subject: str = ""
    key: str = ""
    link: bool = False
    creator: str = ""

    @property
    def owner(self) -> tuple[bool, str]:
        """What the number of open logins is limited by: the creator of links, else the name."""
        return self.link, self.creator if self.link else self.name


class View(msgspec.Struct, frozen=True):
    """What the store keeps. The random text of a `change` tells it from the same change by another process."""

    change: str
    sessions: list[Session]


Open = dict[str, Session]
"""Open logins by their ids, in the order in which they began."""


class Sessions:
    """The open logins of a log, as this process knows them; `read` brings that up to date."""

    def __init__(self, kernel: KernelApi, key: SessionKey) -> None:
        self._kernel = kernel
        self._key = hmac.digest(key.value, b"sessions of log " + kernel.log_id.encode(), "sha256")
        self._is_lasting = key.is_lasting
        self._begun = kernel.clock.now()
        self._position = -1
        self._stored: Open = {}
        self._added: Open = {}
        self._ended: set[str] = set()
        self._saving = asyncio.Lock()
        self._knows_strangers = False
        self.on_change: Callable[[], None] = lambda: None
        """Called when this process has learnt that logins have begun or ended."""

    @classmethod
    async def begin(cls, kernel: KernelApi, key: SessionKey) -> Sessions:
        """Return the logins that the store has kept."""
        sessions = cls(kernel, key)
        try:
            sessions._take(await kernel.checkpoint(CHECKPOINT))
        except GnomonError as exc:
            log.warning("the logins before this start cannot be read yet", problem=str(exc))
        return sessions

    def cookie_name(self, port: int) -> str:
        """Return what distinguishes the login cookies of this log from those of other servers on the same host.

        Cookies ignore ports, and the processes on a log may have several. A key that ends with this process would leave
        a cookie of another name in browsers at each start.
        """
        return self._mac("cookie", "name")[:12] if self._is_lasting else str(port)

    def fingerprint(self, source: bytes) -> str:
        """Return a text that identifies what granted a login and does not reveal it."""
        return hmac.digest(self._key, b"source " + source, "sha256").hex()[:32]

    def value_of(self, session: Session) -> str:
        """Return the value of the cookie of a login."""
        return f"{PREFIX}{session.id}.{self._signature(session.id)}"

    def identifier_of(self, value: str) -> str | None:
        """Return the id of the login with this cookie; None where its signature is not right."""
        identifier, _, signature = value.removeprefix(PREFIX).partition(".")
        expected = self._signature(identifier)
        is_right = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape"))
        return identifier if is_right else None

    # --- what is open ---

    def get(self, identifier: str) -> Session | None:
        """Return the login with this id if this process knows it and it is open."""
        if identifier in self._ended:
            return None
        session = self._added.get(identifier) or self._stored.get(identifier)
        return session if session is not None and session.expires > self._kernel.clock.now() else None

    def listed(self) -> list[Session]:
        """Return the open logins that this process knows, newest first."""
        known = [one for identifier in reversed({**self._stored, **self._added}) if (one := self.get(identifier))]
        return sorted(known, key=lambda session: session.begun, reverse=True)

    async def read(self) -> None:
        """Read which logins are open; StoreUnavailableError where that cannot be known.

        While the store is away, a process that leads goes by what it knows: it has made or passed on every change.
        """
        is_leading = self._is_leading
        try:
            async with asyncio.timeout(OWN_LIMIT_S if is_leading else ORDER_LIMIT_S):
                self._take(await self._kernel.checkpoint(CHECKPOINT))
        except (GnomonError, TimeoutError) as exc:
            if not is_leading:
                problem = str(exc) or "the store did not answer in time"
                raise StoreUnavailableError(f"this login cannot be checked now: {problem}") from exc

    # --- changes ---

    async def add(
        self, name: str, role: Role, via: Literal["token", "oidc"], *, source: str, expires: datetime, **facts: Any
    ) -> Session:
        """Open a login, in all processes; GnomonError where that cannot be stored.

        A process that leads opens it, too: it is valid there, and in the others when the store is back.
        """
        session = Session(
            id=secrets.token_hex(16),
            name=name,
            role=role,
            via=via,
            source=source,
            begun=self._kernel.clock.now(),
            expires=expires,
            key=self._fingerprint_of_key,
            **facts,
        )
        self._added[session.id] = session
        try:
            await self._save()
        except GnomonError as exc:
            if not self._is_leading:
                self._added.pop(session.id, None)
                raise
            log.warning("a login is not stored yet", name=name, problem=str(exc))
        return session

    async def end(
        self, condition: Callable[[Session], bool], note: Callable[[Session], None], ids: Collection[str] = ()
    ) -> list[Session]:
        """End the logins that fulfil a condition, in all processes, and return them; `note` is called with each.

        GnomonError where that cannot be stored: then those that this process knows, and those with the given `ids`,
        have ended here, and end in the others later.
        """
        known = {session.id: session for session in self.listed() if condition(session)}
        self._ended.update(known, ids)
        self.on_change()
        ended: Open = {}

        def take_out(opened: Open) -> None:
            ended.clear()  # it may be the second try
            ended.update({one.id: one for one in opened.values() if condition(one)})
            for identifier in ended:
                del opened[identifier]

        try:
            await self._save(take_out)
        except GnomonError:
            ended = known
            raise
        finally:
            for session in ended.values():
                note(session)
        return list(ended.values())

    async def save_missed(self) -> None:
        """Store the changes that could not be stored before; called periodically."""
        if self._added or self._ended:
            try:
                await self._save()
            except GnomonError as exc:
                log.warning("logins and logouts are not stored yet", problem=str(exc))

    async def _save(self, change: Callable[[Open], None] = lambda _: None) -> None:
        try:
            async with asyncio.timeout(OWN_LIMIT_S if self._is_leading else ORDER_LIMIT_S), self._saving:
                await self._replace(change)
        except TimeoutError as exc:
            raise StoreUnavailableError("the logins are not stored: the store did not answer in time") from exc

    async def _replace(self, change: Callable[[Open], None]) -> None:
        """Make a change, and those that were missed before, to the stored view; again where another one was faster."""
        while True:
            kept = await self._kernel.checkpoint(CHECKPOINT) or Checkpoint(0)
            added, missed = dict(self._added), set(self._ended)
            before, now = self._decoded(kept), self._kernel.clock.now()
            opened = {one.id: one for one in before.values() if one.expires > now}
            for session in added.values():
                _add(opened, session)
            change(opened)
            left = {one.id: one for one in opened.values() if one.id not in missed}
            position = kept.position
            if left != before:
                # Above that of a leader that was deposed, whose order may arrive late: it had read less of the log.
                position = max(kept.position + 1, self._kernel.health().position)
                view = msgspec.json.encode(View(secrets.token_hex(8), list(left.values())))
                saved = Checkpoint(position, view)
                if not await self._kernel.save_checkpoint(CHECKPOINT, saved, replaces=kept.position):
                    continue
            if position > self._position:
                self._position, self._stored = position, left
                self.on_change()
            for identifier in added:
                self._added.pop(identifier, None)
            self._ended -= missed
            return

    def _take(self, checkpoint: Checkpoint | None) -> None:
        """Replace what this process knows by what was read, unless that is older: reads may overtake each other."""
        if checkpoint is None or checkpoint.position <= self._position:
            return
        self._stored, self._position = self._decoded(checkpoint), checkpoint.position
        self.on_change()
        if self._knows_strangers:
            return
        if any(one.key != self._fingerprint_of_key and one.begun > self._begun for one in self._stored.values()):
            self._knows_strangers = True
            log.warning(
                "another process signs logins with another key, so they are not valid here: give all processes the "
                "same session_key in [plugins.web], or the same state_dir"
            )

    def _decoded(self, checkpoint: Checkpoint) -> Open:
        try:
            view = msgspec.json.decode(checkpoint.view or b"[]", type=View | list[Session])  # once it was a list
            return {one.id: one for one in (view.sessions if isinstance(view, View) else view)}
        except msgspec.MsgspecError as exc:
            log.warning("the logins before have ended: they cannot be read", problem=str(exc))
            return {}

    @property
    def _is_leading(self) -> bool:
        return self._kernel.health().role == "leader"

    # --- signatures ---

    def sign(self, purpose: str, text: str) -> str:
        """Return a text with a signature for one purpose, which a client brings back to any process."""
        return f"{text}.{self._mac(purpose, text)}"

    def signed(self, purpose: str, value: str) -> str | None:
        """Return the text of a signed value, or None where the signature is not right."""
        text, _, signature = value.rpartition(".")
        is_right = hmac.compare_digest(self._mac(purpose, text).encode(), signature.encode("utf-8", "surrogateescape"))
        return text if is_right else None

    @property
    def _fingerprint_of_key(self) -> str:
        return self._mac("fingerprint", "key")[:16]

    def _signature(self, identifier: str) -> str:
        return self._mac("login", identifier)

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose} {text}".encode("utf-8", "surrogateescape"), "sha256").hex()


def _add(opened: Open, session: Session) -> None:
    """Add a login; it ends the oldest ones beyond the limits."""
    if session.id in opened:
        return
    most = MAX_LINKS_OF_CREATOR if session.link else MAX_SESSIONS_OF_NAME
    same = [one.id for one in opened.values() if one.owner == session.owner]
    for oldest in same[: max(len(same) - most + 1, 0)]:
        del opened[oldest]
    while len(opened) >= MAX_SESSIONS:
        del opened[next(iter(opened))]
    opened[session.id] = session
