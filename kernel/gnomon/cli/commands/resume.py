"""`gnomon resume`: the opposite of `gnomon pause`."""

from __future__ import annotations

from pathlib import Path

import click

from gnomon.cli.commands.pause import command as pause
from gnomon.cli.commands.pause import set_paused


@click.command("resume", params=pause.params)
@click.pass_context
def command(
    ctx: click.Context, job_id: str, reason: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Resume the fires of a paused job; its policy `catch_up` decides about the fires that were held back."""
    set_paused(ctx, job_id, config, url, paused=False, reason=reason, as_json=as_json)
