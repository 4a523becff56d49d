"""An exchange's sessions as plain lists: a question is a bisection, and pandas is out of it."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec


class Session(msgspec.Struct, frozen=True):
    """A day of trading. `date` is what the exchange calls it: a futures session may open in the evening before.

    `parts` has the open and the close of each half of it, or of the whole where there is no lunch break.
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
        """Whether there is trading, from each open until before each close, both widened by the margin."""
        return any(begin - margin <= moment < end + margin for begin, end in self.parts)


class Exchange:
    """A calendar by the name that the user gave it. Its sessions do not overlap and come in order."""

    def __init__(self, name: str, zone: ZoneInfo, sessions: list[Session]) -> None:
        self.name = name
        self.zone = zone
        self._sessions = sessions
        self._opens = [session.open for session in sessions]
        self._by_date = {session.date: session for session in sessions}

    @property
    def last_date(self) -> date:
        """The date of the last session that is known."""
        return self._sessions[-1].date

    def local(self, moment: datetime) -> datetime:
        """Return a moment as the clocks at the exchange show it."""
        return moment.astimezone(self.zone)

    def knows(self, moment: datetime) -> bool:
        """Whether the calendar reaches so far; beyond its first and last session nothing is certain."""
        return self._sessions[0].date <= self.local(moment).date() <= self.last_date

    def session_on(self, day: date) -> Session | None:
        """Return the session of a date, if it has one."""
        return self._by_date.get(day)

    def latest(self, moment: datetime) -> Session | None:
        """Return the last session that has opened by then, whether it is over or not."""
        found = bisect_right(self._opens, moment) - 1
        return self._sessions[found] if found >= 0 else None

    def next(self, moment: datetime) -> Session | None:
        """Return the first session that opens later; None where the calendar ends before."""
        found = bisect_right(self._opens, moment)
        return self._sessions[found] if found < len(self._sessions) else None

    def next_after(self, day: date) -> Session | None:
        """Return the first session of a later date; None where the calendar ends before."""
        found = bisect_right(self._sessions, day, key=lambda session: session.date)
        return self._sessions[found] if found < len(self._sessions) else None

    def is_open(self, moment: datetime, margin: timedelta = timedelta()) -> bool:
        """Whether there is trading, or will be or was within the margin."""
        latest = self.latest(moment + margin)  # those before it close no later than it opens
        return latest is not None and latest.includes(moment, margin)

    def is_weekend(self, day: date) -> bool:
        """Whether there is no session on this day of the week in the weeks around it.

        Told from the sessions, since the days of trading may change: Tel Aviv went from Sunday to Friday in 2026.
        """
        found = bisect_right(self._sessions, day, key=lambda session: session.date)
        nearby = self._sessions[max(found - 15, 0) : found + 15]
        return all(session.date.weekday() != day.weekday() for session in nearby)
