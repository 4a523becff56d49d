"""The parameters of forecasts over HTTP, and the period that they stand for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec

from gnomon.api import JobView
from gnomon.domain.labels import parse_label
from gnomon_stats.forecast import LONGEST_SPAN
from gnomon_stats.lane_calls import Moment, check_calendar, check_order

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
DEFAULT_SPAN: Final = timedelta(days=1)


class ForecastQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The period from `from` to `to`, by default the next 24 hours, at most 31 days."""

    since: Moment | None = msgspec.field(name="from", default=None)
    until: Moment | None = msgspec.field(name="to", default=None)

    def __post_init__(self) -> None:
        """Refuse a period that is empty or too long."""
        check_calendar(**{"from": self.since, "to": self.until})
        check_order(self.since, self.until)
        if self.since is not None and self.until is not None and self.until - self.since > LONGEST_SPAN:
            raise ValueError(f"a forecast covers at most {LONGEST_SPAN.days} days, from {self.since.isoformat()} on")

    def period(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the period without its past, which a forecast does not cover; empty where all of it is."""
        since = max(self.since or now, now)
        until = self.until if self.until is not None else since + DEFAULT_SPAN
        return since, min(max(until, since), since + LONGEST_SPAN)


class ForecastsQuery(ForecastQuery, kw_only=True, forbid_unknown_fields=True):
    """The period, as for one job, and the number of `jobs` that are shown: those that fire next.

    With `fires` only that many are listed, the first ones over all jobs, and of jobs that fire every minute or more
    often only one. Without `totals` fires are counted only as far as they may be listed. The jobs have the text `q` in
    their id or name, the `tag`, the `label`, such as `tenant:7`, and the `status`.
    """

    jobs: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    fires: Annotated[int, msgspec.Meta(ge=1, le=2000)] | None = None
    totals: bool = True
    q: Text | None = None
    tag: Text | None = None
    label: Text | None = None
    status: Literal["active", "paused"] | None = None

    def __post_init__(self) -> None:
        """Refuse a label that is not one, besides what one job refuses."""
        super().__post_init__()
        if self.label is not None:
            parse_label(self.label)

    def has(self, view: JobView) -> bool:
        """Return whether a job passes the filters."""
        job, state = view.job, view.state
        text = f"{job.id}\n{job.title}\n{state.display_name or ''}".casefold()
        return (
            (self.q is None or self.q.casefold() in text)
            and (self.tag is None or self.tag in job.tags)
            and (self.label is None or parse_label(self.label) in job.labels.items())
            and (self.status is None or state.paused is (self.status == "paused"))
        )
