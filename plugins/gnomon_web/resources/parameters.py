"""The parameter types that several calls share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from gnomon.wire.problems import INVALID_PARAMETER, Place
from gnomon_web.errors import ApiError, culprit

Moment = Annotated[datetime, Meta(tz=True)]
JobId = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Offset = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class ActionReason(msgspec.Struct, kw_only=True, frozen=True):
    """The reason for an action; the log keeps it."""

    reason: Text | None = None


def expect_same_job(given: str | None, in_path: str, place: Place = "query") -> None:
    """Raise ApiError 400 for a `job_id` in the query or the body that is not the one in the path."""
    if given not in {None, in_path}:
        detail = f"expected {in_path!r}, the job in the path, got {given!r}"
        raise ApiError(INVALID_PARAMETER, detail, errors=[culprit(place, "job_id", detail)])
