"""Tickets: a page that has only a bearer token cannot send it with a WebSocket, and must not put it in an address.

It exchanges the token for a ticket, which it puts in the query of one WebSocket. Addresses are kept in logs; a ticket
there is of no use to others: it opens one WebSocket, within 30 seconds, with the role and until the end of the login
that it was made for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from gnomon import Clock
from gnomon_web.auth.roles import Identity

PARAMETER: Final = "ticket"
LIFETIME: Final = timedelta(seconds=30)
MAX_TICKETS = 10_000
"""Tickets that are kept; a new one beyond that ends the oldest."""


class Tickets:
    """The tickets that have not been used. They are kept in memory: a restart ends them all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issued: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()  # in the order of their ends

    def issue(self, identity: Identity) -> tuple[str, datetime]:
        """Return a new ticket for an identity, and the end of it."""
        now = self._clock.monotonic()
        while self._issued and (self._is_over(now) or len(self._issued) >= MAX_TICKETS):
            self._issued.popitem(last=False)
        value = secrets.token_urlsafe(32)
        self._issued[_digest(value)] = (now + LIFETIME.total_seconds(), identity)
        return value, self._clock.now() + LIFETIME

    def redeem(self, value: str) -> Identity | None:
        """Return the identity of a ticket, which is used up by that; None for an unknown, used or expired one."""
        ends, identity = self._issued.pop(_digest(value), (float("-inf"), None))
        return identity if self._clock.monotonic() < ends else None

    def _is_over(self, now: float) -> bool:
        ends, _ = next(iter(self._issued.values()))
        return ends <= now


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()


TICKETS = web.AppKey("tickets", Tickets)
