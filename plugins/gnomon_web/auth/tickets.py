"""Tickets: a page that has only a bearer token cannot send it with a WebSocket, and must not put it in an address.

It exchanges the token for a ticket, which it puts in the query of one WebSocket. Addresses are kept in logs; a ticket
there is of no use to others: it opens one WebSocket, within 30 seconds, with the role and until the end of the login
that it was made for.

A ticket names its token by a fingerprint, or its login by its id, and is signed: any process on the log accepts it.
"""

from __future__ import annotations

import binascii
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Final

import msgspec
from aiohttp import web

from gnomon_web.auth.authenticator import Authenticator
from gnomon_web.auth.roles import Access, Identity
from gnomon_web.auth.shared_claims import SharedClaims, SingleUse

PARAMETER: Final = "ticket"
LIFETIME: Final = timedelta(seconds=30)
CLOCK_DIFFERENCE: Final = timedelta(seconds=30)
"""By how much the clock of the process that has issued a ticket may be ahead."""
PURPOSE: Final = "ticket"


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a ticket says: its sender is a login, a token, or a user of a server without tokens."""

    nonce: str
    until: datetime
    session: str | None = None
    token: str | None = None
    name: str = ""
    role: Access = "public"


class Tickets:
    """Issues and redeems tickets."""

    def __init__(self, claims: SharedClaims, authenticator: Authenticator) -> None:
        self._clock = claims.clock
        self._authenticator = authenticator
        self._uses = SingleUse(claims, PURPOSE, (LIFETIME + CLOCK_DIFFERENCE).total_seconds())

    def issue(self, identity: Identity) -> tuple[str, datetime]:
        """Return a new ticket for an identity, and the end of it."""
        sessions, until = self._authenticator.sessions, self._clock.now() + LIFETIME
        nonce = secrets.token_urlsafe(16)
        if identity.session is not None:
            ticket = Ticket(nonce, until, session=identity.session)
        elif identity.token is not None:
            ticket = Ticket(nonce, until, token=sessions.fingerprint(identity.token))
        else:
            ticket = Ticket(nonce, until, name=identity.name, role=identity.role)
        text = urlsafe_b64encode(msgspec.json.encode(ticket)).decode().rstrip("=")
        return sessions.sign(PURPOSE, text), until

    async def redeem(self, value: str) -> Identity | None:
        """Return the identity of a ticket, which is used up by that; None for an unknown, used or expired one."""
        text = self._authenticator.sessions.signed(PURPOSE, value)
        if not text:
            return None
        try:
            ticket = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Ticket)
        except (binascii.Error, msgspec.MsgspecError):  # signed by another version
            return None
        remaining = ticket.until - self._clock.now()
        if not timedelta() < remaining <= LIFETIME + CLOCK_DIFFERENCE or not await self._uses.use(ticket.nonce):
            return None
        if ticket.session is not None:
            return await self._authenticator.identity_of_session(ticket.session)
        if ticket.token is not None:
            return self._authenticator.identity_of_fingerprint(ticket.token)
        return Identity(ticket.name, ticket.role)


TICKETS = web.AppKey("tickets", Tickets)
