"""`gnomon exec`: run one job in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import CONFIG_PATH, config_option, kwargs_option, parse_kwargs
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.cli.output.progress_bar import RunProgress
    from gnomon.deployment.assembly import Deployment
    from gnomon.domain.execution import Execution
    from gnomon.jobs.job import Job
    from gnomon.kernel import Kernel
    from gnomon.plugins.plugin_set import PluginSet

POLL_INTERVAL_S = 0.1
"""Pause between two updates of the progress."""


@click.command("exec")
@click.argument("arguments", metavar="[CONFIG] JOB", nargs=-1, required=True)
@kwargs_option
@click.option("--force", is_flag=True, help="Skip the guards.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the record of the run as JSON and nothing else.")
@click.pass_context
def command(
    ctx: click.Context, arguments: tuple[str, ...], kwargs: str | None, force: bool, config: Path | None, as_json: bool
) -> None:
    """Run one job now, in the foreground, once: its policy `retry` is ignored.

    The run is recorded in the log of the deployment, unless a running kernel holds that log. Prints the return value.
    Exits with 0 if the run succeeded, 1 if not, 130 if it was cancelled with Ctrl-C.
    """
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.output.run_result import exit_code, print_result
    from gnomon.cli.process_exit import EXIT_GRACE_S, end_process_after, report_leftovers
    from gnomon.deployment.assembly import assemble
    from gnomon.loop_guard import run_protected

    if len(arguments) > 2:
        raise click.UsageError(f"expected a job, or a config file and a job, got {' '.join(arguments)}")
    config_file = CONFIG_PATH.convert(arguments[0], None, ctx) if len(arguments) == 2 else None
    run_kwargs = parse_kwargs(kwargs)
    deployment = assemble(read_config(ctx, config_file, config, for_runs=True))
    job = deployment.job(arguments[-1])
    is_printed = threading.Event()

    def show(execution: Execution) -> None:
        is_printed.set()
        with contextlib.redirect_stdout(sys.__stdout__):
            print_result(execution, as_json=as_json)

    async def run() -> Execution:
        execution = await _run_recorded(deployment, job, run_kwargs, force=force)
        loop = asyncio.get_running_loop()

        def report() -> None:
            report_leftovers(loop)
            if not is_printed.is_set():
                show(execution)

        end_process_after(EXIT_GRACE_S, exit_code(execution), report)
        return execution

    # Standard output is for the return value; what the body prints goes to stderr.
    with contextlib.redirect_stdout(sys.stderr):
        execution = run_protected(run())
    show(execution)
    ctx.exit(exit_code(execution))


async def _run_recorded(deployment: Deployment, job: Job, kwargs: dict[str, Any], *, force: bool) -> Execution:
    """Run with the log of the deployment or, if another kernel holds it, with a temporary log."""
    import msgspec

    from gnomon.deployment.kernel_factory import build_kernel
    from gnomon.errors import StoreInUseError
    from gnomon.jobs.job import Retry
    from gnomon.stores.memory import MemoryStore

    # The next kernel would run a retry, perhaps hours later: nobody expects that of a job that was run by hand.
    # Further triggers, for which a debounce would wait, cannot reach this kernel.
    job = msgspec.structs.replace(job, retry=Retry(attempts=1), debounce=None)
    run = partial(_run, job_id=job.id, kwargs=kwargs, force=force)
    build = partial(build_kernel, deployment, jobs=[job], keeps_time=False)
    try:
        return await run(build())
    except StoreInUseError as exc:
        echo(f"this run is not recorded: {exc}", err=True)
    return await run(build(store=MemoryStore(), plugins=only_guards(deployment.plugins)))


def only_guards(plugins: PluginSet) -> PluginSet:
    """Return the plugins that only guard: the others already run in the kernel that holds the log."""
    from gnomon.plugins.plugin_set import PluginSet

    guards = PluginSet()
    for plugin in plugins:
        if plugin.hooks == ["guard"]:
            guards.add(plugin.object, plugin.name)
    return guards


async def _run(kernel: Kernel, *, job_id: str, kwargs: dict[str, Any], force: bool) -> Execution:
    from gnomon.cli.access.local import operator_name
    from gnomon.cli.input.stop_signals import StopSignals, record_lost_runs
    from gnomon.cli.output.progress_bar import RunProgress

    stop = asyncio.Event()
    with StopSignals(stop.set, partial(record_lost_runs, kernel)):
        async with kernel:
            # resume=False: a run by hand does not change whether the schedule is paused.
            triggered = await kernel.trigger(job_id, kwargs=kwargs, force=force, resume=False, actor=operator_name())
            with RunProgress(job_id) as display:
                return await _follow(kernel, triggered.execution.id, display, stop)


async def _follow(kernel: Kernel, execution_id: str, display: RunProgress, stop: asyncio.Event) -> Execution:
    """Show the progress of a run until it ends; cancel it when `stop` is set."""
    from gnomon.cli.output.run_result import snooze_sentence

    is_cancelled = False
    async with asyncio.TaskGroup() as tasks:
        end = tasks.create_task(kernel.wait(execution_id))
        while not end.done():
            await asyncio.wait([end], timeout=POLL_INTERVAL_S)
            while (execution := await kernel.execution(execution_id)).snoozed_to is not None:
                echo(snooze_sentence(execution), err=True)
                execution_id = execution.snoozed_to
            if stop.is_set() and not is_cancelled and not end.done():
                is_cancelled = True
                await _cancel(kernel, execution_id)
            display.show(execution.progress, await kernel.timing(execution_id))
    return end.result()


async def _cancel(kernel: Kernel, execution_id: str) -> None:
    from gnomon.cli.access.local import operator_name
    from gnomon.errors import ExecutionOverError

    echo("cancelling the run; Ctrl-C again exits without waiting for it", err=True)
    with contextlib.suppress(ExecutionOverError):
        await kernel.cancel(execution_id, actor=operator_name(), reason="Ctrl-C")
