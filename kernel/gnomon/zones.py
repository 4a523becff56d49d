"""Time zones by name."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from gnomon.errors import TriggerError
from gnomon.spelling import nearest


def parse_timezone(name: str) -> ZoneInfo:
    """Return the zone with this IANA name; raises TriggerError with a near name for any other."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as problem:  # a folder of zones ("Europe") is an OSError
        known = available_timezones()
        cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
        hint = cities.get(name.lower()) or nearest(name, known)
        raise TriggerError(
            f"there is no time zone {name!r}; write an IANA name"
            + (f", perhaps {hint!r}" if hint else ' such as "Asia/Shanghai"')
            + ("" if known else "; this machine has no zones: install tzdata")
        ) from problem
