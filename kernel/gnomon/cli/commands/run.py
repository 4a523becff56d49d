"""`gnomon run`: a kernel until somebody stops it."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_argument, config_option

if TYPE_CHECKING:
    from gnomon.deployment.assembly import Deployment, Reloaded
    from gnomon.kernel import Kernel

FORMATS = ("console", "logfmt", "json")
LEVELS = ("debug", "info", "warning", "error", "critical")
ANNOUNCED = 5
"""Next fires that are told at the start."""
WATCH = 1.0
"""Seconds between two looks at whether the log is still ours."""


@click.command("run")
@config_argument
@config_option
@click.option("--log-format", type=click.Choice(FORMATS), help="By default console on a terminal, else logfmt.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.pass_context
def command(
    ctx: click.Context, config_file: Path | None, config: Path | None, log_format: str | None, log_level: str
) -> None:
    """Keep time and run jobs until stopped.

    SIGTERM or Ctrl-C: nothing is started any more, and bodies that are going may end for as long as `drain` allows. A
    second one stops at once; what was going is recorded as lost. Ends with 0 after a clean stop, 1 where it cannot run,
    2 for a config that cannot be used.
    """
    from gnomon.cli.access.deployments import read_config
    from gnomon.cli.output.console_plugin import ConsolePlugin
    from gnomon.deployment.assembly import assemble

    settings = read_config(ctx, config_file, config, log_level=log_level, log_format=log_format)
    deployment = assemble(settings)
    deployment.plugins.add(ConsolePlugin(), "console")
    asyncio.run(_serve(deployment))


async def _serve(deployment: Deployment) -> None:
    import structlog

    from gnomon.cli.access.deployments import make_kernel
    from gnomon.cli.input.stop_signals import StopSignals, record_lost
    from gnomon.control_socket import control_path, listening

    log = structlog.stdlib.get_logger("gnomon.cli")
    source = deployment.config.source or "built-in example"
    log.info("starting", version=version("gnomon"), config=str(source), jobs=len(deployment.jobs))
    kernel, stop, serving, is_up = make_kernel(deployment), asyncio.Event(), asyncio.current_task(), False

    def asked() -> None:
        stop.set()
        if not is_up and serving is not None:
            serving.cancel()  # a start may wait long, for a store that is away

    with StopSignals(asked, partial(record_lost, kernel)):
        try:
            async with kernel, listening(kernel, control_path(deployment.config), partial(_reload, kernel, deployment)):
                is_up = True
                _reload_on_sighup(kernel, deployment)
                await _announce(kernel)
                await _until_stopped(kernel, stop)
                await _tell_what_is_going(kernel)
        except asyncio.CancelledError:
            if is_up or not stop.is_set():
                raise
            log.info("stopped", reason="a signal came before the kernel had started")


def _reload_on_sighup(kernel: Kernel, deployment: Deployment) -> None:
    import signal

    import structlog

    from gnomon.errors import GnomonError

    log = structlog.stdlib.get_logger("gnomon.cli")
    loop = asyncio.get_running_loop()
    going: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await _reload(kernel, deployment)
        except GnomonError as exc:
            log.error("reload refused, nothing has changed", problem=str(exc))

    def begin() -> None:
        going.add(task := loop.create_task(reload()))
        task.add_done_callback(going.discard)

    loop.add_signal_handler(signal.SIGHUP, begin)


async def _reload(kernel: Kernel, deployment: Deployment) -> Reloaded:
    import structlog

    from gnomon.deployment.assembly import reload_jobs

    reloaded = await reload_jobs(kernel, deployment.config, "gnomon reload")
    structlog.stdlib.get_logger("gnomon.cli").info(
        "reloaded",
        added=reloaded.added,
        changed=list(reloaded.changed),
        removed=reloaded.removed,
        needs_restart=reloaded.needs_restart,
    )
    return reloaded


async def _announce(kernel: Kernel) -> None:
    """Say what is due first, so that a silent start is not taken for a dead one."""
    import structlog

    from gnomon.cli.output.states import zone_of
    from gnomon.jobs.job import explain_schedule
    from gnomon.text import moment

    log = structlog.stdlib.get_logger("gnomon.cli")
    views = await kernel.jobs()
    due = sorted((view.next_fire, view.job.id, view.job) for view in views if view.next_fire)
    for fire, job_id, job in due[:ANNOUNCED]:
        log.info(
            "next fire" if fire > kernel.clock.now() else "overdue",
            job=job_id,
            at=moment(fire, zone_of(job.timezone)),
            schedule=explain_schedule(job),
        )
    for view in views:
        if view.state.paused:
            log.info("paused", job=view.job.id, by=view.state.paused_by, reason=view.state.paused_reason)


async def _until_stopped(kernel: Kernel, stop: asyncio.Event) -> None:
    """Wait for a signal; DeposedError where the log is not ours any more: who started us may then start us again."""
    from gnomon.errors import DeposedError

    while not stop.is_set():
        try:
            async with asyncio.timeout(WATCH):
                await stop.wait()
        except TimeoutError:
            health = kernel.health()
            if health.state == "deposed":
                raise DeposedError(f"this kernel cannot go on: {health.problem}") from None


async def _tell_what_is_going(kernel: Kernel) -> None:
    import structlog

    log = structlog.stdlib.get_logger("gnomon.cli")
    going = [(view.job.id, run) for view in await kernel.jobs() for run in view.running]
    within = f"{kernel.drain.total_seconds():g} s"
    log.info("stopping", waiting_for=len(going), within=within, hint="a second signal stops at once")
    for job_id, run in going:
        log.info("waiting for", job=job_id, run=run)
