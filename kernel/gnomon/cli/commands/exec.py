"""`gnomon exec`: one run of one job, in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import CONFIG_PATH, config_option, kwargs_option, parse_kwargs

if TYPE_CHECKING:
    from gnomon.cli.output.progress_bar import RunProgress
    from gnomon.deployment.assembly import Deployment
    from gnomon.domain.execution import Execution
    from gnomon.kernel import Kernel
    from gnomon.plugins.plugin_set import PluginSet

LOOK = 0.1
"""Seconds between two looks at the progress."""


@click.command("exec")
@click.argument("places", metavar="[CONFIG] JOB", nargs=-1, required=True)
@kwargs_option
@click.option("--force", is_flag=True, help="Do not ask guards.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the record of the run as JSON and nothing else.")
@click.pass_context
def command(
    ctx: click.Context, places: tuple[str, ...], kwargs: str | None, force: bool, config: Path | None, as_json: bool
) -> None:
    """Run one job now, in the foreground, once: its policy `retry` does not count here.

    The run is written to the log of the deployment; where a running kernel has that log, it is not recorded. Prints
    what the job returned; ends with 0 if it succeeded, 1 if not, 130 if it was cancelled with Ctrl-C.
    """
    from gnomon.cli.access.deployments import find_job, read_config
    from gnomon.cli.output.run_ending import exit_code, print_ending
    from gnomon.deployment.assembly import assemble

    if len(places) > 2:
        raise click.UsageError(f"expected a job, or a config file and a job, got {' '.join(places)}")
    config_file = CONFIG_PATH.convert(places[0], None, ctx) if len(places) == 2 else None
    arguments = parse_kwargs(kwargs)
    deployment = assemble(read_config(ctx, config_file, config))
    job = find_job(deployment, places[-1])
    # What a body prints must not be taken for the result.
    with contextlib.redirect_stdout(sys.stderr):
        execution = asyncio.run(_run_recorded(deployment, job.id, arguments, force=force))
    print_ending(execution, as_json=as_json)
    ctx.exit(exit_code(execution))


async def _run_recorded(deployment: Deployment, job_id: str, kwargs: dict[str, Any], *, force: bool) -> Execution:
    """Run on the deployment's own log, or, where another kernel has it, on one that is forgotten."""
    import msgspec

    from gnomon.cli.access.deployments import find_job, make_kernel
    from gnomon.errors import StoreInUseError
    from gnomon.jobs.job import Retry
    from gnomon.stores.memory import MemoryStore

    # A retry would be left to the next kernel: nobody who runs a job by hand expects it to run again tonight.
    job = msgspec.structs.replace(find_job(deployment, job_id), retry=Retry(attempts=1))
    run = partial(_run, job_id=job_id, kwargs=kwargs, force=force)
    make = partial(make_kernel, deployment, jobs=[job], keeps_time=False)
    try:
        return await run(make())
    except StoreInUseError as exc:
        click.echo(f"this run is not recorded: {exc}", err=True)
    return await run(make(store=MemoryStore(), plugins=only_guards(deployment.plugins)))


def only_guards(plugins: PluginSet) -> PluginSet:
    """Keep the plugins that guard and nothing else: the others are at work in the kernel that has the log."""
    from gnomon.plugins.plugin_set import PluginSet

    guards = PluginSet()
    for plugin in plugins:
        if plugin.hooks == ["guard"]:
            guards.add(plugin.object, plugin.name)
    return guards


async def _run(kernel: Kernel, *, job_id: str, kwargs: dict[str, Any], force: bool) -> Execution:
    from gnomon.cli.access.steering import actor
    from gnomon.cli.input.stop_signals import StopSignals, record_lost
    from gnomon.cli.output.progress_bar import RunProgress

    asked = asyncio.Event()
    with StopSignals(asked.set, partial(record_lost, kernel)):
        async with kernel:
            # resume=False: that a job is paused is a matter between its schedule and whoever paused it.
            triggered = await kernel.trigger(job_id, kwargs=kwargs, force=force, resume=False, actor=actor())
            with RunProgress(job_id) as display:
                return await _follow(kernel, triggered.execution.id, display, asked)


async def _follow(kernel: Kernel, execution_id: str, display: RunProgress, asked: asyncio.Event) -> Execution:
    """Show a run until it is over; cancel it when somebody asks for that."""
    told = False
    async with asyncio.TaskGroup() as tasks:
        end = tasks.create_task(kernel.wait(execution_id))
        while not end.done():
            await asyncio.wait([end], timeout=LOOK)
            if asked.is_set() and not told and not end.done():
                told = True
                await _cancel(kernel, execution_id)
            execution = await kernel.execution(execution_id)
            display.show(execution.progress, await kernel.timing(execution_id))
    return end.result()


async def _cancel(kernel: Kernel, execution_id: str) -> None:
    from gnomon.cli.access.steering import actor
    from gnomon.errors import ExecutionOverError

    click.echo("cancelling; Ctrl-C again does not wait for it", err=True)
    with contextlib.suppress(ExecutionOverError):
        await kernel.cancel(execution_id, actor=actor(), reason="Ctrl-C")
