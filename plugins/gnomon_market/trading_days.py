"""The trading days of an exchange, for `exclude = [{ calendar = "NYSE" }]` in jobs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from gnomon.scheduling.timezones import first_instant
from gnomon_market.calendars import find_exchange


class TradingDays:
    """A calendar that is closed on days without a session, in the zone of the exchange.

    Days that exchange_calendars does not know yet are open: a job that runs too often is noticed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def closed_until(self, moment: datetime) -> datetime | None:
        """Return the end of the day of a moment if it has no session; None if it has, or is unknown."""
        exchange = find_exchange(self._name, moment)
        if not exchange.knows(moment):
            return None
        day = exchange.local(moment).date()
        if exchange.session_on(day) is not None:
            return None
        return first_instant(exchange.zone, datetime.combine(day + timedelta(days=1), time()))


def open_calendar(name: str) -> TradingDays:
    """Return the trading days of an exchange; ValueError for a name that exchange_calendars does not know."""
    find_exchange(name, datetime.now(UTC))
    return TradingDays(name)
