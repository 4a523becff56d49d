"""`gnomon hold`: hold back the fires of all jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo


@click.command("hold")
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, reason: str | None, config: Path | None, url: str | None, as_json: bool) -> None:
    """Hold back the fires of all jobs until `gnomon release`, also across restarts.

    Runs that have begun go on, and `gnomon trigger` still runs jobs.
    """
    set_held(ctx, config, url, held=True, reason=reason, as_json=as_json)


def set_held(
    ctx: click.Context, config: Path | None, url: str | None, *, held: bool, reason: str | None, as_json: bool
) -> None:
    """Hold or release the fires of all jobs, and print whether that changed anything."""
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    kernel = reach(ctx, config, url)

    async def change() -> bool:
        async with kernel:
            return await kernel.set_held(held=held, reason=reason)

    changed = asyncio.run(change())
    if as_json:
        print_json({"held": held, "changed": changed})
    elif held:
        echo("all jobs are held: nothing fires until `gnomon release`" if changed else "all jobs were already held")
    else:
        echo("all jobs are released" if changed else "the jobs were not held")
