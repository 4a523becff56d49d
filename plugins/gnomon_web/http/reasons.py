"""The reason for an act, which its sender puts into the query or into the JSON body."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon.wire.problems import INVALID_BODY, INVALID_PARAMETER
from gnomon_web.app_keys import SAFE_METHODS
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Route, Signature

REASON: Final = "reason"
LONGEST: Final = 200
"""Characters of a reason, as in queries."""


def takes_reason(route: Route, signature: Signature) -> bool:
    """Return whether the body of a route may have a reason: that of an act whose query may have one.

    The keys of a job, which its handler checks itself, are all its own.
    """
    has_query = signature.query is not None and REASON in signature.query.__struct_fields__
    is_own = signature.body is None or hasattr(signature.body, "__struct_fields__") or _is_optional(signature.body)
    return route.kind == "rest" and route.method not in SAFE_METHODS and has_query and is_own


def _is_optional(body: Any) -> bool:
    return any(hasattr(member, "__struct_fields__") for member in getattr(body, "__args__", ()))


async def take_reason(request: web.Request) -> tuple[bytes, str | None]:
    """Return the body of a request without its reason, and the reason; the body as it is where it has none."""
    body = await request.read()
    try:
        keys = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        found = keys.pop(REASON)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body, None  # the parser of the rest says what is wrong with it
    try:
        reason = msgspec.json.decode(found, type=Annotated[str, Meta(max_length=LONGEST)] | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        detail = f"expected a text of up to {LONGEST} characters"
        raise ApiError(INVALID_BODY, f"body 'reason': {detail}", errors=[culprit("body", REASON, detail)]) from exc
    return (msgspec.json.encode(keys) if keys else b""), reason or None


def with_reason(request: web.Request, query: Any, reason: str | None) -> Any:
    """Return the query with the reason of the body; ApiError 400 where both have one, and they differ."""
    if reason is None:
        return query
    if REASON in request.query and request.query[REASON] not in {"", reason}:
        detail = "the query and the body have different reasons: give one of them"
        raise ApiError(INVALID_PARAMETER, detail, errors=[culprit("query", REASON, detail)])
    return msgspec.structs.replace(query, reason=reason)
