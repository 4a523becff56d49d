"""The aiohttp protocol of a connection: it reports its state, and answers unreadable requests with problems.

Routes and middlewares never see an unreadable request: it has no path yet.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gnomon.logs import get_logger
from gnomon.wire.problems import INTERNAL_ERROR, MALFORMED_REQUEST
from gnomon_web.app_keys import RELEASE
from gnomon_web.auth.browser_security import headers_of
from gnomon_web.config import Config
from gnomon_web.errors import ApiError, kind_of_status
from gnomon_web.http.connections import Connection, Connections
from gnomon_web.http.responses import problem_answer

log = get_logger("gnomon.web")

_QUOTED = re.compile(r":?\s+(?:bytearray\()?b?['\"].*", re.DOTALL)
MAX_LINE_BYTES = 32 * 1024
"""The longest request line or header."""
LIMITS: dict[str, Any] = {"max_line_size": MAX_LINE_BYTES, "max_field_size": MAX_LINE_BYTES}
_KINDS = {400: MALFORMED_REQUEST, 500: INTERNAL_ERROR}


class ProblemRequestHandler(web.RequestHandler):
    """The aiohttp protocol of one connection, with problems in place of aiohttp's own error pages."""

    __slots__ = ("_config", "_connections", "connection")

    def __init__(
        self, *args: Any, config: Config, connections: Connections, connection: Connection, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._config = config
        self._connections = connections
        self.connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self.connection.opened(cast(asyncio.WriteTransport, transport))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._connections.remove(self.connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.connection.received()
        super().data_received(data)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, and release what was held for it."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.connection.answered()
            if (release := request.get(RELEASE)) is not None:
                release()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer an unreadable request and close the connection: the start of the next request is unknown."""
        super().handle_error(request, status, exc, message)  # raises where part of another answer has been sent
        # The unreadable text may hold a secret: the answer does not repeat it, and the log has the kind of error only.
        kind = _KINDS.get(status) or kind_of_status(status)
        detail = _QUOTED.sub("", message) if message else kind.title
        log.info("unreadable request", remote=request.remote, status=status, problem=type(exc).__name__)
        answer = problem_answer(
            self._config, ApiError(kind, detail).problem, headers_of(is_secure=self._config.is_public_secure)
        )
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, exc_info: Any = None, **kwargs: Any) -> None:
        """Log a defect of the server with its traceback; an error of a client has its one line above."""
        if not isinstance(exc_info, HttpProcessingError):
            super().log_exception(*args, exc_info=exc_info, **kwargs)


class ProblemAppRunner(web.AppRunner):
    """Runs an application with such connections."""

    def __init__(self, app: web.Application, config: Config, connections: Connections, shutdown_timeout: float) -> None:
        # No access log of aiohttp's: it would contain queries.
        super().__init__(app, access_log=None, handle_signals=False, shutdown_timeout=shutdown_timeout, **LIMITS)
        self._config = config
        self._connections = connections

    def protocol(self, connection: Connection) -> ProblemRequestHandler:
        """Return the protocol of an accepted connection."""
        return ProblemRequestHandler(
            self.server,
            loop=asyncio.get_running_loop(),
            config=self._config,
            connections=self._connections,
            connection=connection,
            access_log=None,
            **LIMITS,
        )
