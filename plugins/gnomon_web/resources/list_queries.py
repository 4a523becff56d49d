"""The `query` of a list, as gnomon.domain.list_query parses it, with its errors as problems that name the place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Annotated, TypeVar

from msgspec import Meta

from gnomon import ExecutionQuery, KernelApi
from gnomon.domain.list_query import parse_run_query
from gnomon.domain.query_terms import LONGEST, ListQueryError
from gnomon.wire.problems import INVALID_PARAMETER
from gnomon_web.errors import ApiError, culprit

T = TypeVar("T")
QueryText = Annotated[str, Meta(min_length=1, max_length=LONGEST)]
PARAMETERS = {"status": "status", "is_manual": "is_manual", "since": "since", "until": "until", "text": "q"}
"""Fields of a query for runs, and the parameters that say the same."""


def parsed(parse: Callable[[], T]) -> T:
    """Return the parsed query of a request; ApiError 400 where it is not valid."""
    try:
        return parse()
    except ListQueryError as exc:
        raise refused("query", str(exc)) from exc


def refused(name: str, detail: str) -> ApiError:
    """Return the error for a parameter that is not valid."""
    return ApiError(INVALID_PARAMETER, f"query {name!r}: {detail}", errors=[culprit("query", name, detail)])


async def with_query(kernel: KernelApi, text: str, given: ExecutionQuery) -> ExecutionQuery:
    """Return a query for the store that asks for what the text asks for, too; ApiError 400.

    The jobs with its tags are those that the kernel has now.
    """
    wanted = parsed(lambda: parse_run_query(text, kernel.clock.now(), UTC))
    for field in PARAMETERS.keys() & wanted.asked.keys():
        if getattr(given, field) not in (None, ()):
            raise refused(PARAMETERS[field], "the `query` asks for the same: give it once")
    tags = {view.job.id: view.job.tags for view in await kernel.jobs()} if wanted.tags else {}
    return wanted.query(tags, given)
