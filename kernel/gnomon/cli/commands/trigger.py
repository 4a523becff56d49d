"""`gnomon trigger`: run a job now, in the running kernel; with --follow, wait for the run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, kwargs_option, label_option, parse_kwargs, url_option
from gnomon.cli.output.console import echo
from gnomon.errors import GnomonError
from gnomon.text import moment, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from gnomon.api import Triggered
    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.execution import Execution

    Request = Callable[[ReachedKernel], Coroutine[Any, Any, Triggered]]

EXIT_INTERRUPTED = 130


@click.command("trigger")
@click.argument("job_id", metavar="JOB")
@kwargs_option
@label_option("Give the run a label, NAME=VALUE; repeatable.")
@click.option("--force", is_flag=True, help="Skip the guards.")
@click.option("--keep-paused", is_flag=True, help="Leave a paused job paused; by default it is resumed.")
@click.option("--follow", is_flag=True, help="Show the progress until the run ends; print its return value.")
@click.option("--idempotency-key", metavar="KEY", help="Repeated requests with the same key make one run.")
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    job_id: str,
    kwargs: str | None,
    labels: tuple[tuple[str, str], ...],
    force: bool,
    keep_paused: bool,
    follow: bool,
    idempotency_key: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Run a job now, once, with arguments for this run only.

    A paused job is resumed, unless --keep-paused is given; at a terminal the command asks first. With --follow it exits
    with 0 if the run succeeded, 1 if not, 130 if it was cancelled. Ctrl-C does not cancel the run. If a kernel
    elsewhere goes away in between, the command waits up to a minute for it.
    """
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import execution_record, print_json

    arguments = parse_kwargs(kwargs)

    async def request(kernel: ReachedKernel) -> Triggered:
        if not keep_paused:
            await _confirm_resume(kernel, job_id, asks=not as_json)
        return await kernel.trigger(
            job_id,
            kwargs=arguments,
            labels=dict(labels),
            force=force,
            resume=not keep_paused,
            idempotency_key=idempotency_key,
        )

    kernel = reach(ctx, config, url)
    if follow:
        ctx.exit(_follow(kernel, request, as_json=as_json))
    triggered = asyncio.run(_trigger(kernel, request))
    if as_json:
        answer = {"resumed": triggered.resumed, "is_new": triggered.is_new, "joined": triggered.joined}
        print_json({"execution": execution_record(triggered.execution), **answer})
    else:
        echo(_sentence(triggered))


async def _confirm_resume(kernel: ReachedKernel, job_id: str, *, asks: bool) -> None:
    """Print that a trigger resumes a paused job; at a terminal, raise GnomonError if that is not wanted."""
    if (pause := await kernel.pause_of(job_id)) is None:
        return
    by = f" by {pause.by}" if pause.by else ""
    why = f" ({pause.reason})" if pause.reason else ""
    finding = f"the job {job_id!r} was paused{by}{why}, and this resumes its schedule"
    if not asks or not sys.stdin.isatty():
        echo(f"{finding}; --keep-paused runs it once and leaves it paused", err=True)
    elif not click.confirm(visible(f"{finding}. Trigger and resume it?"), err=True):
        raise GnomonError("nothing was triggered; --keep-paused runs the job once and leaves it paused")


async def _trigger(kernel: ReachedKernel, request: Request) -> Triggered:
    async with kernel:
        return await request(kernel)


def _follow(kernel: ReachedKernel, request: Request, *, as_json: bool) -> int:
    from gnomon.cli.output.run_result import exit_code, print_result

    started: list[str] = []
    try:
        execution = asyncio.run(_run(kernel, request, started))
    except KeyboardInterrupt:
        hint = f"the run goes on; `gnomon cancel {started[0]}` stops it"
        echo(hint if started else "interrupted; the job may have been triggered", err=True)
        return EXIT_INTERRUPTED
    print_result(execution, as_json=as_json)
    return exit_code(execution)


async def _run(kernel: ReachedKernel, request: Request, started: list[str]) -> Execution:
    from gnomon.cli.output.progress_bar import RunProgress
    from gnomon.cli.output.run_result import snooze_sentence

    async with kernel:
        triggered = await request(kernel)
        execution_id = triggered.execution.id
        started.append(execution_id)
        echo(_sentence(triggered), err=True)
        while True:
            with RunProgress(triggered.execution.job_id) as display:
                async for state in kernel.follow_run(execution_id):
                    display.show(state.view, state.timing)
            execution = await kernel.execution(execution_id)
            if execution.snoozed_to is None:
                return execution
            echo(snooze_sentence(execution), err=True)
            execution_id = execution.snoozed_to
            started[:] = [execution_id]


def _sentence(triggered: Triggered) -> str:
    execution = triggered.execution
    sentence = f"{execution.job_id} {execution.id} is {execution.status}"
    if execution.status == "missed":
        return f"{sentence}: {execution.detail}; --force skips the guards"
    if triggered.joined and execution.not_before is not None:
        return f"{sentence} until {moment(execution.not_before, None)}; this trigger joins the one that it waits for"
    if not triggered.is_new:
        return f"{sentence}, from an earlier request with the same key"
    return f"{sentence}; the job was paused and is now resumed" if triggered.resumed else sentence
