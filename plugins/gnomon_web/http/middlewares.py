"""The middlewares of every request: the access log, and the translation of errors into problems."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from aiohttp import WSCloseCode, hdrs, web
from aiohttp.typedefs import Handler

from gnomon import (
    ArgumentError,
    ExecutionOverError,
    ExecutionRunningError,
    GnomonError,
    IdempotencyKeyError,
    JobError,
    NoLeaderError,
    OrderLostError,
    OverrideError,
    PastError,
    QueueFullError,
    RunOrdersError,
    StepDownError,
    TriggerError,
    UnknownExecutionError,
    UnknownJobError,
)
from gnomon.domain.execution import Status
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str, safe_traceback
from gnomon.text import visible
from gnomon.wire import problems
from gnomon.wire.alerts import UnknownAlertError
from gnomon.wire.problems import Place
from gnomon_web.app_keys import CONFIG, RESPONSE, actor_of, note_refusal
from gnomon_web.auth.client_address import client_of
from gnomon_web.errors import ApiError, culprit, kind_of_status
from gnomon_web.http.malformed_requests import ProblemRequestHandler
from gnomon_web.http.order_problems import ORDER_ERRORS, from_order
from gnomon_web.http.responses import problem_answer, wants_clean
from gnomon_web.http.run_order_problems import problem_of_orders

log = get_logger("gnomon.web")

PROBES = ("/livez", "/readyz", "/metrics")
"""Paths that machines request every few seconds; logged at the level `debug`."""


@web.middleware
async def note_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note that the request of a connection is complete, so that no limit of its client applies while it is handled."""
    if isinstance(request.protocol, ProblemRequestHandler):
        request.protocol.connection.change("busy")
    return await handler(request)


@web.middleware
async def log_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log every request at its end, without query, headers and body, which may hold secrets."""
    began = time.monotonic()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        write = log.debug if request.path.endswith(PROBES) else log.info
        write(
            "request",
            method=request.method,
            path=visible(request.path),
            status=status,
            actor=actor_of(request),
            remote=client_of(request, request.app[CONFIG]).address,
            ms=round((time.monotonic() - began) * 1000, 1),
        )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem."""
    try:
        return await handler(request)
    except ApiError as exc:
        error = exc
    except web.HTTPException as exc:
        if exc.status < 400:  # a redirect
            raise
        error = _from_aiohttp(request, exc)
    except GnomonError as exc:
        error = _from_kernel(request, exc)
    except ConnectionResetError:
        return _client_gone(request)
    except BaseException as exc:  # a defect of the server, or of an object of a job: neither may end the loop
        if _is_cancelled(exc):
            raise
        log.error("request failed", method=request.method, path=request.path, traceback=safe_traceback(exc))
        error = ApiError(problems.INTERNAL_ERROR, "the server failed to answer this request; see its log")
    note_refusal(request, error.kind)
    if (begun := request.get(RESPONSE)) is not None:
        return await _abort(request, begun)
    return problem_answer(request.app[CONFIG], error.problem, error.headers, is_clean=wants_clean(request))


async def note_response(request: web.Request, response: web.StreamResponse) -> None:
    """Remember the response whose headers are sent now; connected to the signal on_response_prepare."""
    request[RESPONSE] = response
    if isinstance(response, web.WebSocketResponse) and isinstance(request.protocol, ProblemRequestHandler):
        request.protocol.connection.change("websocket")


def _is_cancelled(exc: BaseException) -> bool:
    """Whether the server cancels the request; a CancelledError raised by a handler does not count."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def _abort(request: web.Request, begun: web.StreamResponse) -> web.StreamResponse:
    """Break off an answer that has begun: a problem in the middle of it would be read as a part of it."""
    if isinstance(begun, web.WebSocketResponse):
        await begun.close(code=WSCloseCode.INTERNAL_ERROR)
    elif request.transport is not None:
        request.transport.abort()
    return begun


def _client_gone(request: web.Request) -> web.StreamResponse:
    """Answer a client that has disconnected while its answer was being sent, like a page that is left."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)  # as nginx logs it


def _from_aiohttp(request: web.Request, exc: web.HTTPException) -> ApiError:
    match exc:
        case web.HTTPNotFound():
            base = request.app[CONFIG].base_path
            hint = "" if request.path.startswith(f"{base}/") else f"; every path of this server begins with {base}/"
            detail = f"there is nothing at {request.path}{hint}"
            return ApiError(problems.UNKNOWN_PATH, detail, errors=[culprit("path", request.path, "unknown")])
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(exc.allowed_methods))
            detail = f"{exc.method} is not allowed here; allowed: {allowed}"
            errors = [culprit("method", exc.method, detail)]
            return ApiError(problems.METHOD_NOT_ALLOWED, detail, errors=errors, headers={hdrs.ALLOW: allowed})
        case web.HTTPRequestEntityTooLarge():
            detail = exc.text or exc.reason
            return ApiError(problems.BODY_TOO_LARGE, detail, errors=[culprit("body", "", detail)])
    return ApiError(kind_of_status(exc.status), exc.text or exc.reason)


def _from_kernel(request: web.Request, exc: GnomonError) -> ApiError:
    detail = safe_str(exc)  # plugins raise errors of their own classes
    match exc:
        case UnknownJobError() | UnknownExecutionError() | UnknownAlertError():
            return _from_unknown(request, exc, detail)
        case ExecutionOverError() | ExecutionRunningError():
            is_over = isinstance(exc, ExecutionOverError)
            return ApiError(
                problems.EXECUTION_OVER if is_over else problems.EXECUTION_RUNNING,
                detail,
                errors=[culprit("path", "execution_id", detail)],
                execution_status=cast(Status, exc.status),
            )
        case _ if isinstance(exc, ORDER_ERRORS):
            return from_order(exc, detail)
        case PastError():
            return ApiError(problems.UNKNOWN_PAST, detail, errors=[culprit("query", "at", detail)])
        case JobError() | TriggerError() | IdempotencyKeyError() | QueueFullError():
            return _from_trigger(exc, detail)
    return _from_outage(exc, detail)


def _from_unknown(request: web.Request, exc: GnomonError, detail: str) -> ApiError:
    match exc:
        case UnknownExecutionError():
            return ApiError(problems.UNKNOWN_EXECUTION, detail, errors=[culprit("path", "execution_id", detail)])
        case UnknownAlertError():
            return ApiError(problems.UNKNOWN_ALERT, detail, errors=[culprit("path", "alert_id", detail)])
    place: Place = "query" if "job_id" in request.query else "path" if request.method == "GET" else "body"
    if "job_id" in request.match_info:
        place = "path"
    return ApiError(problems.UNKNOWN_JOB, detail, errors=[culprit(place, "job_id", detail)])


def _from_outage(exc: GnomonError, detail: str) -> ApiError:
    match exc:
        case NoLeaderError():
            return ApiError(problems.NO_LEADER, detail, headers={hdrs.RETRY_AFTER: "1"})
        case StepDownError():
            return ApiError(problems.CANNOT_STEP_DOWN, detail)
        case OrderLostError():
            return ApiError(problems.ORDER_OUTCOME_UNKNOWN, detail)
    # The store is away, or the kernel is stopping.
    return ApiError(problems.UNAVAILABLE, detail, headers={hdrs.RETRY_AFTER: "5"})


def _from_trigger(exc: GnomonError, detail: str) -> ApiError:
    match exc:
        case QueueFullError() | RunOrdersError():
            return problem_of_orders(exc, detail)
        case OverrideError(key=key):
            name = f"kwargs.{key}"
            return ApiError(problems.ARGUMENT_NOT_ACCEPTED, detail, errors=[culprit("body", name, detail)])
        case IdempotencyKeyError():
            errors = [culprit("header", "Idempotency-Key", detail)]
            return ApiError(problems.IDEMPOTENCY_KEY_REUSED, detail, errors=errors)
        case TriggerError():
            return ApiError(problems.INVALID_ARGUMENTS, detail, errors=[culprit("body", "", detail)])
    place = exc.place if isinstance(exc, ArgumentError) else "kwargs"
    return ApiError(problems.INVALID_ARGUMENTS, detail, errors=[culprit("body", place, detail)])
