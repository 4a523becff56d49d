"""Events on a terminal, one line for each, while they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import tzinfo

import click

from gnomon.cli.access.resolve import ReachedKernel
from gnomon.cli.output.console_plugin import tell
from gnomon.cli.output.states import written_facts
from gnomon.domain import codec, events
from gnomon.domain.events import Event


async def print_events(kernel: ReachedKernel, job_id: str | None, *, as_json: bool) -> None:
    """Print what happens: each event as JSON, or what people want to see of it."""
    async with kernel:
        await _print(kernel.events(job_id), kernel.zone, as_json=as_json)


async def _print(following: AsyncIterator[Event], zone: tzinfo | None, *, as_json: bool) -> None:
    steps: dict[str, str] = {}
    async for event in following:
        if as_json:
            click.echo(codec.encode(event).decode())
        elif (line := _line(event, steps.get(event.stream), zone)) is not None:
            click.echo(line)
        if isinstance(event, events.Progress) and event.step is not None:
            steps[event.stream] = event.step


def _line(event: Event, last_step: str | None, zone: tzinfo | None) -> str | None:
    told = tell(event, last_step)
    if told.level == "debug":
        return None
    facts = " ".join(f"{name}={value}" for name, value in written_facts(told.facts, zone).items() if name != "job")
    return f"{event.at.astimezone(zone):%H:%M:%S}  {told.facts['job']}  {told.what}  {facts}"
