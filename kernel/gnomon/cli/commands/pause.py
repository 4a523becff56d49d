"""`gnomon pause`: pause a job."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo


@click.command("pause")
@click.argument("job_id", metavar="JOB")
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, job_id: str, reason: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Pause a job: hold back its fires until it is resumed, also across restarts. Its current runs continue."""
    set_paused(ctx, job_id, config, url, paused=True, reason=reason, as_json=as_json)


def set_paused(
    ctx: click.Context,
    job_id: str,
    config: Path | None,
    url: str | None,
    *,
    paused: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Pause or resume a job, and print whether that changed anything."""
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    kernel = reach(ctx, config, url)

    async def change() -> bool:
        async with kernel:
            return await (kernel.pause if paused else kernel.resume)(job_id, reason=reason)

    changed = asyncio.run(change())
    if as_json:
        print_json({"job_id": job_id, "paused": paused, "changed": changed})
    elif paused:
        echo(f"{job_id} is paused" if changed else f"{job_id} was already paused")
    else:
        echo(f"{job_id} is resumed" if changed else f"{job_id} was not paused")
