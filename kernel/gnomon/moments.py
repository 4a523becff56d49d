"""Moments in text: a time, or one that is relative to now and so moves on with it: "-7d", "+2h", "now"."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from gnomon.durations import Duration

RELATIVE = r"^(now|[-+]([0-9]{1,4}(ms|[smhdw])){1,3})$"
"""What a relative moment looks like, for clients that check it; a length may also have spaces and fractions."""
_RELATIVE = re.compile(r"(?P<sign>[-+ ])(?P<length>\s*\S.*)", re.DOTALL)


def relative_moment(text: str, now: datetime) -> datetime | None:
    """Return the moment that a text such as "-7d" stands for now, None for one that is not relative.

    A space counts as the plus sign, which it is in the query of an address. ValueError for a length that is not valid,
    or outside of the calendar.
    """
    if text == "now":
        return now
    if (found := _RELATIVE.fullmatch(text)) is None:
        return None
    length = Duration.parse(found["length"])
    try:
        return now - length if found["sign"] == "-" else now + length
    except OverflowError:
        raise ValueError(f"the calendar does not reach {length} from {now:%Y-%m-%d}") from None


def parse_moment(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Parse a relative moment or an ISO 8601 time; one without an offset is in `zone`, None is this machine's."""
    if (moment := relative_moment(text, now)) is not None:
        return moment
    at = datetime.fromisoformat(text)
    if at.tzinfo is None and zone is not None:
        return at.replace(tzinfo=zone)
    return at.astimezone()  # astimezone() reads a naive time in the zone of this machine
