"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo

import click

from gnomon.durations import Duration


def parse_past_time(text: str, zone: tzinfo | None, option: str) -> datetime:
    """Parse "2h" as two hours ago, or an ISO 8601 time; one without an offset is in `zone`, None is this machine's."""
    try:
        return datetime.now(UTC) - Duration.parse(text)
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        expected = 'expected a duration such as "2h" or a time such as 2026-12-01T18:00'
        raise click.BadParameter(f"{expected}, got {text!r}", param_hint=option) from exc
    if at.tzinfo is None and zone is not None:
        return at.replace(tzinfo=zone)
    return at.astimezone()  # astimezone() reads a naive time in the zone of this machine


def parse_day_or_time(text: str, argument: str) -> date | datetime:
    """Parse a date, which means the whole day, or an ISO 8601 time with or without an offset."""
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            return parse(text)
        except ValueError:
            continue
    expected = "expected a time such as 2026-12-01T18:00, with or without an offset, or a date such as 2026-12-01"
    raise click.BadParameter(f"{expected}, got {text!r}", param_hint=argument)
