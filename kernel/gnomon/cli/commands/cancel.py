"""`gnomon cancel`: ask a run to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gnomon.cli.options import config_option, json_option, url_option


@click.command("cancel")
@click.argument("execution_id", metavar="ID")
@click.option("--why", help="A reason, kept in the log.")
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, execution_id: str, why: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Ask a run to stop; one that has not started never will. What became of it is in `gnomon runs show ID`."""
    from gnomon.cli.steering import actor, ask, reach, tell
    from gnomon.control import Cancel

    answer = ask(reach(ctx, config, url), Cancel(execution_id, actor(), why))
    tell(answer, as_json=as_json, sentence=_sentence)


def _sentence(execution: dict[str, Any]) -> str:
    which = f"{execution['id']} of {execution['job_id']}"
    if execution["status"] != "cancelled":
        return f"{which} is asked to stop"
    return f"{which} is cancelled" if execution.get("runner") else f"{which} is cancelled: it had not started"
