"""Times as people write them on a command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo

import click

from gnomon.durations import Duration


def past_moment(text: str, zone: tzinfo | None, option: str) -> datetime:
    """Read "2h" as two hours ago, else an ISO 8601 time, in `zone` where it has no offset; None is this machine's."""
    try:
        return datetime.now(UTC) - Duration.parse(text)
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        hint = 'expected a duration such as "2h" or a time such as 2026-12-01T18:00'
        raise click.BadParameter(f"{hint}, got {text!r}", param_hint=option) from exc
    if at.tzinfo is None and zone is not None:
        return at.replace(tzinfo=zone)
    return at.astimezone()  # what is naive is taken for a time of this machine


def day_or_moment(text: str, argument: str) -> date | datetime:
    """Read an ISO 8601 time, with an offset or as a wall time, or a date, which means the whole day."""
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    hint = "expected a time such as 2026-12-01T18:00, with or without an offset, or a date such as 2026-12-01"
    raise click.BadParameter(f"{hint}, got {text!r}", param_hint=argument)
