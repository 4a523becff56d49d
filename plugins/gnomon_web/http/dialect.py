"""The seam of a dialect: what it may change of a request, of the answer to it, and of the routes that exist.

The clean API knows nothing of dialects, which are in the package `gnomon_web.dialect`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import web

from gnomon_web.http.responses import wants_clean
from gnomon_web.http.routes import Route


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer before it is written. `message` is used where answers have an envelope."""

    body: Any
    status: int
    message: str = "ok"


class Dialect:
    """The clean API, which changes nothing; other dialects override what differs."""

    is_lenient: ClassVar[bool] = False
    """Whether parameters, keys and bodies that a call does not have are ignored; otherwise they are refused."""

    def routes(self) -> Sequence[Route]:
        """Return the routes that only this dialect has."""
        return ()

    def parameters(self, route: Route, given: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the query parameters of a request in the words of the clean API."""
        return given

    def reply(self, request: web.Request, route: Route, reply: Reply) -> Reply:
        """Return the answer in the words of the dialect."""
        return reply

    def instead_of(self, error: Exception, request: web.Request, route: Route) -> Any:
        """Return an answer of the clean API that replaces an error; None where the error is the answer."""
        return None


CLEAN: Final = Dialect()
DIALECT = web.AppKey("dialect", Dialect)
"""The dialect of the server."""


def dialect_of(request: web.Request) -> Dialect:
    """Return the dialect of a request: that of the server, or the clean API for a client that asks for it."""
    return CLEAN if wants_clean(request) else request.app[DIALECT]
