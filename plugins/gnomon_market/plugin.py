"""The plugin: its guard, and the keys that it adds to jobs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import msgspec

from gnomon.durations import Duration, decode_hook
from gnomon.hookspecs import hookimpl
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon_market.calendars import find_exchange
from gnomon_market.exchange import Exchange
from gnomon_market.reasons import closed_reason, no_session_reason

log = get_logger("gnomon.market")

END_WARNING_PERIOD = timedelta(days=30)
"""How long before a calendar's end the log warns about it: long enough to plan an upgrade."""


class JobOptions(msgspec.Struct, frozen=True):
    """The keys of a job. `calendar` is the name of a calendar of exchange_calendars.

    With `calendar_hours` = "session" a job runs from the open of the exchange until its close, except in the lunch
    break; `calendar_margin` widens both ends of each part. With "trading_day" it runs at any time on a date, in the
    zone of the exchange, that has a session.
    """

    calendar: str
    calendar_hours: Literal["session", "trading_day"] = "session"
    calendar_margin: Duration = Duration()

    def __post_init__(self) -> None:
        """Raise ValueError for keys that contradict each other, and load the calendar before the first fire."""
        if self.calendar_margin and self.calendar_hours == "trading_day":
            raise ValueError("calendar_margin widens a session; it has no effect if calendar_hours is 'trading_day'")
        find_exchange(self.calendar, datetime.now(UTC))


class MarketPlugin:
    """Holds back the jobs with a `calendar` while their exchange is closed.

    Its guard is called by the kernel that leads. After the end of a calendar the holidays are unknown: the jobs run,
    and the log asks for an upgrade once a day.
    """

    JobOptions = JobOptions

    def __init__(self) -> None:
        _require_exchange_calendars()
        self._warned: dict[str, date] = {}

    @hookimpl
    def guard(self, job: Job, scheduled_time: datetime) -> str | None:
        """Return why the exchange is closed; None if it is open, unknown then, or the job has no calendar."""
        if "calendar" in job.options:
            options = _options_of(job)
            self._warn_about_end(find_exchange(options.calendar, scheduled_time), scheduled_time)
        return self.closed(job, scheduled_time)

    @hookimpl(optionalhook=True)
    def register_closures(self, register: Callable[[Callable[[Job, datetime], str | None]], None]) -> None:
        """Register what is known about fires to come, for forecasts of the plugin `stats`."""
        register(self.closed)

    def closed(self, job: Job, scheduled_time: datetime) -> str | None:
        """Return the same as `guard`, for any time; nothing is logged."""
        if "calendar" not in job.options:
            return None
        options = _options_of(job)
        exchange = find_exchange(options.calendar, scheduled_time)
        if not exchange.knows(scheduled_time):
            return None
        if options.calendar_hours == "trading_day":
            return no_session_reason(exchange, scheduled_time)
        return closed_reason(exchange, scheduled_time, options.calendar_margin)

    def _warn_about_end(self, exchange: Exchange, moment: datetime) -> None:
        today = exchange.local(moment).date()
        if today + END_WARNING_PERIOD <= exchange.last_date or self._warned.get(exchange.name) == today:
            return
        self._warned[exchange.name] = today
        log.warning(
            "exchange calendar ends" if today <= exchange.last_date else "exchange calendar has ended, its jobs run",
            calendar=exchange.name,
            last_date=exchange.last_date.isoformat(),
            remedy="upgrade exchange_calendars",
        )


def _options_of(job: Job) -> JobOptions:
    # The options contain the keys of other plugins as well, which msgspec ignores.
    return msgspec.convert(job.options, JobOptions, dec_hook=decode_hook)


def _require_exchange_calendars() -> None:
    # Found, not imported: with pandas that takes more than a second, and `gnomon plugins` creates every plugin.
    if importlib.util.find_spec("exchange_calendars") is None:
        raise ModuleNotFoundError(
            "there is no module 'exchange_calendars'; install it with: pip install 'gnomon[market]'",
            name="exchange_calendars",
        )
