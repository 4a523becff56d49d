"""The log lines of a run on a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import tzinfo

import msgspec

from gnomon.cli.output.console import echo, echo_json
from gnomon.domain.records import LogLine


async def print_log_lines(lines: AsyncIterator[LogLine], zone: tzinfo | None, *, as_json: bool) -> None:
    """Print log lines as they come; a gap in their numbers is announced on stderr."""
    last = 0
    async for line in lines:
        if line.number > last + 1 and not as_json:
            echo(f"… {line.number - last - 1} lines are no longer stored …", err=True)
        if as_json:
            echo_json(msgspec.json.encode(line).decode())
        else:
            echo(_sentence(line, zone))
        last = line.number


def _sentence(line: LogLine, zone: tzinfo | None) -> str:
    at = line.at.astimezone(zone)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}  {line.level:<8}  {line.text}"
