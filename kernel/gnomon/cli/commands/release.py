"""`gnomon release`: the opposite of `gnomon hold`."""

from __future__ import annotations

from pathlib import Path

import click

from gnomon.cli.commands.hold import command as hold
from gnomon.cli.commands.hold import set_held


@click.command("release", params=hold.params)
@click.pass_context
def command(ctx: click.Context, reason: str | None, config: Path | None, url: str | None, as_json: bool) -> None:
    """Release the fires of all jobs; the policy `catch_up` of each decides about the fires that were held back."""
    set_held(ctx, config, url, held=False, reason=reason, as_json=as_json)
