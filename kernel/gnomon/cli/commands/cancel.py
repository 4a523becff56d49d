"""`gnomon cancel`: ask a run to stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, url_option

if TYPE_CHECKING:
    from gnomon.cli.access.resolve import ReachedKernel


@click.command("cancel")
@click.argument("execution_id", metavar="ID")
@click.option("--reason", help="A reason, kept in the log.")
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, execution_id: str, reason: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Ask a run to stop; one that has not started never will. What became of it is in `gnomon runs show ID`.

    ID may be the beginning of an id, as lists show it in a narrow terminal.
    """
    import asyncio

    from gnomon.cli.access.resolve import reach
    from gnomon.cli.access.steering import tell

    answer = asyncio.run(_cancel(reach(ctx, config, url), execution_id, reason))
    tell(answer, as_json=as_json, sentence=_sentence)


async def _cancel(kernel: ReachedKernel, wanted: str, reason: str | None) -> dict[str, Any]:
    from gnomon.cli.access.short_ids import find_run
    from gnomon.cli.access.steering import actor
    from gnomon.control_socket import Cancel

    async with kernel:
        execution = await find_run(kernel, wanted)
        answer: dict[str, Any] = await kernel.ask(Cancel(execution.id, actor(), reason))
        return answer


def _sentence(execution: dict[str, Any]) -> str:
    which = f"{execution['id']} of {execution['job_id']}"
    if execution["status"] != "cancelled":
        return f"{which} is asked to stop"
    return f"{which} is cancelled" if execution.get("runner") else f"{which} is cancelled: it had not started"
