"""The log of a run: pages of its lines, searched and counted over all that is kept."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import KernelApi, LogLine
from gnomon.wire.records import LogPage, LogSummary
from gnomon_web.app_keys import kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import Offset, Text

Level = Literal["debug", "info", "warning", "error"]

RANK: Final = {"trace": 0, "debug": 0, "info": 1, "notice": 1, "warning": 2, "warn": 2}
"""Where a level stands among the four that are counted; every other name counts as an error."""
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")
PAGE_LINES: Final = 1_000


class LogFilters(msgspec.Struct, kw_only=True, frozen=True):
    """The lines with numbers greater than `after`, and less than `before`, of at least a `level` and with a text `q`.

    `newest` returns the last of them instead of the first. `summary` adds what is kept, and how much of it matches.
    """

    after: Offset = 0
    before: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_LINES)] = 200
    level: Level | None = None
    q: Text | None = None
    newest: bool = False
    summary: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the store itself can answer: with the first lines after a number, whatever they say."""
        return not (self.newest or self.summary or self.level or self.q or self.before)

    def matches(self, line: LogLine) -> bool:
        """Return whether a line passes the level and the text."""
        is_grave = self.level is None or rank(line.level) >= LEVELS.index(self.level)
        return is_grave and (self.q is None or self.q.casefold() in line.text.casefold())


def rank(level: str) -> int:
    """Return the rank of a level: 0 to 3, as in `LEVELS`."""
    return RANK.get(level.lower(), 3)


def routes() -> list[Route]:
    """Return the routes of this module."""
    path = "/scheduler/executions/{execution_id}/log"
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "executions", "scoped": True, "has_past": True}
    return [Route(path=path, handler=get_log, errors=(404,), **look)]


async def get_log(request: web.Request, execution_id: str, query: LogFilters) -> LogPage:
    """List the lines that an execution logged; filters search all lines that are kept."""
    kernel = kernel_of(request)
    await kernel.execution(execution_id)  # 404 for an unknown one, which the log alone does not tell from a silent one
    if query.is_plain:
        lines = await kernel.log(execution_id, query.after, query.limit)
        following = lines[-1].number if len(lines) == query.limit else None
        return LogPage(items=lines, after=query.after, limit=query.limit, next=following)
    kept = await _kept(kernel, execution_id)
    matching = [line for line in kept if query.matches(line)]
    wanted = [line for line in matching if line.number > query.after and line.number < (query.before or float("inf"))]
    items = wanted[-query.limit :] if query.newest else wanted[: query.limit]
    is_cut = len(items) < len(wanted) and not query.newest
    return LogPage(
        items=items,
        after=query.after,
        limit=query.limit,
        next=items[-1].number if is_cut else None,
        summary=_summary(kept, len(matching)) if query.summary else None,
    )


async def _kept(kernel: KernelApi, execution_id: str) -> list[LogLine]:
    """Read all lines of a run: stores keep the newest 2,000 of each."""
    kept: list[LogLine] = []
    while True:
        lines = await kernel.log(execution_id, kept[-1].number if kept else 0, PAGE_LINES)
        kept += lines
        if len(lines) < PAGE_LINES:
            return kept


def _summary(kept: list[LogLine], matching: int) -> LogSummary:
    counts = Counter(LEVELS[rank(line.level)] for line in kept)
    return LogSummary(
        first=kept[0].number if kept else None,
        last=kept[-1].number if kept else None,
        total=len(kept),
        matching=matching,
        levels={level: counts[level] for level in LEVELS},
    )
