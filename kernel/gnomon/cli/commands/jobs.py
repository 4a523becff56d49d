"""`gnomon jobs`: list the jobs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, url_option

if TYPE_CHECKING:
    from rich.text import Text

    from gnomon.cli.access.job_listing import JobListing
    from gnomon.cli.access.reached_kernel import ReachedKernel


@click.command("jobs")
@config_option
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, url: str | None, as_json: bool) -> None:
    """List the jobs: state, next fire, last run, schedule. Works with or without a running kernel."""
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    found = asyncio.run(_read(reach(ctx, config, url)))
    if as_json:
        print_json(found)
    else:
        _print(found)


async def _read(kernel: ReachedKernel) -> list[JobListing]:
    async with kernel:
        return await kernel.jobs()


def _print(found: list[JobListing]) -> None:
    from gnomon.cli.output.tables import Column, print_table

    columns = [
        Column("job", 12),
        Column("name", 12, 3),
        Column("state", 9),
        Column("next fire", 23, no_wrap=True),
        Column("last run", 18),
        Column("running", 7, 1, right=True),
        Column("schedule", 16, 2),
    ]
    shows_origin = any(job.origin == "api" for job in found)  # a deployment whose jobs are all in its config needs none
    if shows_origin:
        columns.insert(2, Column("origin", 6))
    now = datetime.now(UTC)
    print_table(columns, [_row(job, now, shows_origin=shows_origin) for job in found])


def _row(job: JobListing, now: datetime, *, shows_origin: bool) -> tuple[str | Text, ...]:
    from rich.text import Text

    from gnomon.cli.output.states import style_of, with_glyph
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import length, moment

    last = job.last_run
    state = "overdue" if job.overdue else job.state
    by = f" by {job.paused_by}" if job.paused_by else ""
    ran = Text("never")
    if last is not None:
        ago = length((now - last.timestamp).total_seconds())
        ran = Text(f"{with_glyph(last.status)}, {ago} ago", style_of(last.status))
    return (
        job.id,
        "" if job.display_name == job.id else job.display_name,
        *((job.origin or "",) if shows_origin else ()),
        Text(f"{with_glyph(state)}{by}", style_of(state)),
        moment(job.next_fire, timezone_or_utc(job.timezone)),
        ran,
        str(len(job.running) or "-"),
        job.schedule if job.problem is None else f"cannot be built: {job.problem}",
    )
