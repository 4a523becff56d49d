"""Times on the command line."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, tzinfo

import click

from gnomon.moments import parse_moment
from gnomon.scheduling.timezones import expect_within_calendar


def parse_past_time(text: str, zone: tzinfo | None, option: str) -> datetime:
    """Parse a moment; "2h" without a sign is two hours ago. A time without an offset is in `zone`, or local."""
    now = datetime.now(UTC)
    for moment in (f"-{text}", text):
        with suppress(ValueError):
            return parse_moment(moment, now, zone)
    expected = 'expected a duration such as "2h" or a time such as 2026-12-01T18:00'
    raise click.BadParameter(f"{expected}, got {text!r}", param_hint=option)


def parse_day_or_time(text: str, argument: str) -> date | datetime:
    """Parse a date, which means the whole day, or an ISO 8601 time with or without an offset."""
    for parse in (date.fromisoformat, datetime.fromisoformat):
        with suppress(ValueError):
            found = parse(text)
            expect_within_calendar(found)
            return found
    expected = "expected a time such as 2026-12-01T18:00, with or without an offset, or a date such as 2026-12-01"
    raise click.BadParameter(f"{expected}, got {text!r}", param_hint=argument)
