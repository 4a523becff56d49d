"""`gnomon resume`: let a job fire again."""

from __future__ import annotations

from pathlib import Path

import click

from gnomon.cli.input.options import config_option, json_option, url_option


@click.command("resume")
@click.argument("job_id", metavar="JOB")
@click.option("--reason", help="A reason, kept in the log.")
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, job_id: str, reason: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Let a paused job fire again; its policy `catch_up` decides about the fires that were held back."""
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.access.steering import actor, ask, tell
    from gnomon.control_socket import Resume

    changed = ask(reach(ctx, config, url), Resume(job_id, actor(), reason))
    sentence = f"{job_id} fires again" if changed else f"{job_id} was not paused"
    tell({"job_id": job_id, "paused": False, "changed": changed}, as_json=as_json, sentence=lambda _: sentence)
