"""`gnomon reload`: make the running kernel read its config again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, local_url_option
from gnomon.cli.output.console import echo

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
    Tokens and single sign-on of [plugins.web] and the section [plugins.alerts] are applied too; other settings need a
    restart.
    """
    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.output.json_output import print_json

    kernel = LocalKernel(read_local_config(ctx, config, url, needs="the config file of the kernel"))
    reloaded = asyncio.run(kernel.reload())
    if as_json:
        print_json(reloaded)
    else:
        echo(_sentences(reloaded))


def _sentences(reloaded: Reloaded) -> str:
    lines = [f"+ {job_id}" for job_id in reloaded.added]
    lines += [f"~ {job_id}: {', '.join(changes)}" for job_id, changes in reloaded.changed.items()]
    lines += [f"- {job_id}" for job_id in reloaded.removed]
    lines += [f"~ {key}: applied" for key in reloaded.applied]
    lines += [f"! {_setting(place)} has changed: restart the kernel to apply it" for place in reloaded.needs_restart]
    lines += [f"! {reloaded.held}"] if reloaded.held is not None else []
    return "\n".join(lines) or "nothing has changed"


def _setting(place: str) -> str:
    """Return a section in brackets, as it stands in the config, and a key with its section."""
    *section, key = place.split(".")
    return f"{key} of [{'.'.join(section)}]" if len(section) > 1 else f"[{place}]"
