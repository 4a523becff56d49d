"""From a route to what aiohttp calls: who asks, what is asked for, and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web

from gnomon import GnomonError
from gnomon_web.answers import json_answer
from gnomon_web.auth import require
from gnomon_web.keys import AUTHENTICATOR, CONFIG, IDENTITY
from gnomon_web.problems import ApiError, culprit
from gnomon_web.reading import expect_no_body, read_body, read_text_fields
from gnomon_web.routes import Answer, Route, Signature

log = structlog.stdlib.get_logger("gnomon.web")

LATE = (
    "the store has not confirmed in time; what was asked for may still come about, so look before you repeat it, "
    "or repeat it with the same Idempotency-Key"
)


class _NoParameters(msgspec.Struct):
    """What a route takes that asks for none."""


def endpoint(route: Route, signature: Signature) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Make the function that answers the requests of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        request[IDENTITY] = identity = request.app[AUTHENTICATOR].identify(request)
        require(identity, route.role)
        return await _in_time(request, route, await _arguments(request, route, signature))

    return answer


async def _arguments(request: web.Request, route: Route, signature: Signature) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: request.match_info[name] for name in signature.path}
    if route.kind == "asset":
        return arguments
    query = read_text_fields(signature.query or _NoParameters, "query", request.query.items(), strict=True)
    if signature.query is not None:
        arguments["query"] = query
    if signature.headers is not None:
        names = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(signature.headers)}
        given = [(names[name.lower()], text) for name, text in request.headers.items() if name.lower() in names]
        arguments["headers"] = read_text_fields(signature.headers, "header", given, strict=True)
    async with _body_in_time(request):
        await _add_body(request, route, signature, arguments)
    return arguments


@asynccontextmanager
async def _body_in_time(request: web.Request) -> AsyncIterator[None]:
    """Let a client that sends its body in drops not hold a connection for ever."""
    try:
        async with asyncio.timeout(request.app[CONFIG].timeout.total_seconds()):
            yield
    except TimeoutError as exc:
        detail = "the body did not arrive in time"
        raise ApiError(408, detail, errors=[culprit("body", "", detail)]) from exc


async def _add_body(request: web.Request, route: Route, signature: Signature, arguments: dict[str, Any]) -> None:
    if signature.body is not None:
        arguments["body"] = await read_body(request, signature.body, is_needed=signature.needs_body)
    elif route.kind == "rest":
        await expect_no_body(request)


async def _in_time(request: web.Request, route: Route, arguments: dict[str, Any]) -> web.StreamResponse:
    """Call a handler; what one of another plugin raises is that plugin's, and is told so."""
    limit = None if route.kind == "websocket" else request.app[CONFIG].timeout.total_seconds()
    try:
        async with asyncio.timeout(limit):
            return _written(request, route, await route.handler(request, **arguments))
    except (ApiError, GnomonError, web.HTTPException):
        raise
    except Exception as exc:  # a stranger's handler may raise anything
        if route.plugin is not None:
            log.exception("plugin route failed", plugin=route.plugin, method=route.method, path=route.path)
            detail = f"the plugin {route.plugin!r} failed to answer {route.method} {route.path}; the log tells more"
            raise ApiError(500, detail) from exc
        if isinstance(exc, TimeoutError):
            raise ApiError(503, LATE, headers={hdrs.RETRY_AFTER: "5"}) from exc
        raise


def _written(request: web.Request, route: Route, result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, Answer):
        return json_answer(request, result.body, result.status or route.status, result.headers)
    return json_answer(request, result, route.status)
