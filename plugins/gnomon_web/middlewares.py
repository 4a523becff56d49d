"""What every request passes through, from the outside in: the access log, problems, and the guard at the door."""

from __future__ import annotations

import time

import structlog
from aiohttp import WSCloseCode, hdrs, web
from aiohttp.typedefs import Handler

from gnomon import (
    ExecutionOverError,
    ExecutionRunningError,
    GnomonError,
    JobError,
    UnknownExecutionError,
    UnknownJobError,
)
from gnomon_web.answers import problem_answer
from gnomon_web.keys import BEGUN, CONFIG, actor_of
from gnomon_web.problems import ApiError, Place, culprit

log = structlog.stdlib.get_logger("gnomon.web")

PROBES = ("/livez", "/readyz", "/metrics")
"""What machines ask for every few seconds: logged at the level `debug`."""


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log every request when it is over: never its query, its headers or its body, which may hold secrets."""
    began = time.monotonic()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        tell = log.debug if request.path.endswith(PROBES) else log.info
        tell(
            "request",
            method=request.method,
            path=request.path,
            status=status,
            actor=actor_of(request),
            remote=request.remote,
            ms=round((time.monotonic() - began) * 1000, 1),
        )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into a problem."""
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
        return _to_nobody(request)
    except Exception:  # the server's own mistake: it is logged, and the client is told no more than that
        log.exception("request failed", method=request.method, path=request.path)
        error = ApiError(500, "the server failed to answer this; its log tells more")
    if (begun := request.get(BEGUN)) is not None:
        return await _broken_off(request, begun)
    return problem_answer(request.app[CONFIG], error.problem, error.headers)


async def _broken_off(request: web.Request, begun: web.StreamResponse) -> web.StreamResponse:
    """End what has begun: a problem in the middle of it would be read as a part of it."""
    if isinstance(begun, web.WebSocketResponse):
        await begun.close(code=WSCloseCode.INTERNAL_ERROR)
    elif request.transport is not None:
        request.transport.abort()
    return begun


def _to_nobody(request: web.Request) -> web.StreamResponse:
    """Answer a client that has gone while its answer began, as a page does that is left: nobody's mistake."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)  # what nginx logs for it


def _from_aiohttp(request: web.Request, exc: web.HTTPException) -> ApiError:
    match exc:
        case web.HTTPNotFound():
            base = request.app[CONFIG].base_path
            hint = "" if request.path.startswith(f"{base}/") else f"; everything here is below {base}/"
            return ApiError(
                404, f"there is nothing at {request.path}{hint}", errors=[culprit("path", request.path, "unknown")]
            )
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(exc.allowed_methods))
            detail = f"{exc.method} cannot be done here, but {allowed}"
            errors = [culprit("method", exc.method, detail)]
            return ApiError(405, detail, errors=errors, headers={hdrs.ALLOW: allowed})
        case web.HTTPRequestEntityTooLarge():
            return ApiError(413, exc.text or exc.reason, errors=[culprit("body", "", exc.text or exc.reason)])
    return ApiError(exc.status, exc.text or exc.reason)


def _from_kernel(request: web.Request, exc: GnomonError) -> ApiError:
    match exc:
        case UnknownJobError():
            place: Place = "path" if "job_id" in request.match_info else "body"
            return ApiError(404, str(exc), errors=[culprit(place, "job_id", str(exc))])
        case UnknownExecutionError():
            return ApiError(404, str(exc), errors=[culprit("path", "execution_id", str(exc))])
        case ExecutionOverError() | ExecutionRunningError():
            return ApiError(409, str(exc), errors=[culprit("path", "execution_id", str(exc))])
        case JobError():
            return ApiError(422, str(exc), errors=[culprit("body", "kwargs", str(exc))])
    return ApiError(503, str(exc), headers={hdrs.RETRY_AFTER: "5"})  # the store is away, or the kernel being stopped
