"""The parameter types that several calls share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

Moment = Annotated[datetime, Meta(tz=True)]
JobId = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Offset = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class ActionReason(msgspec.Struct, kw_only=True, frozen=True):
    """The reason for an action; the log keeps it."""

    reason: Text | None = None
