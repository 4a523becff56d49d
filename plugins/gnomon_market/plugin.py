"""What the config file enables: the guard, and the keys that jobs get by it."""

from __future__ import annotations

import importlib.util
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import msgspec
import structlog

from gnomon.durations import Duration, decode_hook
from gnomon.hookspecs import hookimpl
from gnomon.jobs.job import Job
from gnomon_market.closures import why_closed, why_no_trading_day
from gnomon_market.exchange import Exchange
from gnomon_market.loading import find_exchange

log = structlog.stdlib.get_logger("gnomon.market")

NOTICE = timedelta(days=30)
"""How long before a calendar's end the log begins to say so: enough for an upgrade to be planned."""


class JobOptions(msgspec.Struct, frozen=True):
    """The keys of a job. `calendar` is the name of a calendar of exchange_calendars.

    `calendar_hours` = "session" lets a job run from the open of the exchange until before its close, without the lunch
    break; both ends of each part are widened by `calendar_margin`. "trading_day" lets it run at any time of a date, in
    the zone of the exchange, on which there is a session.
    """

    calendar: str
    calendar_hours: Literal["session", "trading_day"] = "session"
    calendar_margin: Duration = Duration()

    def __post_init__(self) -> None:
        """Refuse what makes no sense; the calendar is loaded here, so that the first fire does not wait for it."""
        if self.calendar_margin and self.calendar_hours == "trading_day":
            raise ValueError("calendar_margin widens a session; it says nothing where calendar_hours is 'trading_day'")
        find_exchange(self.calendar, datetime.now(UTC))


class MarketPlugin:
    """Holds back the jobs with a `calendar` while their exchange is closed.

    Where a calendar ends, nobody knows the holidays yet: the jobs run, and the log asks for an upgrade once a day.
    """

    JobOptions = JobOptions

    def __init__(self) -> None:
        _require_exchange_calendars()
        self._warned: dict[str, date] = {}

    @hookimpl
    def guard(self, job: Job, scheduled_time: datetime) -> str | None:
        """Say why the exchange is closed; None while it is not, for jobs without a calendar, and beyond its end."""
        if "calendar" not in job.options:
            return None
        # The options hold the keys of other plugins as well, which msgspec leaves out.
        options = msgspec.convert(job.options, JobOptions, dec_hook=decode_hook)
        exchange = find_exchange(options.calendar, scheduled_time)
        self._warn_of_end(exchange, scheduled_time)
        if not exchange.knows(scheduled_time):
            return None
        if options.calendar_hours == "trading_day":
            return why_no_trading_day(exchange, scheduled_time)
        return why_closed(exchange, scheduled_time, options.calendar_margin)

    def _warn_of_end(self, exchange: Exchange, moment: datetime) -> None:
        today = exchange.local(moment).date()
        if today + NOTICE <= exchange.last_date or self._warned.get(exchange.name) == today:
            return
        self._warned[exchange.name] = today
        log.warning(
            "exchange calendar ends" if today <= exchange.last_date else "exchange calendar has ended, jobs run always",
            calendar=exchange.name,
            last_date=exchange.last_date.isoformat(),
            remedy="upgrade exchange_calendars",
        )


def _require_exchange_calendars() -> None:
    # Found, not imported: with pandas that takes more than a second, and `gnomon plugins` makes every plugin.
    if importlib.util.find_spec("exchange_calendars") is None:
        raise ModuleNotFoundError(
            "there is no module 'exchange_calendars'; install what it needs: pip install 'gnomon[market]'",
            name="exchange_calendars",
        )
