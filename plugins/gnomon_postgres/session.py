"""A session of the server, in which statements mean the same whatever its role, its database or the server have set.

Every role may have settings of its own, and so may every database: another `search_path`, in which functions and
operators of others come before those of PostgreSQL, other isolation, other limits, another reading of texts. A session
that is ours alone gets SETTINGS when it is opened. Through a pooler, which lends it to others, it gets them with the
beginning of each transaction, for that alone; what leads to it in one round trip is in Connection (server.py).

`default_transaction_read_only` stays as it is: services set it where the disk is nearly full.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, Self

import psycopg
from psycopg import waiting

READ_COMMITTED: Final = "ISOLATION LEVEL READ COMMITTED"
"""The mode of transactions that write: each statement sees what others have committed before it."""
SETTINGS: Final = {
    "search_path": "pg_catalog, pg_temp",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "TimeZone": "UTC",
    "client_min_messages": "warning",
    "statement_timeout": "0",
    "lock_timeout": "0",
}
"""Limits are those of the caller, not those that a service has set for the role."""
_LATER_SETTINGS: Final = {"idle_session_timeout": 140_000, "transaction_timeout": 170_000}
"""Further limits that are set to 0, and the versions that brought them."""
_WAIT_INTERVAL_S = 0.1
_REPLICAS_LEFT_OUT = "SyncRepWaitForLSN"
"""The function of the server that warns of a commit for whose synchronous replicas it does not wait any longer. The
warning has no state of its own, and its text is in the language of the server."""


class Session(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection that is given up when its task is cancelled: the driver would wait up to 10 s for the server."""

    is_direct = False
    """Whether the session is ours alone: a pooler gives a client another key than the server's process."""
    settings: str
    """What makes SETTINGS those of a transaction."""
    warned: list[str | None]
    """The functions of the server that have warned of the last statement."""
    _is_given_up = False

    @classmethod
    async def open(cls, dsn: str, idle_limit_s: float) -> Self:
        """Connect; the server ends transactions that wait for longer than the limit for their next statement.

        Their locks would keep others from leading while this process is stopped, or cut off.
        """
        session = await cls.connect(dsn, autocommit=True, prepare_threshold=None)
        session.warned = warned = []
        session.add_notice_handler(lambda notice: warned.append(notice.source_function))
        try:
            row = await (await session.execute("SELECT pg_catalog.pg_backend_pid()")).fetchone()
            session.is_direct = row == (session.info.backend_pid,)
            session.settings = _settings(session.info.server_version, idle_limit_s, is_local=not session.is_direct)
            if session.is_direct:
                session.prepare_threshold = sys.maxsize  # what is asked for, and nothing else
                await session.execute(session.settings)
        except BaseException:
            await session.close()
            raise
        return session

    async def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        """Execute a statement; errors as `expect_replicas`, which is called after a pipeline, too."""
        self.warned.clear()
        cursor = await super().execute(query, params, **options)
        self.expect_replicas()
        return cursor

    def expect_replicas(self) -> None:
        """Raise OperationalError where a statement is committed, but synchronous replicas may not have it."""
        if _REPLICAS_LEFT_OUT in self.warned:
            raise psycopg.OperationalError("the wait for the synchronous replicas of a commit was cancelled")

    async def wait(self, gen: Any, interval: float = _WAIT_INTERVAL_S, *args: Any, **kwargs: Any) -> Any:
        if self._is_given_up:  # a pipeline would wait at its end
            raise psycopg.OperationalError("the connection was given up")
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval, *args, **kwargs)
        except asyncio.CancelledError:
            self._is_given_up = True
            raise


def _settings(version: int, idle_limit_s: float, *, is_local: bool) -> str:
    wanted = SETTINGS | {"idle_in_transaction_session_timeout": str(round(idle_limit_s * 1000))}
    wanted |= {name: "0" for name, since in _LATER_SETTINGS.items() if version >= since}
    calls = (f"pg_catalog.set_config('{name}', '{value}', {is_local})" for name, value in wanted.items())
    return f"SELECT {', '.join(calls)}"
