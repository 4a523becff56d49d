"""`gnomon reload`: make the running kernel read its config again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, local_url_option

if TYPE_CHECKING:
    from gnomon.deployment.reload import Reloaded


@click.command("reload")
@config_option
@local_url_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, url: str | None, as_json: bool) -> None:
    """Read the config again and replace the jobs in one step; `gnomon plan` shows the changes beforehand.

    A config with problems changes nothing: the problems are printed. No fire is lost or doubled. SIGHUP does the same.
    """
    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.output.json_output import print_json

    kernel = LocalKernel(read_local_config(ctx, config, url, needs="the config file of the kernel"))
    reloaded = asyncio.run(kernel.reload())
    if as_json:
        print_json(reloaded)
    else:
        click.echo(_sentences(reloaded))


def _sentences(reloaded: Reloaded) -> str:
    lines = [f"+ {job_id}" for job_id in reloaded.added]
    lines += [f"~ {job_id}: {', '.join(changes)}" for job_id, changes in reloaded.changed.items()]
    lines += [f"- {job_id}" for job_id in reloaded.removed]
    lines += [f"! [{section}] has changed: restart the kernel to apply it" for section in reloaded.needs_restart]
    return "\n".join(lines) or "nothing has changed"
