"""Requests to one server: JSON out and in, problems become errors, and one that goes away for a moment is awaited."""

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

from gnomon.client.backoff import PatientBackoff
from gnomon.client.errors import ClientError, NoServerError, Problem, error_of
from gnomon.wire.records import Envelope

T = TypeVar("T")

ANSWER_LIMIT = aiohttp.ClientTimeout(total=60, sock_connect=10)
"""A server may take 20 s for an answer, and longer while its store is away."""
SILENCE = 30.0
"""Seconds: a WebSocket says something at least every ten."""
LARGEST_FRAME = 64 * 1024 * 1024
AWAY = frozenset({502, 503, 504})
"""Statuses of a server, or of a proxy before it, that will be there again in a moment."""


class Session:
    """All that is said to one server. `patience` is how many seconds one waits in all for a server that goes away.

    One that has never answered is not waited for: its address will be wrong.
    """

    def __init__(self, url: str, token: str | None, patience: float) -> None:
        self.url = _checked(url)
        self._token = token
        self._patience = patience
        self._has_answered = False
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token is not None else {}
        self._http = aiohttp.ClientSession(headers=headers, timeout=ANSWER_LIMIT, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.close()

    def backoff(self) -> PatientBackoff:
        """Begin to be patient."""
        return PatientBackoff(self._patience)

    async def request(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        asked: str | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Ask, and ask again while the server is away, so every request must bear to be repeated.

        `asked` is the job or the execution that it is about. Raises what the kernel would have raised, or ClientError.
        """
        backoff = self.backoff()
        sent: dict[str, Any] = {"params": _written(query or {}), "headers": {"Accept": "application/json"}}
        sent["headers"] |= headers or {}
        if body is not None:
            sent |= {"data": msgspec.json.encode(body)}
            sent["headers"]["Content-Type"] = "application/json"
        while True:
            try:
                async with self._http.request(method, self._at(path), allow_redirects=False, **sent) as response:
                    content = await response.read()
                self._has_answered = True
                if response.status not in AWAY:
                    return self._read(response, content, answer, asked)
                failure: Exception = self._refusal(response, content, asked)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as exc:
                failure = self.lost(exc)
            await backoff.pause(failure)

    @asynccontextmanager
    async def websocket(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket. A lost connection is aiohttp's own error, to be handed to `lost`."""
        try:
            socket = await self._http.ws_connect(
                self._at(path).with_query(_written(query)), max_msg_size=LARGEST_FRAME, timeout=_CLOSING
            )
        except aiohttp.WSServerHandshakeError as exc:
            if exc.status in AWAY:
                raise
            raise self.error(Problem(status=exc.status, title=f"nothing can be followed at {path}")) from exc
        self._has_answered = True
        async with socket:
            yield socket

    def error(self, problem: Problem, asked: str | None = None) -> Exception:
        """Make the error of a problem."""
        return error_of(problem, url=self.url, has_token=self._token is not None, asked=asked)

    def lost(self, exc: Exception) -> NoServerError:
        """Make the error of a connection that could not be had, or broke; raise it where there never was one."""
        failure = NoServerError(self.url, _reason(exc))
        failure.__cause__ = exc
        if not isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
            self._has_answered = True  # it was there, and went away before it could answer
        elif not self._has_answered:
            raise failure
        return failure

    def _at(self, path: str) -> URL:
        return URL(self.url + path, encoded=True)

    def _read(self, response: aiohttp.ClientResponse, content: bytes, answer: type[T], asked: str | None) -> T:
        if response.status >= 300:
            raise self._refusal(response, content, asked)
        try:
            return msgspec.json.decode(_unwrapped(content), type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ClientError(self._strange(response), response.status) from exc

    def _refusal(self, response: aiohttp.ClientResponse, content: bytes, asked: str | None) -> Exception:
        try:
            return self.error(msgspec.json.decode(_unwrapped(content), type=Problem), asked)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ClientError(self._strange(response), response.status)

    def _strange(self, response: aiohttp.ClientResponse) -> str:
        where = f", and points to {response.headers['Location']}" if "Location" in response.headers else ""
        return (
            f"what answers at {self.url} is no Gnomon: {response.status} {response.content_type}{where}; "
            "does the address want a base path, such as http://127.0.0.1:8000/api?"
        )


def segment(text: str) -> str:
    """Write a part of a path; an id that somebody has made up may hold anything."""
    return quote(text, safe="")


_CLOSING = aiohttp.ClientWSTimeout(ws_close=2.0)


def _checked(url: str) -> str:
    """Refuse an address that cannot be meant."""
    try:
        parsed = URL(url)
        is_usable = parsed.scheme in {"http", "https"} and bool(parsed.host)
    except ValueError:
        is_usable = False
    if not is_usable or parsed.user is not None or parsed.query_string or parsed.fragment:
        raise ClientError(f"{url!r} is no address of a kernel: expected one like https://gnomon.example:8000")
    return url.rstrip("/")


def _written(query: Mapping[str, Any]) -> dict[str, str]:
    """Write parameters; those that are None are left out."""
    return {name: _text(value) for name, value in query.items() if value is not None and value != ()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _unwrapped(content: bytes) -> bytes:
    """Take an answer out of its envelope, where it has one."""
    if not content.startswith(b'{"success"'):
        return content
    return bytes(msgspec.json.decode(content, type=Envelope).data)


def _reason(exc: Exception) -> str:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {exc.certificate_error}; $SSL_CERT_FILE may name one that is to be"
    if isinstance(exc, aiohttp.ClientResponseError):
        return f"it answered {exc.status}"
    if isinstance(exc, aiohttp.ClientConnectorError):
        number = exc.os_error.errno or 0  # that of a name that cannot be resolved is below 0
        return os.strerror(number) if number > 0 else exc.os_error.strerror or str(exc.os_error)
    return str(exc) or type(exc).__name__
