"""The aiohttp handler of a route: authenticate, parse the request, call the route's handler, write the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import hdrs, web

from gnomon import GnomonError, StoreUnavailableError
from gnomon.wire.problems import BODY_TIMEOUT, INVALID_TOKEN, LEADER_ONLY, NOT_CONFIRMED
from gnomon_web.app_keys import AUTHENTICATOR, CONFIG, IDENTITY, KERNEL, RELEASE, SAFE_METHODS, caller_of
from gnomon_web.auth.authenticator import expect_on_wall, require
from gnomon_web.auth.roles import NOBODY, Access, Identity
from gnomon_web.auth.tickets import PARAMETER, TICKETS
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.compression import compress
from gnomon_web.http.contributed_calls import ClientGoneError, call_contributed
from gnomon_web.http.dialect import Reply, dialect_of
from gnomon_web.http.exports import FORMAT, Format, export, is_list, wanted_format
from gnomon_web.http.malformed_requests import ProblemRequestHandler
from gnomon_web.http.past_moments import AT, take_moment
from gnomon_web.http.read_shares import READ_SHARES
from gnomon_web.http.reasons import take_reason, takes_reason, with_reason
from gnomon_web.http.request_parsing import expect_no_body, read_body, read_text_fields
from gnomon_web.http.responses import json_answer
from gnomon_web.http.routes import CALLER, Answer, Route, Signature
from gnomon_web.http.scope_check import check_scope, is_checked

LATE = (
    "the store did not confirm in time; the request may still take effect, so look before you repeat it, or repeat it "
    "with the same Idempotency-Key"
)


class _NoParameters(msgspec.Struct):
    """The parameters of a route that has none."""


def endpoint(
    route: Route, signature: Signature, replaced: tuple[Route, Signature] | None = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the aiohttp handler of a route.

    `replaced` is our own route in whose place a contributed one serves: it remains for tokens that are limited to some
    jobs, and for questions about the past, if the other one does not know about them.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        access = _access(request, route)
        request[IDENTITY] = identity = await _identity(request, route, access)
        require(identity, access)
        expect_on_wall(identity, is_public=route.on_wall or route.role == "public")
        if route.has_share and isinstance(request.protocol, ProblemRequestHandler):  # which releases it
            request[RELEASE] = await request.app[READ_SHARES].answers.enter(identity)
        served, parameters = route, signature
        if identity.scope is not None:
            served, parameters = (route, signature) if replaced is None or is_checked(route) else replaced
            await check_scope(request, served, identity.scope)
        if request.query.get(AT) and replaced is not None and replaced[0].has_past:  # the contributed one knows no past
            served, parameters = replaced
        async with request.app[READ_SHARES].body_of(request, identity):
            arguments = await _arguments(request, served, parameters)
            if is_list(served, parameters) and (wanted := wanted_format(request)) is not None:
                return await _export(request, served, parameters, arguments, wanted)
            return await _call(request, served, arguments)

    return answer


def _access(request: web.Request, route: Route) -> Access:
    """Return the role that a request needs: without tokens everyone on the machine is a viewer, so acts need more."""
    is_act = route.method not in SAFE_METHODS
    return "operator" if is_act and route.role == "viewer" and request.app[AUTHENTICATOR].is_open else route.role


async def _identity(request: web.Request, route: Route, access: Access) -> Identity:
    """Return the sender of a request; that of a WebSocket may have a ticket in place of a token."""
    authenticator = request.app[AUTHENTICATOR]
    if route.kind != "websocket" or PARAMETER not in request.query:
        try:
            return await authenticator.identify(request, access)
        except StoreUnavailableError:
            if access == "public":  # what is open to all, a user whose login cannot be checked may do, too
                return NOBODY
            raise
    identity = await request.app[TICKETS].redeem(request.query[PARAMETER])
    if identity is None or not authenticator.is_valid(identity):
        detail = "this ticket is unknown, used or older than 30 s, or its login has ended: get another one"
        raise ApiError(INVALID_TOKEN, detail, errors=[culprit("query", PARAMETER, detail)])
    return identity


async def _arguments(request: web.Request, route: Route, signature: Signature) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: request.match_info[name] for name in signature.path}
    if signature.needs_caller:
        arguments[CALLER] = caller_of(request)
    if route.kind == "asset":
        return arguments
    given = [(name, text) for name, text in request.query.items() if text or name not in _names(signature.query)]
    if route.kind == "websocket":
        given = [(name, text) for name, text in given if name != PARAMETER]
    if is_list(route, signature):
        given = [(name, text) for name, text in given if name != FORMAT or name in _names(signature.query)]
    dialect = dialect_of(request)
    given = dialect.parameters(route, given)
    now = request.app[KERNEL].clock.now()
    if route.has_past:
        given, now = await take_moment(request, given)
    strict = not dialect.is_lenient
    query = read_text_fields(signature.query or _NoParameters, "query", given, strict=strict, now=now)
    if signature.query is not None:
        arguments["query"] = query
    if signature.headers is not None:
        names = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(signature.headers)}
        given = [(names[name.lower()], text) for name, text in request.headers.items() if name.lower() in names]
        arguments["headers"] = read_text_fields(signature.headers, "header", given, strict=True)
    async with _body_in_time(request):
        await _add_body(request, route, signature, arguments)
    return arguments


def _names(query: type[msgspec.Struct] | None) -> set[str]:
    """Return the names of the query parameters: empty ones count as absent, as forms send them."""
    return set(query.__struct_encode_fields__) if query is not None else set()


@asynccontextmanager
async def _body_in_time(request: web.Request) -> AsyncIterator[None]:
    """Limit the time in which the body may arrive: a client that sends it in drips must not hold a connection."""
    try:
        async with asyncio.timeout(request.app[CONFIG].timeout.total_seconds()):
            yield
    except TimeoutError as exc:
        detail = "the body did not arrive in time"
        raise ApiError(BODY_TIMEOUT, detail, errors=[culprit("body", "", detail)]) from exc


async def _add_body(request: web.Request, route: Route, signature: Signature, arguments: dict[str, Any]) -> None:
    is_lenient = dialect_of(request).is_lenient
    text = None
    if takes_reason(route, signature) and request.can_read_body:
        text, reason = await take_reason(request)
        arguments["query"] = with_reason(request, arguments["query"], reason)
    if signature.body is not None:
        arguments["body"] = await read_body(
            request, signature.body, is_needed=signature.needs_body, is_lenient=is_lenient, text=text
        )
    elif route.kind == "rest" and not is_lenient:
        await expect_no_body(request, text)


async def _export(
    request: web.Request, route: Route, signature: Signature, arguments: dict[str, Any], wanted: Format
) -> web.StreamResponse:
    limit_s = request.app[CONFIG].timeout.total_seconds()

    async def read(query: Any) -> Any:
        page = arguments | ({"query": query} if query is not None else {})
        if route.plugin is not None:
            return await call_contributed(route, lambda: route.handler(request, **page), limit_s)
        async with asyncio.timeout(limit_s):
            return await route.handler(request, **page)

    _expect_leader(request, route)
    try:
        return await export(request, signature, arguments.get("query"), wanted, read)
    except TimeoutError as exc:
        raise ApiError(NOT_CONFIRMED, LATE, headers={hdrs.RETRY_AFTER: "5"}) from exc


def _expect_leader(request: web.Request, route: Route) -> None:
    if route.is_of_leader and (health := request.app[KERNEL].health()).role == "follower":
        who = f"{health.leader} leads" if health.leader else "no kernel leads now"
        detail = f"the plugin {route.plugin!r} runs with the kernel that leads, and this process follows: {who}"
        raise ApiError(LEADER_ONLY, detail, headers={hdrs.RETRY_AFTER: "5"})


async def _call(request: web.Request, route: Route, arguments: dict[str, Any]) -> web.StreamResponse:
    limit_s = None if route.kind == "websocket" else request.app[CONFIG].timeout.total_seconds()

    async def answer() -> web.StreamResponse:
        try:
            result = await route.handler(request, **arguments)
        except (ApiError, GnomonError) as exc:
            result = dialect_of(request).instead_of(exc, request, route)
            if result is None:
                raise
        response = _written(request, route, result)
        if route.kind == "rest" and route.tag != "session":
            compress(request, response)
        return response

    async def answer_completely() -> web.StreamResponse:
        response = await answer()
        try:  # here, and not later by aiohttp: the body of a stream is the plugin's code
            await response.prepare(request)
            await response.write_eof()
        except ConnectionResetError as exc:
            if request.transport is None or request.transport.is_closing():
                raise ClientGoneError from exc
            raise
        return response

    _expect_leader(request, route)
    if route.plugin is not None:
        return await call_contributed(route, answer_completely, limit_s)
    try:
        async with asyncio.timeout(limit_s):
            return await answer()
    except TimeoutError as exc:
        raise ApiError(NOT_CONFIRMED, LATE, headers={hdrs.RETRY_AFTER: "5"}) from exc


def _written(request: web.Request, route: Route, result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    answer = result if isinstance(result, Answer) else Answer(result)
    reply = Reply(body=answer.body, status=answer.status or route.status)
    reply = dialect_of(request).reply(request, route, reply)
    return json_answer(request, reply.body, reply.status, answer.headers, message=reply.message)
