"""The parameter `at` of calls that can answer as of a past moment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon_web.app_keys import KERNEL, PAST
from gnomon_web.http.request_parsing import read_text_fields

AT = "at"


class PastMoment(msgspec.Struct, frozen=True):
    """With `at`, the answer is that of then, as far as the log still has it; times in the query are relative to it."""

    at: Annotated[datetime, Meta(tz=True)] | None = None


async def take_moment(request: web.Request, given: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], datetime]:
    """Return the other parameters, and the time that they are relative to: the past moment, or now.

    Where there is a past moment, the kernel of then answers the request.
    """
    kernel = request.app[KERNEL]
    now = kernel.clock.now()
    own = [(name, text) for name, text in given if name == AT and text]
    asked = read_text_fields(PastMoment, "query", own, strict=True, now=now).at
    if asked is not None:
        request[PAST] = await kernel.at(asked)
    return [(name, text) for name, text in given if name != AT], asked or now
