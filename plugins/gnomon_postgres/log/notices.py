"""Notices: short texts that PostgreSQL passes to all sessions that listen, with the commit of their transaction.

They only wake. All logs of a database share a channel, so a notice ends with the schema of its log. What it says stands
before that: `placed`, `placed:transaction`, `appended:POSITION`, `renewed:EPOCH:RENEWALS:RENEWED_HERE`, or `replaced`.

A notice with an append would make all transactions with notices wait for each other, users' orders too, until each is
on the disk. So appends are reported behind them (AppendNotices), and a session that listens looks from time to time.
"""

from __future__ import annotations

import asyncio

from gnomon.errors import StoreError
from gnomon_postgres.schema.order_tables import CHANNEL, IN_TRANSACTION, PLACED
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.changes import Appended, Change, Placed, Renewed, Replaced
from gnomon_shared_log.ports.lease_row import LeaseRow

PAUSE_S = 0.1
"""Between two notices of appends."""
# Nothing is written, so there is nothing to wait for.
_NOTIFY = "SELECT pg_notify(%s, %s), set_config('synchronous_commit', 'off', true)"


def renewed(row: LeaseRow, schema: str) -> str:
    """Return the notice of a renewal."""
    here = "" if row.renewed_here is None else row.renewed_here
    return f"renewed:{row.epoch}:{row.renewals}:{here} {schema}"


def replaced(schema: str) -> str:
    """Return the notice of a term that has begun or ended."""
    return f"replaced {schema}"


def change_of(payload: str, schema: str) -> Change | None:
    """Return what a notice reports of the log in this schema; None for one of another log, or of a later version."""
    said, _, of = payload.partition(" ")
    try:
        return _change_of(*said.split(":")) if of == schema else None
    except ValueError:  # of another program
        return None


def _change_of(word: str, *values: str) -> Change | None:
    match [word, *values]:
        case [word] if word == PLACED:
            return Placed()
        case [word, kind] if (word, kind) == (PLACED, IN_TRANSACTION):
            return Placed(in_transaction=True)
        case ["appended", position]:
            return Appended(int(position))
        case ["renewed", epoch, renewals, here]:
            fields = {"epoch": int(epoch), "renewals": int(renewals), "renewed_here": float(here) if here else None}
            return Renewed(fields)
        case ["replaced"]:
            return Replaced()
    return None


class AppendNotices:
    """Reports appends to processes that follow: the first one at once, and then the newest every PAUSE_S."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._position = 0
        self._news = asyncio.Event()

    def note(self, position: int) -> None:
        """Report that the log ends at this position now."""
        self._position = position
        self._news.set()

    async def run(self) -> None:
        """Send notices, until cancelled. Runs as a task of the store."""
        while True:
            await self._news.wait()
            self._news.clear()
            payload = f"appended:{self._position} {self._server.schema}"
            try:
                async with self._server.writing() as connection:
                    await connection.fetch(_NOTIFY, (CHANNEL, payload))
            except StoreError:
                pass  # a session that listens looks by itself
            await asyncio.sleep(PAUSE_S)
