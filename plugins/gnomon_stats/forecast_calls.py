"""The parameters of forecasts over HTTP, and the period that they stand for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from gnomon_stats.forecast import LONGEST_SPAN
from gnomon_stats.lane_calls import Moment

DEFAULT_SPAN: Final = timedelta(days=1)


class ForecastQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The period from `from` to `to`, by default the next 24 hours, at most 31 days."""

    since: Moment | None = msgspec.field(name="from", default=None)
    until: Moment | None = msgspec.field(name="to", default=None)

    def __post_init__(self) -> None:
        """Refuse a period that is empty or too long."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError(f"`from` ({self.since}) must be before `to` ({self.until})")
        if self.since is not None and self.until is not None and self.until - self.since > LONGEST_SPAN:
            raise ValueError(f"a forecast covers at most {LONGEST_SPAN.days} days, from {self.since} on")

    def period(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the period without its past, which a forecast does not cover."""
        since = max(self.since or now, now)
        until = self.until if self.until is not None else since + DEFAULT_SPAN
        return since, min(until, since + LONGEST_SPAN)


class ForecastsQuery(ForecastQuery, kw_only=True, forbid_unknown_fields=True):
    """The period, as for one job, and the number of `jobs` that are shown: those that fire next."""

    jobs: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
