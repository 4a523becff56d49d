"""From a route to what aiohttp calls: who asks, what is asked for, and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from gnomon import GnomonError
from gnomon_web.answers import json_answer
from gnomon_web.keys import AUTHENTICATOR, IDENTITY
from gnomon_web.problems import ApiError
from gnomon_web.reading import expect_no_body, read_body, read_text_fields
from gnomon_web.routes import Answer, Route, Signature

log = structlog.stdlib.get_logger("gnomon.web")

CONTRIBUTED_LIMIT = 10.0
"""Seconds that a handler of another plugin may take."""


class _NoParameters(msgspec.Struct):
    """What a route takes that asks for none."""


def endpoint(route: Route, signature: Signature) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Make the function that answers the requests of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        request[IDENTITY] = request.app[AUTHENTICATOR].authorize(request, route.role)
        arguments = await _arguments(request, route, signature)
        call = route.handler(request, **arguments)
        result = await (call if route.plugin is None or route.kind != "rest" else _foreign(call, route))
        if isinstance(result, web.StreamResponse):
            return result
        if isinstance(result, Answer):
            return json_answer(request, result.body, route.status, result.headers)
        return json_answer(request, result, route.status)

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
    if signature.body is not None:
        arguments["body"] = await read_body(request, signature.body)
    elif route.kind == "rest":
        await expect_no_body(request)
    return arguments


async def _foreign(call: Awaitable[Any], route: Route) -> Any:
    """Await a handler of another plugin: whatever it raises is that plugin's, and is told so."""
    try:
        async with asyncio.timeout(CONTRIBUTED_LIMIT):
            return await call
    except (ApiError, GnomonError, web.HTTPException):
        raise
    except Exception as exc:  # a stranger's handler may raise anything
        log.exception("plugin route failed", plugin=route.plugin, method=route.method, path=route.path)
        raise ApiError(
            500, f"the plugin {route.plugin!r} failed to answer {route.method} {route.path}; the log tells more"
        ) from exc
