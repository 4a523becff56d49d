"""The query and the order of the list of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from aiohttp import web

from gnomon.api import JobView
from gnomon.domain.list_query import JobFilter, JobState, parse_job_query
from gnomon.wire.records import LastExecution
from gnomon_web.resources.last_executions import last_of
from gnomon_web.resources.list_queries import parsed
from gnomon_web.resources.schedule_text import describe_schedule

JobSort = Literal["job", "schedule", "next", "last", "-job", "-schedule", "-next", "-last"]
_STATES: Final[dict[JobState, Callable[[JobView, LastExecution | None], bool]]] = {
    "active": lambda view, _: not view.state.paused,
    "paused": lambda view, _: view.state.paused,
    "running": lambda view, _: bool(view.running),
    "failing": lambda _, last: last is not None and last.status == "failed",
}
_VALUES: Final[dict[str, Callable[[JobView, LastExecution | None], Any]]] = {
    "job": lambda view, _: view.job.id,
    "schedule": lambda view, _: describe_schedule(view.job)[0] or None,
    "next": lambda view, _: None if view.state.paused else view.next_fire,
    "last": lambda _, last: None if last is None else last.timestamp,
}


def texts_of(view: JobView) -> tuple[str, ...]:
    """Return the texts of a job that a search looks at."""
    return view.job.id, view.job.name, view.job.description, view.state.display_name, view.state.note


async def matching(request: web.Request, views: Sequence[JobView], text: str) -> list[JobView]:
    """Return the jobs that a query asks for; ApiError 400 where it is not valid."""
    wanted = parsed(lambda: parse_job_query(text))
    last: dict[str, LastExecution | None] = {}
    if "failing" in wanted.status:
        last = await last_of(request, (view.job.id for view in views))
    return [view for view in views if _matches(view, last.get(view.job.id), wanted)]


def _matches(view: JobView, last: LastExecution | None, wanted: JobFilter) -> bool:
    text = (wanted.text or "").casefold()
    return (
        wanted.has_job(view.job.id)
        and wanted.has_tags(view.job.tags)
        and (not wanted.status or any(_STATES[state](view, last) for state in wanted.status))
        and (not wanted.owner or view.state.owner in wanted.owner)
        and (not wanted.origin or view.origin in wanted.origin)
        and (not text or any(text in one.casefold() for one in texts_of(view)))
    )


async def in_order(request: web.Request, views: Sequence[JobView], sort: JobSort) -> list[JobView]:
    """Return jobs in an order; those without a value come last, and equal ones by id."""
    key = sort.removeprefix("-")
    last: dict[str, LastExecution | None] = {}
    if key == "last":
        last = await last_of(request, (view.job.id for view in views))
    by_id = sorted(views, key=lambda view: view.job.id)
    valued = [(value, view) for view in by_id if (value := _VALUES[key](view, last.get(view.job.id))) is not None]
    rest = [view for view in by_id if _VALUES[key](view, last.get(view.job.id)) is None]
    return [view for _, view in sorted(valued, key=lambda one: one[0], reverse=sort.startswith("-"))] + rest
