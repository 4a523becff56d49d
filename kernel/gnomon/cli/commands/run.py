"""`gnomon run`: run a kernel until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import LOG_FORMATS, LOG_LEVELS, config_argument, config_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.cli.input.stop_signals import StopSignals
    from gnomon.deployment.assembly import Deployment
    from gnomon.deployment.reload import Reloaded, Reloader
    from gnomon.domain.kernel_health import Role
    from gnomon.kernel import Kernel

ANNOUNCED_FIRES = 5
"""Next fires that are logged at the start."""
STORE_LIMIT_S = 10.0
"""Time that a stop waits for the store."""
LOOKS_AT_A_CHANGE = 5
"""Checks that may find a deposed kernel which may follow the one that has the log now."""
HEALTH_INTERVAL_S = 1.0
"""Pause between two checks whether the kernel still owns the log."""


@click.command("run")
@config_argument
@config_option
@click.option("--log-format", type=click.Choice(LOG_FORMATS), help="By default console on a terminal, else logfmt.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option("--standby", is_flag=True, help="Follow while another kernel leads the log, and lead when that one ends.")
@click.option("--accept-rollback", is_flag=True, help="Start with a log that has lost events, such as a restored copy.")
@click.pass_context
def command(
    ctx: click.Context,
    config_file: Path | None,
    config: Path | None,
    log_format: str | None,
    log_level: str,
    standby: bool,
    accept_rollback: bool,
) -> None:
    """Schedule and run the jobs until stopped.

    SIGTERM or Ctrl-C starts nothing more and gives running jobs the time of `drain` to end. A second one exits at once
    and records the running jobs as lost. --standby is role = "auto" of the config: while another kernel leads, this one
    serves its web server, answers from the log and passes orders on. Exits with 0 after a clean stop, 1 if the kernel
    cannot run or events were lost, 2 if the config is not valid or the log was rolled back.
    """
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.output.console_plugin import ConsolePlugin
    from gnomon.cli.output.logging_setup import keep_kernel_output
    from gnomon.cli.process_limits import raise_descriptor_limit
    from gnomon.deployment.assembly import assemble
    from gnomon.logs import get_logger
    from gnomon.loop_guard import run_protected

    raise_descriptor_limit()
    settings = read_config(ctx, config_file, config, log_level=log_level, log_format=log_format, for_runs=True)
    keep_kernel_output()
    deployment = assemble(settings)
    for warning in deployment.warnings:
        get_logger("gnomon.cli").warning("the config is valid, but", problem=warning)
    deployment.plugins.add(ConsolePlugin(), "console")
    deployment.store.accept_rollback = accept_rollback
    run_protected(_serve(deployment, "auto" if standby else settings.kernel.role))


async def _serve(deployment: Deployment, role: Role) -> None:
    """Run the kernel; once it has stopped, the process ends within EXIT_GRACE_S."""
    from gnomon.cli import EXIT_FAILURE, exit_code_of
    from gnomon.cli.process_exit import EXIT_GRACE_S, end_process_after, report_leftovers
    from gnomon.errors import GnomonError

    loop, code, problem = asyncio.get_running_loop(), EXIT_FAILURE, ""

    def report() -> None:
        report_leftovers(loop)
        if problem:
            echo(problem, err=True)

    try:
        await _run_kernel(deployment, role)
        code = 0
    except GnomonError as exc:
        code, problem = exit_code_of(exc), f"gnomon: {exc}"
        raise
    finally:
        end_process_after(EXIT_GRACE_S, code, report)


async def _run_kernel(deployment: Deployment, role: Role) -> None:
    from gnomon.cli import EXIT_FAILURE
    from gnomon.cli.input.stop_signals import StopSignals, record_lost_runs
    from gnomon.cli.process_exit import EXIT_GRACE_S, end_process_after
    from gnomon.deployment.kernel_factory import build_kernel
    from gnomon.deployment.reload import Reloader
    from gnomon.errors import StoreInUseError, StoreUnavailableError
    from gnomon.logs import get_logger
    from gnomon.tasks import end

    log = get_logger("gnomon.cli")
    source = deployment.config.source or "built-in example"
    log.info("starting", version=version("gnomon"), config=str(source), jobs=len(deployment.jobs))
    kernel = build_kernel(deployment, role=role)
    reloader = Reloader(kernel, deployment.config)
    kernel.extra_calls["reload"] = partial(_reload, reloader)
    stop, serving, is_up = asyncio.Event(), asyncio.current_task(), False

    def request_stop() -> None:
        stop.set()
        if not is_up and serving is not None:
            end(serving)  # a start may wait long for an unavailable store

    def limit_stop() -> None:
        limit = _stop_limit_s(deployment)
        report = partial(log.critical, "the kernel did not stop in time: the process ends", after_s=limit)
        end_process_after(limit + EXIT_GRACE_S, EXIT_FAILURE, report)

    with StopSignals(request_stop, lambda: record_lost_runs(kernel), limit_stop) as signals:
        try:
            async with kernel, _serving_beside_config(kernel, deployment):
                is_up = True
                _reload_on_sighup(reloader)
                await _announce(kernel)
                await _until_stopped(kernel, stop, signals)
                kernel.stop_reason = signals.first or ""
                await _announce_stop(kernel)
        except StoreInUseError as exc:
            if role != "leader":
                raise
            hint = "with --standby, this kernel follows that one, and leads when it ends"
            raise StoreInUseError(f"{exc}; {hint}") from exc
        except asyncio.CancelledError:
            if is_up or not stop.is_set():
                raise
            log.info("stopped", reason="a signal arrived before the kernel had started")
    if kernel.lost_events:
        raise StoreUnavailableError(
            f"{kernel.lost_events} events were lost: the store could not be written until the kernel stopped"
        )


@asynccontextmanager
async def _serving_beside_config(kernel: Kernel, deployment: Deployment) -> AsyncIterator[None]:
    """Serve orders at a socket beside the config while the block runs, if the log has no channel of its own."""
    from gnomon.cli.access.order_channels import config_channel
    from gnomon.orders.serving import serving

    if deployment.store.orders() is not None:  # the kernel serves there while it leads
        yield
        return
    async with serving(kernel, config_channel(deployment.config), kernel.extra_calls):
        yield


def _stop_limit_s(deployment: Deployment) -> float:
    """Return how long a stop may take: `drain`, the longest `cancel_grace`, and STORE_LIMIT_S."""
    grace = max((job.cancel_grace.total_seconds() for job in deployment.jobs), default=0.0)
    return deployment.config.kernel.drain.total_seconds() + grace + STORE_LIMIT_S


def _reload_on_sighup(reloader: Reloader) -> None:
    import signal

    from gnomon.errors import GnomonError
    from gnomon.logs import get_logger

    log = get_logger("gnomon.cli")
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await _reload(reloader)
        except GnomonError as exc:
            log.error("reload refused, nothing has changed", problem=str(exc))

    def start() -> None:
        reloads.add(task := loop.create_task(reload()))
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, start)


async def _reload(reloader: Reloader) -> Reloaded:
    from gnomon.logs import get_logger

    reloaded = await reloader.reload("gnomon reload")
    get_logger("gnomon.cli").info(
        "reloaded",
        added=reloaded.added,
        changed=list(reloaded.changed),
        removed=reloaded.removed,
        needs_restart=reloaded.needs_restart,
        applied=reloaded.applied,
    )
    return reloaded


async def _announce(kernel: Kernel) -> None:
    """Log the next fires and the paused jobs, so that a silent start does not look like a failed one."""
    from gnomon.jobs.job import explain_schedule
    from gnomon.logs import get_logger
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import moment

    if kernel.health().role != "leader":
        return  # nothing fires here
    log = get_logger("gnomon.cli")
    views = await kernel.jobs()
    due = sorted((view.next_fire, view.job.id, view.job) for view in views if view.next_fire)
    for fire, job_id, job in due[:ANNOUNCED_FIRES]:
        log.info(
            "next fire" if fire > kernel.clock.now() else "overdue",
            job=job_id,
            at=moment(fire, timezone_or_utc(job.timezone)),
            schedule=explain_schedule(job),
        )
    for view in views:
        if view.state.paused:
            log.info("paused", job=view.job.id, by=view.state.paused_by, reason=view.state.paused_reason)


async def _until_stopped(kernel: Kernel, stop: asyncio.Event, signals: StopSignals) -> None:
    """Wait for a signal; raise DeposedError when the kernel loses the log, so that a supervisor can restart it."""
    from gnomon.errors import DeposedError
    from gnomon.logs import get_logger

    log = get_logger("gnomon.cli")
    looks = 0
    while not stop.is_set():
        try:
            async with asyncio.timeout(HEALTH_INTERVAL_S):
                await stop.wait()
        except TimeoutError:
            if taken := signals.restore():
                log.warning("a job replaced the handlers of stop signals: they are installed again", signals=taken)
            health = kernel.health()
            looks = looks + 1 if health.state == "deposed" else 0
            if looks > LOOKS_AT_A_CHANGE or (looks and kernel.role == "leader"):
                raise DeposedError(f"the kernel stops: {health.problem}") from None


async def _announce_stop(kernel: Kernel) -> None:
    from gnomon.logs import get_logger

    if kernel.health().role != "leader":
        return
    log = get_logger("gnomon.cli")
    running = [(view.job.id, run) for view in await kernel.jobs() for run in view.running]
    within = f"{kernel.drain.total_seconds():g} s"
    log.info("stopping", waiting_for=len(running), within=within, hint="a second signal exits at once")
    for job_id, run in running:
        log.info("waiting for", job=job_id, run=run)
