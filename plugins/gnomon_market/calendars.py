"""Load exchanges from exchange_calendars, which is imported, together with pandas, for the first one only."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime
from typing import Any

from gnomon.text import close_match
from gnomon_market.exchange import Exchange, Session

PROBLEM_LIMIT = 200
"""Characters shown of an error of exchange_calendars, whose message may list every date of twenty years."""


def find_exchange(name: str, moment: datetime) -> Exchange:
    """Return an exchange with its sessions around a moment; ValueError for an unknown or a broken calendar.

    The first call for a name and a year loads it, which takes up to half a second; later calls take microseconds.
    """
    return _exchange(name, moment.astimezone(UTC).year)


@functools.lru_cache(maxsize=128)
def _exchange(name: str, year: int) -> Exchange:
    """Load the sessions from the previous year until the January after `year`, so that there is always a next one."""
    from exchange_calendars import get_calendar_names  # noqa: PLC0415 - pandas takes more than a second

    if name not in (known := get_calendar_names()):
        raise ValueError(f"calendar {name!r} is unknown to exchange_calendars{_hint(name, known)}")
    try:
        calendar = _calendar(name, date(year + 1, 1, 31))
        sessions = _sessions(calendar, date(year - 1, 1, 1))
    except Exception as exc:  # seventy exchanges on top of pandas: with pandas 3.1, five of them raise various errors
        problem = f"{type(exc).__name__}: {exc}"[:PROBLEM_LIMIT]
        raise ValueError(
            f"calendar {name!r} cannot be built by exchange_calendars: {problem}; try another version of it or of "
            "pandas"
        ) from exc
    return Exchange(name, calendar.tz, sessions)


def _calendar(name: str, until: date) -> Any:
    """Build a calendar that reaches a date, or the last one for which its holidays are recorded.

    By default a calendar ends a year after the import, which is too short for a kernel that runs longer.
    """
    from exchange_calendars import get_calendar  # noqa: PLC0415 - as above

    calendar = get_calendar(name)
    bound = calendar.bound_max()
    end = until if bound is None else min(until, bound.date())
    return calendar if calendar.last_session.date() >= end else get_calendar(name, end=end.isoformat())


def _sessions(calendar: Any, since: date) -> list[Session]:
    """Convert the sessions from pandas; those before `since` are omitted, unless there are no others."""
    early = set(calendar.early_closes.date)
    schedule = calendar.schedule.loc[min(since, calendar.last_session.date()).isoformat() :]
    columns = [schedule[name] for name in ("open", "break_start", "break_end", "close")]
    times = ([None if time is None else time.astimezone(UTC) for time in _datetimes(column)] for column in columns)
    return [Session(day, _parts(*row), day in early) for day, *row in zip(schedule.index.date, *times, strict=True)]


def _datetimes(column: Any) -> list[datetime | None]:
    """Convert a column to datetimes, and NaT to None."""
    return [time.to_pydatetime() if known else None for time, known in zip(column, column.notna(), strict=True)]


def _parts(
    start: datetime, break_start: datetime | None, break_end: datetime | None, close: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    if break_start is None or break_end is None:
        return ((start, close),)
    return ((start, break_start), (break_end, close))


def _hint(name: str, known: list[str]) -> str:
    by_capitals = {word.upper(): word for word in known}
    if name.upper() in by_capitals:
        return f"; did you mean {by_capitals[name.upper()]!r}?"
    return close_match(name.upper(), known) or "; it knows MICs such as 'XSHG' and 'XLON', and aliases such as 'NYSE'"
