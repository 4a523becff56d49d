"""`gnomon pause`: hold a job's fires back."""

from __future__ import annotations

from pathlib import Path

import click

from gnomon.cli.input.options import config_option, json_option, url_option


@click.command("pause")
@click.argument("job_id", metavar="JOB")
@click.option("--reason", help="A reason, kept in the log.")
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, job_id: str, reason: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Hold a job's fires back until it is resumed, also over restarts. Runs that are going on go on."""
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.access.steering import actor, ask, tell
    from gnomon.control_socket import Pause

    changed = ask(reach(ctx, config, url), Pause(job_id, actor(), reason))
    sentence = f"{job_id} is paused" if changed else f"{job_id} was paused already"
    tell({"job_id": job_id, "paused": True, "changed": changed}, as_json=as_json, sentence=lambda _: sentence)
