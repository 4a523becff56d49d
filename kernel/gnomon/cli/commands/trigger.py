"""`gnomon trigger`: run a job now, in the kernel that is running, and wait for it with --follow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, kwargs_option, parse_kwargs, url_option

if TYPE_CHECKING:
    from gnomon.cli.access.resolve import ReachedKernel
    from gnomon.control_socket import Trigger
    from gnomon.domain.execution import Execution

INTERRUPTED = 130


@click.command("trigger")
@click.argument("job_id", metavar="JOB")
@kwargs_option
@click.option("--force", is_flag=True, help="Do not ask guards.")
@click.option("--keep-paused", is_flag=True, help="A paused job runs once and stays paused; else it is resumed.")
@click.option("--follow", is_flag=True, help="Show the progress until the run is over; print what it returned.")
@click.option("--idempotency-key", metavar="KEY", help="A request that is repeated with the same key makes one run.")
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - all that the command line has
    ctx: click.Context,
    job_id: str,
    kwargs: str | None,
    force: bool,
    keep_paused: bool,
    follow: bool,
    idempotency_key: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Run a job now, once. Its schedule is not touched; the arguments count for this run only.

    With --follow it ends with 0 if the run succeeded, 1 if not, 130 if it was cancelled. Ctrl-C leaves the run alone. A
    kernel elsewhere that goes away meanwhile is waited for, for a minute.
    """
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.access.steering import actor, ask, tell
    from gnomon.control_socket import Trigger

    request = Trigger(job_id, parse_kwargs(kwargs), force, not keep_paused, actor(), idempotency_key)
    kernel = reach(ctx, config, url)
    if follow:
        ctx.exit(_follow(kernel, request, as_json=as_json))
    tell(ask(kernel, request), as_json=as_json, sentence=_sentence)


def _follow(kernel: ReachedKernel, request: Trigger, *, as_json: bool) -> int:
    from gnomon.cli.output.run_ending import exit_code, print_ending

    begun: list[str] = []
    try:
        execution = asyncio.run(_run(kernel, request, begun))
    except KeyboardInterrupt:
        what = f"the run goes on; `gnomon cancel {begun[0]}` stops it" if begun else "the job may have been triggered"
        click.echo(what, err=True)
        return INTERRUPTED
    print_ending(execution, as_json=as_json)
    return exit_code(execution)


async def _run(kernel: ReachedKernel, request: Trigger, begun: list[str]) -> Execution:
    from gnomon.cli.output.progress_bar import RunProgress

    async with kernel:
        answer = await kernel.ask(request)
        begun.append(answer["execution"]["id"])
        click.echo(_sentence(answer), err=True)
        with RunProgress(request.job_id) as display:
            async for standing in kernel.follow(begun[0]):
                display.show(standing.view, standing.timing)
        return await kernel.execution(begun[0])


def _sentence(answer: dict[str, Any]) -> str:
    execution = answer["execution"]
    said = f"{execution['job_id']} {execution['id']} is {execution['status']}"
    if execution["status"] == "missed":
        return f"{said}: {execution.get('detail')}; --force does not ask guards"
    if not answer["is_new"]:
        return f"{said}, from an earlier request with the same key"
    return f"{said}; the job was paused and is resumed" if answer["resumed"] else said
