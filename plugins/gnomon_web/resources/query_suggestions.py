"""Suggestions for the query of a list that is being typed: keys, and values that there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import ExecutionQuery, KernelApi
from gnomon.domain.execution import STATUSES
from gnomon.domain.labels import label_texts
from gnomon.domain.list_query import JOB_KEYS, JOB_STATES, ORIGINS, RANGES, RUN_KEYS
from gnomon.domain.query_terms import LONGEST, Place, place_at, quoted
from gnomon_web.app_keys import kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.list_queries import parsed

MOST: Final = 12
NEWEST_RUNS: Final = 200
"""Runs triggered by hand whose actors and labels are suggested."""
LENGTHS: Final = ("10s", "1m", "5m", "1h")
MOMENTS: Final = ("-1h", "-24h", "-7d", "-30d")


class TypedQuery(msgspec.Struct, kw_only=True, frozen=True):
    """A query as far as it is typed, and `at`: how many of its characters are before the cursor, by default all."""

    list: Literal["runs", "jobs"]
    query: Annotated[str, Meta(max_length=LONGEST)] = ""
    at: Annotated[int, Meta(ge=0, le=LONGEST)] | None = None


class Suggestion(msgspec.Struct, kw_only=True, frozen=True):
    """A text for the query, and the name of a job whose id it is."""

    text: str
    name: str | None = None


class Suggestions(msgspec.Struct, kw_only=True, frozen=True):
    """What may stand in the query in place of its characters from `start` to `end`; `key` where these are a value."""

    start: int
    end: int
    key: str | None
    items: list[Suggestion]


def routes() -> list[Route]:
    """Return the routes of this module."""
    path = "/scheduler/query-suggestions"
    return [Route(method="GET", path=path, handler=suggest, role="viewer", tag="executions", scoped=True)]


async def suggest(request: web.Request, query: TypedQuery) -> Suggestions:
    """Suggest how a query that is being typed may go on."""
    at = len(query.query) if query.at is None else min(query.at, len(query.query))
    place = parsed(lambda: place_at(query.query, at))
    keys = RUN_KEYS if query.list == "runs" else JOB_KEYS
    if place.key is None:
        words = [f"{key}>" if key in RANGES else f"{key}:" for key in keys if key.startswith(place.typed.lower())]
        return _answer(place, None, map(_plain, words))
    values = _RUN_VALUES if query.list == "runs" else _JOB_VALUES
    found = await values[place.key](kernel_of(request)) if place.key in keys else []
    wanted = place.typed.casefold()
    matching = [one for one in found if wanted in one.text.casefold() or wanted in (one.name or "").casefold()]
    matching.sort(key=lambda one: not one.text.casefold().startswith(wanted))  # stable: in their own order otherwise
    items = (Suggestion(text=quoted(one.text), name=one.name) for one in matching)
    return _answer(place, place.key, items)


def _answer(place: Place, key: str | None, items: Iterable[Suggestion]) -> Suggestions:
    return Suggestions(start=place.start, end=place.end, key=key, items=list(items)[:MOST])


def _plain(text: str) -> Suggestion:
    return Suggestion(text=text)


Values = Callable[[KernelApi], Awaitable[list[Suggestion]]]


def _words(*words: str) -> Values:
    async def values(_: KernelApi) -> list[Suggestion]:
        return [_plain(word) for word in words]

    return values


async def _jobs(kernel: KernelApi) -> list[Suggestion]:
    named = ((view.job.id, view.state.display_name or view.job.title) for view in await kernel.jobs())
    return [Suggestion(text=job_id, name=name if name != job_id else None) for job_id, name in named]


async def _tags(kernel: KernelApi) -> list[Suggestion]:
    return [_plain(tag) for tag in sorted({tag for view in await kernel.jobs() for tag in view.job.tags})]


async def _owners(kernel: KernelApi) -> list[Suggestion]:
    return [_plain(owner) for owner in sorted({view.state.owner or "" for view in await kernel.jobs()} - {""})]


async def _actors(kernel: KernelApi) -> list[Suggestion]:
    page = await kernel.executions(ExecutionQuery(is_manual=True, limit=NEWEST_RUNS, brief=True))
    return [_plain(actor) for actor in dict.fromkeys(run.actor for run in page.items if run.actor)]


async def _labels(kernel: KernelApi) -> list[Suggestion]:
    page = await kernel.executions(ExecutionQuery(limit=NEWEST_RUNS, brief=True))
    return [_plain(text) for text in dict.fromkeys(text for run in page.items for text in label_texts(run.labels))]


_RUN_VALUES: Final[dict[str, Values]] = {
    "status": _words(*STATUSES),
    "job": _jobs,
    "tag": _tags,
    "by": _actors,
    "manual": _words("true", "false"),
    "label": _labels,
    "late": _words(*LENGTHS),
    "duration": _words(*LENGTHS),
    "since": _words(*MOMENTS),
    "until": _words(*MOMENTS),
}
_JOB_VALUES: Final[dict[str, Any]] = {
    "status": _words(*JOB_STATES),
    "job": _jobs,
    "tag": _tags,
    "owner": _owners,
    "origin": _words(*ORIGINS),
}
