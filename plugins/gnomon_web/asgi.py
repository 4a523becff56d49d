"""The server behind an ASGI application, such as FastAPI or Starlette: HTTP and WebSockets are passed on to it.

The server itself is written for aiohttp, whose WebSockets need the connection, so it keeps listening on a port of this
machine with its own limits; the other application forwards what arrives below its prefix:

    web = WebPlugin(Config(port=0, base_path="/gnomon", tokens=[...], trusted_proxies=["127.0.0.1"]))
    gnomon = AsgiProxy(web)
    app.mount("/gnomon", gnomon)

    async with Kernel(plugins=[web], ...), gnomon: ...
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from gnomon import GnomonError
from gnomon.logs import get_logger
from gnomon_web.plugin import WebPlugin

log = get_logger("gnomon.web")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OWN_HEADERS = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade",
    "forwarded", "x-forwarded-proto",
    "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol",
})  # fmt: skip
"""Headers that belong to one connection (RFC 9110, section 7.6.1), or that the proxy writes itself."""
UNAVAILABLE = 503
GOING_AWAY = 1001
NOT_STARTED = "the web server of the kernel is not running: start the kernel, and enter the proxy, in the lifespan"


class AsgiProxy:
    """An ASGI application that passes everything on to the server of a WebPlugin with the same prefix.

    Enter it where the kernel is entered: `async with kernel, proxy:`. The server sees the address of the client in
    `X-Forwarded-For`, so it needs tokens and `trusted_proxies`.
    """

    def __init__(self, web: WebPlugin) -> None:
        config = web.config
        if config.is_open or not config.is_trusted_proxy("127.0.0.1") or config.tls_cert is not None:
            raise GnomonError(
                'the server behind an ASGI application needs tokens, trusted_proxies=["127.0.0.1"] and no tls_cert: '
                "it would not know its clients otherwise"
            )
        self._web = web
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connections to the server."""
        connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),  # the server limits its answers itself
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close them."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; lifespans are not passed on to mounted applications, so there is none here."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            raise GnomonError("AsgiProxy is mounted in another application, whose lifespan enters it")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._client is None or self._web.address is None:
            await _refuse(send, NOT_STARTED)
            return
        headers = _headers(scope)
        has_body = hdrs.CONTENT_LENGTH in headers or any(name == b"transfer-encoding" for name, _ in scope["headers"])
        try:
            async with self._client.request(
                scope["method"],
                self._url(scope),
                headers=headers,
                data=_body(receive) if has_body else None,
                skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
                allow_redirects=False,
            ) as answer:
                kept = [(n.lower(), v) for n, v in answer.raw_headers if n.lower().decode() not in OWN_HEADERS]
                await send({"type": "http.response.start", "status": answer.status, "headers": kept})
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except aiohttp.ClientConnectorError as exc:
            log.warning("the server behind the ASGI application cannot be reached", problem=str(exc))
            await _refuse(send, NOT_STARTED)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if self._client is None or self._web.address is None:
            await send({"type": "websocket.close", "code": GOING_AWAY, "reason": "the server is not running"})
            return
        try:
            async with self._client.ws_connect(
                self._url(scope),
                headers=_headers(scope),
                protocols=scope.get("subprotocols", ()),
                max_msg_size=0,
                compress=0,
            ) as socket:
                await send({"type": "websocket.accept", "subprotocol": socket.protocol})
                await _relay(socket, receive, send)
        except aiohttp.WSServerHandshakeError as exc:
            await _deny(scope, send, exc.status)
        except aiohttp.ClientConnectorError as exc:
            log.warning("the server behind the ASGI application cannot be reached", problem=str(exc))
            await _deny(scope, send, UNAVAILABLE)

    def _url(self, scope: Scope) -> URL:
        assert self._web.address is not None  # noqa: S101 - the callers have looked
        host, port = self._web.address
        path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "surrogateescape")
        query = scope.get("query_string", b"").decode("ascii", "surrogateescape")
        name = f"[{host}]" if ":" in host else host
        return URL(f"http://{name}:{port}{path}{'?' if query else ''}{query}", encoded=True)


def _headers(scope: Scope) -> CIMultiDict[str]:
    """Return the headers for the server: those of the client, and where they came from."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in scope["headers"]:
        if name.decode("latin-1").lower() not in OWN_HEADERS:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
    if client := scope.get("client"):
        headers.add("X-Forwarded-For", client[0])
        headers["X-Forwarded-Proto"] = "https" if scope.get("scheme") in {"https", "wss"} else "http"
    return headers


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionResetError("the client has disconnected")
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body", False):
            return


async def _relay(socket: aiohttp.ClientWebSocketResponse, receive: Receive, send: Send) -> None:
    """Pass messages in both directions until one side closes."""
    async with asyncio.TaskGroup() as tasks:
        to_server = tasks.create_task(_to_server(socket, receive))
        with contextlib.suppress(OSError):  # what ASGI servers raise where the client has disconnected
            async for message in socket:
                key = "text" if message.type is aiohttp.WSMsgType.TEXT else "bytes"
                await send({"type": "websocket.send", key: message.data})
            if not to_server.done():
                await send({"type": "websocket.close", "code": socket.close_code or GOING_AWAY})
        to_server.cancel()


async def _to_server(socket: aiohttp.ClientWebSocketResponse, receive: Receive) -> None:
    with contextlib.suppress(ConnectionError):  # the server has closed the connection: the other direction ends, too
        while (message := await receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is not None:
                await socket.send_str(text)
            else:
                await socket.send_bytes(message["bytes"])
        await socket.close(code=message.get("code") or GOING_AWAY)


async def _refuse(send: Send, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": UNAVAILABLE, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def _deny(scope: Scope, send: Send, status: int) -> None:
    """Refuse a WebSocket with the server's status; servers without that extension answer 403."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1008})
