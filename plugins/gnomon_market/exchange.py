"""An exchange's sessions as plain lists: a query is a bisection and needs no pandas."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec


class Session(msgspec.Struct, frozen=True):
    """A trading session. `date` is its official date: a futures session may open on the evening before.

    `parts` has the open and close of each half, or of the whole session if there is no lunch break.
    """

    date: date
    parts: tuple[tuple[datetime, datetime], ...]
    closes_early: bool = False

    @property
    def open(self) -> datetime:
        return self.parts[0][0]

    @property
    def close(self) -> datetime:
        return self.parts[-1][1]

    def includes(self, moment: datetime, margin: timedelta) -> bool:
        """Return whether a moment is between an open (inclusive) and its close, both widened by the margin."""
        return any(start - margin <= moment < end + margin for start, end in self.parts)


class Exchange:
    """The sessions of an exchange, under the name that the config uses. They are in order and do not overlap."""

    def __init__(self, name: str, zone: ZoneInfo, sessions: list[Session]) -> None:
        self.name = name
        self.zone = zone
        self._sessions = sessions
        self._opens = [session.open for session in sessions]
        self._by_date = {session.date: session for session in sessions}

    @property
    def last_date(self) -> date:
        """The date of the last known session."""
        return self._sessions[-1].date

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the time zone of the exchange."""
        return moment.astimezone(self.zone)

    def knows(self, moment: datetime) -> bool:
        """Return whether a moment is between the first and the last known session."""
        return self._sessions[0].date <= self.local(moment).date() <= self.last_date

    def session_on(self, day: date) -> Session | None:
        """Return the session of a date, or None."""
        return self._by_date.get(day)

    def latest(self, moment: datetime) -> Session | None:
        """Return the last session that has opened by then, closed or not."""
        found = bisect_right(self._opens, moment) - 1
        return self._sessions[found] if found >= 0 else None

    def next(self, moment: datetime) -> Session | None:
        """Return the first session that opens later, or None if the calendar ends before."""
        found = bisect_right(self._opens, moment)
        return self._sessions[found] if found < len(self._sessions) else None

    def next_after(self, day: date) -> Session | None:
        """Return the first session of a later date, or None if the calendar ends before."""
        found = bisect_right(self._sessions, day, key=lambda session: session.date)
        return self._sessions[found] if found < len(self._sessions) else None

    def is_open(self, moment: datetime, margin: timedelta = timedelta()) -> bool:
        """Return whether the exchange is open at a moment, or is within the margin before or after it."""
        latest = self.latest(moment + margin)  # earlier sessions close before it opens
        return latest is not None and latest.includes(moment, margin)

    def is_weekend(self, day: date) -> bool:
        """Return whether no session near this date is on the same day of the week.

        The sessions decide, since trading days may change: Tel Aviv moved from Sunday to Friday in 2026.
        """
        found = bisect_right(self._sessions, day, key=lambda session: session.date)
        nearby = self._sessions[max(found - 15, 0) : found + 15]
        return all(session.date.weekday() != day.weekday() for session in nearby)
