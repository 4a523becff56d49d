"""`gnomon resume`: the opposite of `gnomon pause`."""

from __future__ import annotations

from typing import Any

import click

from gnomon.cli.commands.pause import command as pause
from gnomon.cli.commands.pause import set_paused


@click.command("resume", params=pause.params)
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Resume the fires of a paused job; its policy `catch_up` decides about the fires that were held back.

    With --tag or -q, resume all jobs that match both, at most 1,000.
    """
    set_paused(ctx, paused=False, **given)
