"""The parameters of timelines over HTTP, and the range that they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import msgspec

from gnomon_stats.buckets import Buckets, choose_buckets

DEFAULT_SPAN: Final = timedelta(days=1)
MOST_BUCKETS: Final = 400
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def check_calendar(**moments: datetime | None) -> None:
    """Raise ValueError for a moment so early or so late that periods around it leave the calendar."""
    for name, at in moments.items():
        if at is not None and not EARLIEST <= at <= LATEST:
            raise ValueError(f"expected `{name}` between the years {EARLIEST:%Y} and {LATEST:%Y}, got {at.isoformat()}")


def check_order(since: datetime | None, until: datetime | None) -> None:
    """Raise ValueError for a period that is empty."""
    if since is not None and until is not None and since >= until:
        raise ValueError(f"`from` ({since.isoformat()}) must be before `to` ({until.isoformat()})")


class LaneQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The range from `from` to `to`, by default the last 24 hours, in up to `buckets` buckets of a round width.

    With `quantiles` each bucket has its percentiles.
    """

    since: Moment | None = msgspec.field(name="from", default=None)
    until: Moment | None = msgspec.field(name="to", default=None)
    buckets: Annotated[int, msgspec.Meta(ge=1, le=MOST_BUCKETS)] = 96
    quantiles: bool = False

    def __post_init__(self) -> None:
        """Refuse a range that is empty, or lies outside of the calendar."""
        check_calendar(**{"from": self.since, "to": self.until})
        check_order(self.since, self.until)

    def range(self, now: datetime, zone: ZoneInfo) -> Buckets:
        """Return the buckets that this range has now."""
        present = now + timedelta(microseconds=1)  # what has just ended counts
        until = self.until or (present if self.since is None or self.since < now else self.since + DEFAULT_SPAN)
        since = self.since or until - DEFAULT_SPAN
        return choose_buckets(since, until, self.buckets, now, zone)


class LanesQuery(LaneQuery, kw_only=True, forbid_unknown_fields=True):
    """The range, as for one job, and the number of `jobs` that have a lane, which the size of the answer limits too."""

    jobs: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
