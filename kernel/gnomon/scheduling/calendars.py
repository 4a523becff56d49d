"""Calendars from elsewhere, such as those of exchanges: a job can leave out the days on which they are closed.

A distribution offers calendars through the entry-point group `gnomon.calendars`: the object that an entry point names
is a function that takes the name of a calendar and returns it, None for a name that it does not know. It raises
ValueError for a calendar that it knows and cannot build. It is called wherever a schedule is built from the log alone,
so it must not depend on a running kernel or on a configured plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from importlib.metadata import entry_points
from typing import Protocol

from gnomon.errors import TriggerError
from gnomon.threads import in_thread

ENTRY_POINTS = "gnomon.calendars"


class Calendar(Protocol):
    """Days that are open or closed, in the calendar's own zone."""

    def closed_until(self, moment: datetime) -> datetime | None:
        """Return the end of the closed day that a moment is on; None on an open day, or where nothing is known."""
        ...


async def load_calendars(exclusions: Iterable[object]) -> None:
    """Load the calendars that entries of `exclude` name, in a thread: a library of exchanges takes seconds to import.

    What builds the schedule afterwards finds them, or raises the error of one that is not available.
    """
    for name in {str(one["calendar"]) for one in exclusions if type(one) is dict and "calendar" in one}:
        with suppress(TriggerError):
            await in_thread(partial(find_calendar, name), "gnomon-calendar")


@lru_cache(maxsize=256)
def find_calendar(name: str) -> Calendar:
    """Return the calendar with this name from the first distribution that has it, in the order of their names.

    Raises TriggerError.
    """
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name)
    problems = []
    for entry in found:
        try:
            factory: Callable[[str], Calendar | None] = entry.load()
            calendar = factory(name)
        except (ImportError, AttributeError, ValueError) as exc:
            problems.append(f"{entry.name}: {exc}")
            continue
        if calendar is not None:
            return calendar
    known = f"; asked {', '.join(entry.name for entry in found)}" if found else "; no distribution offers calendars"
    reason = f": {'; '.join(problems)}" if problems else known
    raise TriggerError(
        f"calendar {name!r} is not available{reason}; the calendars of exchanges come with gnomon[market]"
    )
