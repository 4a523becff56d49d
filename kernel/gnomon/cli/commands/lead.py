"""`gnomon lead`: show which kernel leads the log, or hand the log to another one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option, reason_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.domain.hand_over import HandOver
    from gnomon.domain.kernel_member import KernelMember

LOOK_S = 0.1
"""Pause between two looks at who leads."""
TAKE_OVER_LIMIT_S = 60.0
"""Seconds after the grace of running bodies until another kernel should lead."""


@click.command("lead")
@click.option("--step-down", is_flag=True, help="Hand the log to a kernel that follows.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask for confirmation.")
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    step_down: bool,
    is_confirmed: bool,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Show which kernel leads the log, and which ones could.

    With --step-down, the kernel that leads hands the log over, for example before its machine is restarted: it starts
    nothing more, its running bodies have the time of `drain` to end, as at a clean stop, and then one of the kernels
    that follow with the role "auto" leads, and it follows. On a terminal, the command asks where runs are in progress.
    It is refused where no other kernel could lead. Exits with 1 while none leads.
    """
    from gnomon.cli.access.resolve import reach

    kernel = reach(ctx, config, url)
    asyncio.run(_lead(kernel, step_down=step_down, is_confirmed=is_confirmed, reason=reason, as_json=as_json))


async def _lead(
    kernel: ReachedKernel, *, step_down: bool, is_confirmed: bool, reason: str | None, as_json: bool
) -> None:
    from gnomon.cli.output.json_output import print_json
    from gnomon.domain.kernel_member import leader_of
    from gnomon.errors import NoLeaderError

    async with kernel:
        members = await kernel.kernels()
        if (leader := leader_of(members)) is None:
            raise NoLeaderError("none of those that follow leads")
        if not step_down:
            print_json(members) if as_json else _show(leader, members)
            return
        await _announce(kernel, leader, members, asks=sys.stdin.isatty() and not is_confirmed)
        answer = await kernel.step_down(reason=reason)
        successor = await _successor(kernel, leader, answer)
    if as_json:
        print_json({"stepped_down": leader, "leads": successor})
    else:
        echo(f"{successor.name} leads now")


def _show(leader: KernelMember, members: list[KernelMember]) -> None:
    echo(f"{leader.name} leads")
    for member in members:
        if member is not leader:
            echo(f"{member.name} follows" + (", and may lead" if member.may_lead else ""))


async def _announce(kernel: ReachedKernel, leader: KernelMember, members: list[KernelMember], *, asks: bool) -> None:
    """Print what will happen, and ask where that ends runs."""
    from gnomon.domain.records import ExecutionQuery

    running = (await kernel.executions(ExecutionQuery(status=("running",), limit=1))).total
    able = [member.name for member in members if member is not leader and member.may_lead]
    runs = f"runs in progress: {running}"
    ends = "; each has the time of `drain` to end, and is cancelled then" if running else ""
    echo(f"{leader.name} leads; {runs}{ends}.", err=True)
    if able:
        echo(f"It starts nothing more, and follows as soon as one of these leads: {', '.join(able)}.", err=True)
    if running and asks and not click.confirm("Step down?", err=True):
        raise click.Abort


async def _successor(kernel: ReachedKernel, leader: KernelMember, answer: HandOver) -> KernelMember:
    """Return the kernel that leads afterwards; GnomonError where that takes too long."""
    from gnomon.domain.kernel_member import leader_of
    from gnomon.errors import GnomonError, NoLeaderError

    limit_s = answer.within_s + TAKE_OVER_LIMIT_S
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    found = leader_of(await kernel.kernels())
                except NoLeaderError:
                    found = None
                if found is not None and found.id != leader.id:
                    return found
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise GnomonError(
            f"{leader.name} was asked to step down, and no other kernel leads after {limit_s:g} s: look with "
            "`gnomon status`"
        ) from None
