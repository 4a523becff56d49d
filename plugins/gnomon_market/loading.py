"""Calendars of exchange_calendars become exchanges. It and pandas are imported when the first one is asked for."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime
from typing import Any

from gnomon.text import close_match
from gnomon_market.exchange import Exchange, Session

PROBLEM_LENGTH = 200
"""Characters that are shown of what exchange_calendars says; it lists every date of twenty years in its message."""


def find_exchange(name: str, moment: datetime) -> Exchange:
    """Return an exchange as it is known around a moment; ValueError where there is no such calendar, or it is broken.

    The first call for a name and a year loads it, which takes up to half a second; all others take microseconds.
    """
    return _exchange(name, moment.astimezone(UTC).year)


@functools.lru_cache(maxsize=128)
def _exchange(name: str, year: int) -> Exchange:
    """Load the sessions from the year before until January after it, so that there is always a next one."""
    from exchange_calendars import get_calendar_names  # noqa: PLC0415 - pandas takes more than a second

    if name not in (known := get_calendar_names()):
        raise ValueError(f"calendar {name!r} is unknown to exchange_calendars{_hint(name, known)}")
    try:
        calendar = _calendar(name, date(year + 1, 1, 31))
        sessions = _sessions(calendar, date(year - 1, 1, 1))
    except Exception as exc:  # rules of seventy exchanges on top of pandas; with 3.1 five of them raise anything
        problem = f"{type(exc).__name__}: {exc}"[:PROBLEM_LENGTH]
        raise ValueError(
            f"calendar {name!r} cannot be built by exchange_calendars: {problem}; another version of it or of pandas "
            "may do it"
        ) from exc
    return Exchange(name, calendar.tz, sessions)


def _calendar(name: str, until: date) -> Any:
    """Build a calendar that reaches until a date, or as far as its holidays are recorded.

    By default it ends a year after the import, which is not enough for a kernel that runs for longer.
    """
    from exchange_calendars import get_calendar  # noqa: PLC0415 - as above

    calendar = get_calendar(name)
    bound = calendar.bound_max()
    end = until if bound is None else min(until, bound.date())
    return calendar if calendar.last_session.date() >= end else get_calendar(name, end=end.isoformat())


def _sessions(calendar: Any, since: date) -> list[Session]:
    """Read the sessions out of pandas; what lies before `since` is left out unless there is nothing else."""
    early = set(calendar.early_closes.date)
    schedule = calendar.schedule.loc[min(since, calendar.last_session.date()).isoformat() :]
    columns = [schedule[name] for name in ("open", "break_start", "break_end", "close")]
    times = ([None if time is None else time.astimezone(UTC) for time in _datetimes(column)] for column in columns)
    return [Session(day, _parts(*row), day in early) for day, *row in zip(schedule.index.date, *times, strict=True)]


def _datetimes(column: Any) -> list[datetime | None]:
    """Turn a column into datetimes, and NaT, which passes for a datetime but has no place in time, into None."""
    return [time.to_pydatetime() if known else None for time, known in zip(column, column.notna(), strict=True)]


def _parts(
    begin: datetime, break_start: datetime | None, break_end: datetime | None, close: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    if break_start is None or break_end is None:
        return ((begin, close),)
    return ((begin, break_start), (break_end, close))


def _hint(name: str, known: list[str]) -> str:
    by_capitals = {word.upper(): word for word in known}
    if name.upper() in by_capitals:
        return f"; did you mean {by_capitals[name.upper()]!r}?"
    return close_match(name.upper(), known) or "; it has MICs such as 'XSHG' and 'XLON', and aliases such as 'NYSE'"
