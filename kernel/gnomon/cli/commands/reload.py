"""`gnomon reload`: let the running kernel read its config again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gnomon.cli.input.options import config_option, json_option, local_url_option


@click.command("reload")
@config_option
@local_url_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, url: str | None, as_json: bool) -> None:
    """Read the config again and put its jobs in place, at once and whole; `gnomon plan` shows it before.

    A config with problems changes nothing and is told; fires are neither lost nor doubled. SIGHUP does the same.
    """
    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.access.steering import ask, tell
    from gnomon.control_socket import ReloadJobs

    kernel = LocalKernel(read_local_config(ctx, config, url, needs="the config file of a kernel"))
    tell(ask(kernel, ReloadJobs()), as_json=as_json, sentence=_sentence)


def _sentence(answer: dict[str, Any]) -> str:
    lines = [f"+ {job_id}" for job_id in answer["added"]]
    lines += [f"~ {job_id}: {', '.join(changes)}" for job_id, changes in answer["changed"].items()]
    lines += [f"- {job_id}" for job_id in answer["removed"]]
    lines += [f"! [{section}] is different: that needs a restart" for section in answer["needs_restart"]]
    return "\n".join(lines) or "nothing is different"
