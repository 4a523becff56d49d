"""The reason why a job is held back, as a sentence for people, in the time zone of the exchange."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from gnomon_market.exchange import Exchange, Session


def closed_reason(exchange: Exchange, moment: datetime, margin: timedelta = timedelta()) -> str | None:
    """Return why the exchange is closed and when it opens; None if it is open, or is within the margin."""
    if exchange.is_open(moment, margin):
        return None
    the_exchange, zone = f"the exchange {exchange.name}", f"({exchange.zone.key})"
    day, latest = exchange.local(moment).date(), exchange.latest(moment)
    if latest is not None and moment < latest.close:
        resumes = next(start for start, _ in latest.parts if start > moment)
        return f"{the_exchange} is in its lunch break until {_time(exchange, resumes)} on {_named(day)} {zone}"
    session = exchange.session_on(day)
    if session is None:
        reason = _holiday_reason(exchange, day)
        return f"{the_exchange} is closed on {_named(day)}: {reason}; {_opens(exchange, moment)}"
    if moment < session.open:
        return f"{the_exchange} is not open yet on {_named(day)}: it opens at {_time(exchange, session.open)} {zone}"
    return f"{the_exchange} closed {_close(exchange, session)}; {_opens(exchange, moment)}"


def no_session_reason(exchange: Exchange, moment: datetime) -> str | None:
    """Return why the exchange has no session on this date of its zone; None if it has one."""
    day = exchange.local(moment).date()
    if exchange.session_on(day) is not None:
        return None
    following = exchange.next_after(day)
    until = f"the next one is {_named(following.date)}" if following else "the next one is not known yet"
    return (
        f"{_named(day)} is not a trading day of the exchange {exchange.name}: {_holiday_reason(exchange, day)}; "
        f"{until} ({exchange.zone.key})"
    )


def _holiday_reason(exchange: Exchange, day: date) -> str:
    return "it is the weekend" if exchange.is_weekend(day) else "it is a holiday"


def _close(exchange: Exchange, session: Session) -> str:
    at = f"at {_time(exchange, session.close)} on {_named(session.date)}"
    return f"early {at}, a half day" if session.closes_early else at


def _opens(exchange: Exchange, moment: datetime) -> str:
    following = exchange.next(moment)
    if following is None:
        return "when it opens next is not known yet"
    opens = exchange.local(following.open)
    return f"it opens next on {_named(opens.date())} at {opens:%H:%M} ({exchange.zone.key})"


def _time(exchange: Exchange, moment: datetime) -> str:
    return f"{exchange.local(moment):%H:%M}"


def _named(day: date) -> str:
    return f"{day:%A %Y-%m-%d}"
