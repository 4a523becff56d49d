"""Tickets for WebSockets, for pages that have only a bearer token."""

from __future__ import annotations

from datetime import datetime

import msgspec
from aiohttp import web

from gnomon_web.app_keys import IDENTITY
from gnomon_web.auth.tickets import LIFETIME, TICKETS
from gnomon_web.http.routes import Route


class Ticket(msgspec.Struct, kw_only=True):
    """A ticket for one WebSocket, `?ticket=...`, with the role of the sender. `expires_in` is in seconds."""

    ticket: str
    expires_in: int
    expires: datetime


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [Route(method="POST", path="/ws/ticket", handler=issue, role="viewer", tag="live", status=201, scoped=True)]


async def issue(request: web.Request) -> Ticket:
    """Return a ticket with which one WebSocket can be opened in place of a token."""
    value, ends = request.app[TICKETS].issue(request[IDENTITY])
    return Ticket(ticket=value, expires_in=int(LIFETIME.total_seconds()), expires=ends)
