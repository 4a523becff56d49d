"""The connections of the server: what aiohttp cannot read as a request is answered with a problem, as all else is.

No route and no middleware sees such a request: it has no path yet, and names nobody.
"""

from __future__ import annotations

import asyncio
import functools
import re
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gnomon_web.answers import problem_answer
from gnomon_web.config import Config
from gnomon_web.guard import headers_of
from gnomon_web.problems import ApiError

log = structlog.stdlib.get_logger("gnomon.web")

_QUOTED = re.compile(r":?\s+(?:bytearray\()?b?['\"].*", re.DOTALL)
LONGEST_LINE = 32 * 1024
"""Bytes of an address or a header."""
LIMITS: dict[str, Any] = {"max_line_size": LONGEST_LINE, "max_field_size": LONGEST_LINE}


class Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ("_config",)

    def __init__(self, *args: Any, config: Config, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._config = config

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, and end the connection: nobody knows where the next request begins."""
        super().handle_error(request, status, exc, message)  # raises where a part of another answer is sent already
        # What was read may hold a secret: the answer does not repeat it, and the log tells only the kind of mistake.
        detail = _QUOTED.sub("", message) if message else HTTPStatus(status).phrase
        log.info("unreadable request", remote=request.remote, status=status, problem=type(exc).__name__)
        answer = problem_answer(self._config, ApiError(status, detail).problem, headers_of(self._config))
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, exc_info: Any = None, **kwargs: Any) -> None:
        """Log a mistake of ours with its traceback; that of a client is told in one line, above."""
        if not isinstance(exc_info, HttpProcessingError):
            super().log_exception(*args, exc_info=exc_info, **kwargs)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    def __init__(self, app: web.Application, config: Config, shutdown_timeout: float) -> None:
        # Our own access log: aiohttp's would write down queries.
        super().__init__(app, access_log=None, handle_signals=False, shutdown_timeout=shutdown_timeout, **LIMITS)
        self._config = config

    @property
    def server(self) -> Any:
        """What makes the protocol of each connection that a site accepts; None before the setup."""
        if (server := super().server) is None:
            return None
        loop = asyncio.get_running_loop()
        return functools.partial(Connection, server, loop=loop, config=self._config, access_log=None, **LIMITS)
