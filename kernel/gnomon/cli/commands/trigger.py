"""`gnomon trigger`: run a job now, in the kernel that is running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gnomon.cli.options import config_option, json_option, kwargs_option, parse_kwargs


@click.command("trigger")
@click.argument("job_id", metavar="JOB")
@kwargs_option
@click.option("--force", is_flag=True, help="Do not ask guards.")
@click.option("--keep-paused", is_flag=True, help="A paused job runs once and stays paused; else it is resumed.")
@click.option("--idempotency-key", metavar="KEY", help="A request that is repeated with the same key makes one run.")
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    job_id: str,
    kwargs: str | None,
    force: bool,
    keep_paused: bool,
    idempotency_key: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Run a job now, once. Its schedule is not touched; the arguments count for this run only."""
    from gnomon.cli.steering import actor, ask, tell
    from gnomon.control import Trigger

    request = Trigger(job_id, parse_kwargs(kwargs), force, not keep_paused, actor(), idempotency_key)
    tell(ask(ctx, config, request), as_json=as_json, sentence=_sentence)


def _sentence(answer: dict[str, Any]) -> str:
    execution = answer["execution"]
    said = f"{execution['job_id']} {execution['id']} is {execution['status']}"
    if execution["status"] == "missed":
        return f"{said}: {execution.get('detail')}; --force does not ask guards"
    if not answer["is_new"]:
        return f"{said}, from an earlier request with the same key"
    return f"{said}; the job was paused and is resumed" if answer["resumed"] else said
