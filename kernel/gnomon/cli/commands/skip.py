"""`gnomon skip`: skip one fire of a job."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo


@click.command("skip")
@click.argument("job_id", metavar="JOB")
@click.argument("time", metavar="[TIME]", required=False)
@click.option("--undo", is_flag=True, help="Run the fire after all.")
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    job_id: str,
    time: str | None,
    undo: bool,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Skip the next fire of a job, or the one at TIME: it is recorded as missed (skipped) when it is due.

    TIME is as in `gnomon next`; without an offset it is in the zone of the job.
    """
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json
    from gnomon.text import moment

    fire = _read_time(time) if time is not None else None
    kernel = reach(ctx, config, url)

    async def act() -> datetime:
        async with kernel:
            return await kernel.skip(job_id, fire, undo=undo, reason=reason)

    found = asyncio.run(act())
    if as_json:
        print_json({"job_id": job_id, "scheduled_time": found, "skipped": not undo})
    else:
        shown = moment(found, kernel.zone, milliseconds=True)
        echo(f"{job_id}: the fire of {shown} {'runs after all' if undo else 'is skipped'}")


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as exc:
        expected = "expected a time such as 2026-12-01T18:00, with or without an offset"
        raise click.BadParameter(f"{expected}, got {text!r}", param_hint="TIME") from exc
