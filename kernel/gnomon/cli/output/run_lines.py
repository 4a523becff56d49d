"""The log lines of a run on a terminal, also while they are being written."""

from __future__ import annotations

import asyncio
from datetime import tzinfo

import click
import msgspec

from gnomon.cli.access.resolve import ReachedKernel
from gnomon.domain.records import LogLine

PAGE = 1000
LOOK = 0.5
"""Seconds between two looks at a run that is followed: a kernel writes lines down four times a second."""


async def print_lines(kernel: ReachedKernel, execution_id: str, *, follow: bool, as_json: bool) -> None:
    """Print what a run logged; with `follow`, go on until the run is over."""
    last = 0
    while True:
        execution = await kernel.execution(execution_id)  # before the lines: the last must not be passed over
        while lines := await kernel.lines(execution_id, last, PAGE):
            if lines[0].number > last + 1 and not as_json:
                click.echo(f"… {lines[0].number - last - 1} lines are not kept …", err=True)
            for line in lines:
                click.echo(msgspec.json.encode(line).decode() if as_json else _sentence(line, kernel.zone))
            last = lines[-1].number
        if not follow or execution.is_over:
            return
        await asyncio.sleep(LOOK)


def _sentence(line: LogLine, zone: tzinfo | None) -> str:
    at = line.at.astimezone(zone)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}  {line.level:<8}  {line.text}"
