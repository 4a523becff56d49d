"""Requests to one server: JSON out and in, problems as errors, and retries while the server is away."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from gnomon.client.bodies import encoded
from gnomon.client.errors import ClientError, NoServerError, error_of
from gnomon.client.patience import Patience
from gnomon.wire.problems import Problem
from gnomon.wire.records import CLEAN_JSON, Envelope

T = TypeVar("T")

ANSWER_LIMIT = aiohttp.ClientTimeout(total=60, sock_connect=10)
"""A server answers within 20 s by default, and takes longer while its store is away."""
SILENCE_S = 30.0
"""Seconds without a frame after which a WebSocket counts as lost: the server sends one at least every ten."""
MAX_FRAME_BYTES = 64 * 1024 * 1024
AWAY = frozenset({502, 503, 504})
"""Statuses of a server, or of a proxy in front of it, that is expected back soon."""


class Session:
    """The connection to one server. `patience_s` is the total time to wait for a server that goes away.

    A server that has never answered gets no patience: its address is probably wrong.
    """

    def __init__(self, url: str, token: str | None, patience_s: float) -> None:
        self.url = _checked_url(url)
        self._token = token
        self._patience_s = patience_s
        self._has_answered = False
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token is not None else {}
        self._opened = aiohttp.ClientSession(headers=headers, timeout=ANSWER_LIMIT, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._opened is None:
            raise ClientError("the client is not open: call it inside `async with Client(...) as client:`")
        return self._opened

    def patience(self) -> Patience:
        """Return a new patience."""
        return Patience(self._patience_s)

    async def request(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        subject: str | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send a request and repeat it while the server is away, so every request must be safe to repeat.

        `subject` is the job or execution that it is about. Raises the kernel's own error for a problem, or ClientError.
        """
        patience = self.patience()
        sent: dict[str, Any] = {
            "params": _query_text(query or {}),
            "headers": {"Accept": f"{CLEAN_JSON}, application/json"},
        }
        sent["headers"] |= headers or {}
        if body is not None:
            sent |= {"data": encoded(body)}
            sent["headers"]["Content-Type"] = "application/json"
        while True:
            try:
                async with self._http.request(method, self._at(path), allow_redirects=False, **sent) as response:
                    content = await response.read()
                self._has_answered = True
                if response.status not in AWAY:
                    return self._read(response, content, answer, subject)
                failure: Exception = self._refusal(response, content, subject)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as exc:
                failure = self.lost(exc)
            await patience.pause(failure)

    @asynccontextmanager
    async def websocket(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket. A lost connection raises aiohttp's own error, which the caller passes to `lost`."""
        try:
            socket = await self._http.ws_connect(
                self._at(path).with_query(_query_text(query)), max_msg_size=MAX_FRAME_BYTES, timeout=_CLOSING
            )
        except aiohttp.WSServerHandshakeError as exc:
            if exc.status in AWAY:
                raise
            raise self.error(Problem(status=exc.status, title=f"cannot open a WebSocket at {path}")) from exc
        self._has_answered = True
        async with socket:
            yield socket

    def error(self, problem: Problem, subject: str | None = None) -> Exception:
        """Return the error for a problem."""
        return error_of(problem, url=self.url, has_token=self._token is not None, subject=subject)

    def lost(self, exc: Exception) -> NoServerError:
        """Return the error for a lost connection; raise it at once if the server has never answered."""
        failure = NoServerError(self.url, _reason(exc))
        failure.__cause__ = exc
        if not isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
            self._has_answered = True  # the server accepted the connection and went away before it answered
        elif not self._has_answered:
            raise failure
        return failure

    def _at(self, path: str) -> URL:
        return URL(self.url + path, encoded=True)

    def _read(self, response: aiohttp.ClientResponse, content: bytes, answer: type[T], subject: str | None) -> T:
        if response.status >= 300:
            raise self._refusal(response, content, subject)
        try:
            return msgspec.json.decode(_unwrapped(content), type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ClientError(self._not_gnomon(response), response.status) from exc

    def _refusal(self, response: aiohttp.ClientResponse, content: bytes, subject: str | None) -> Exception:
        try:
            return self.error(msgspec.json.decode(_unwrapped(content), type=Problem), subject)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ClientError(self._not_gnomon(response), response.status)

    def _not_gnomon(self, response: aiohttp.ClientResponse) -> str:
        redirect = f", redirecting to {response.headers['Location']}" if "Location" in response.headers else ""
        return (
            f"{self.url} does not look like a Gnomon server: it answered {response.status} {response.content_type}"
            f"{redirect}; check the address, base path included, as in http://127.0.0.1:8000/api"
        )


def segment(text: str) -> str:
    """Quote a path segment: an id given by a user may contain any character."""
    return quote(text, safe="", errors="backslashreplace")


_CLOSING = aiohttp.ClientWSTimeout(ws_close=2.0)


def _checked_url(url: str) -> str:
    """Return the URL without a trailing slash; ClientError if it cannot be the address of a kernel."""
    try:
        parsed = URL(url)
        is_usable = parsed.scheme in {"http", "https"} and bool(parsed.host)
    except ValueError:
        is_usable = False
    if not is_usable or parsed.user is not None or parsed.query_string or parsed.fragment:
        raise ClientError(f"{url!r} is not the address of a kernel: expected one like https://gnomon.example:8000")
    return url.rstrip("/")


def _query_text(query: Mapping[str, Any]) -> dict[str, str]:
    """Return query parameters as text, without those that are None or empty."""
    return {name: _text(value) for name, value in query.items() if value not in (None, (), [])}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list | set | frozenset):
        return ",".join(map(str, value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _unwrapped(content: bytes) -> bytes:
    """Return the answer without its envelope, where it has one."""
    if not content.startswith(b'{"success"'):
        return content
    return bytes(msgspec.json.decode(content, type=Envelope[msgspec.Raw]).data)


def _reason(exc: Exception) -> str:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return (
            f"its certificate is not trusted: {exc.certificate_error}; $SSL_CERT_FILE can name a file of trusted ones"
        )
    if isinstance(exc, aiohttp.ClientResponseError):
        return f"it answered {exc.status}"
    if isinstance(exc, aiohttp.ClientConnectorError):
        number = exc.os_error.errno or 0  # negative for a name that cannot be resolved
        return os.strerror(number) if number > 0 else exc.os_error.strerror or str(exc.os_error)
    return str(exc) or type(exc).__name__
