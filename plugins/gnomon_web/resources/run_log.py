"""The log of a run: pages of its lines, searched and counted over all that is kept, and what can be folded in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import LogLine
from gnomon.threads import in_thread
from gnomon.wire.log_outline import LogOutline
from gnomon.wire.records import LogPage, LogSummary
from gnomon_web.app_keys import IDENTITY, kernel_of
from gnomon_web.http.read_shares import READ_SHARES
from gnomon_web.http.routes import Route
from gnomon_web.resources.kept_logs import kept_lines
from gnomon_web.resources.log_outline import outline_of
from gnomon_web.resources.parameters import Offset, Text

Level = Literal["debug", "info", "warning", "error"]

RANK: Final = {"trace": 0, "debug": 0, "info": 1, "notice": 1, "warning": 2, "warn": 2}
"""Where a level stands among the four that are counted; every other name counts as an error."""
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")
PAGE_LINES: Final = 1_000


class LogFilters(msgspec.Struct, kw_only=True, frozen=True):
    """The lines with numbers greater than `after`, and less than `before`, of at least a `level` and with a text `q`.

    `newest` returns the last of them instead of the first, `offset` leaves out so many first. `summary` adds what is
    kept, and how much of it matches.
    """

    after: Offset = 0
    before: Annotated[int, Meta(ge=1)] | None = None
    offset: Offset = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_LINES)] = 200
    level: Level | None = None
    q: Text | None = None
    newest: bool = False
    summary: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the store itself can answer: with the first lines after a number, whatever they say."""
        return not (self.newest or self.summary or self.level or self.q or self.before or self.offset)

    def matching(self, kept: list[LogLine]) -> list[LogLine]:
        """Return the lines that pass the level and the text."""
        least = LEVELS.index(self.level) if self.level is not None else 0
        found = [line for line in kept if rank(line.level) >= least] if least else kept
        text = self.q.casefold() if self.q is not None else ""
        return [line for line in found if text in line.text.casefold()] if text else found

    def page(self, kept: list[LogLine]) -> LogPage:
        """Return the lines that are wanted of those that are kept."""
        matching = self.matching(kept)
        start = bisect_right(matching, self.after, key=_number) + self.offset
        end = len(matching) if self.before is None else bisect_left(matching, self.before, key=_number)
        start, end = (max(start, end - self.limit), end) if self.newest else (start, min(end, start + self.limit))
        items = matching[start:end]
        has_more = not self.newest and end < len(matching) and bool(items)
        return LogPage(
            items=items,
            after=self.after,
            limit=self.limit,
            offset=start,
            next=items[-1].number if has_more and self._is_wanted(matching[end]) else None,
            summary=_summary(kept, len(matching)) if self.summary else None,
        )

    def _is_wanted(self, line: LogLine) -> bool:
        return self.before is None or line.number < self.before


def rank(level: str) -> int:
    """Return the rank of a level: 0 to 3, as in `LEVELS`."""
    return RANK.get(level.lower(), 3)


def routes() -> list[Route]:
    """Return the routes of this module."""
    path = "/scheduler/executions/{execution_id}/log"
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "executions", "scoped": True, "errors": (404,)}
    return [
        Route(path=path, handler=get_log, has_past=True, **look),
        Route(path=f"{path}/outline", handler=get_outline, has_past=True, **look),
    ]


async def get_log(request: web.Request, execution_id: str, query: LogFilters) -> LogPage:
    """List the lines that an execution logged; filters search all lines that are kept."""
    kernel = kernel_of(request)
    await kernel.execution(execution_id)  # 404 for an unknown one, which the log alone does not tell from a silent one
    if query.is_plain:
        lines = await kernel.log(execution_id, query.after, query.limit)
        following = lines[-1].number if len(lines) == query.limit else None
        return LogPage(items=lines, after=query.after, limit=query.limit, next=following)

    async def search() -> LogPage:
        kept = await kept_lines(request, execution_id)
        return await in_thread(partial(query.page, kept), "gnomon web log")

    return await request.app[READ_SHARES].slow(request[IDENTITY], search)


async def get_outline(request: web.Request, execution_id: str) -> LogOutline:
    """Return what can be folded in the log of an execution: the lines of its steps, and lines that repeat others."""
    execution = await kernel_of(request).execution(execution_id)

    async def read() -> LogOutline:
        kept = await kept_lines(request, execution_id)
        return await in_thread(partial(outline_of, kept, execution.progress.steps), "gnomon web log")

    return await request.app[READ_SHARES].slow(request[IDENTITY], read)


def _number(line: LogLine) -> int:
    return line.number


def _summary(kept: list[LogLine], matching: int) -> LogSummary:
    counts = Counter(LEVELS[rank(line.level)] for line in kept)
    return LogSummary(
        first=kept[0].number if kept else None,
        last=kept[-1].number if kept else None,
        total=len(kept),
        matching=matching,
        levels={level: counts[level] for level in LEVELS},
    )
