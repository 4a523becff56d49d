"""Which kernel a command is about: the one beside it, or one elsewhere that has an address. Both are asked alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from datetime import tzinfo

    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.remote import RemoteKernel
    from gnomon.cli.output.job_lines import JobLine
    from gnomon.control_socket import Command
    from gnomon.deployment.config import Config
    from gnomon.domain.events import Event
    from gnomon.domain.execution import Execution
    from gnomon.domain.progress import ProgressView, Timing
    from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page


class Standing(NamedTuple):
    """How a run stands while it is followed."""

    view: ProgressView
    timing: Timing


class ReachedKernel(Protocol):
    """A kernel and its log, however they are reached; used as `async with`, so that all that is said goes one way.

    The one on this machine need not run to be looked at, but to be asked.
    """

    @property
    def zone(self) -> tzinfo | None:
        """The zone in which people are shown times, and theirs are read; None for that of this machine."""

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(self, *exc: object) -> None:
        """Let go of it."""

    async def ask(self, command: Command) -> Any:
        """Send a command, and return its result as the control socket does."""

    # --- looking ---

    async def jobs(self) -> list[JobLine]:
        """List the jobs, by id."""

    async def executions(self, query: ExecutionQuery) -> Page:
        """List runs as a store does, but those that are hidden; a ValueError says what is wrong with a cursor."""

    async def execution(self, execution_id: str) -> Execution:
        """Return a run as it is; UnknownExecutionError."""

    async def history(self, execution_id: str) -> list[Event]:
        """Return the events of a run."""

    async def lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        """Return the lines that a run logged, with numbers greater than `after`."""

    async def actions(self, query: ActionQuery) -> ActionPage:
        """List what operators did."""

    # --- following ---

    def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        """Tell how a run stands until it is over."""

    def events(self, job_id: str | None) -> AsyncIterator[Event]:
        """Tell what happens from now on."""


def reach(ctx: click.Context, config: Path | None, url: str | None) -> LocalKernel | RemoteKernel:
    """Choose the kernel: the one at an address, else the one of the deployment that the command line names."""
    if (address := chosen_address(ctx, config, url)) is not None:
        from gnomon.cli.access.remote import RemoteKernel

        return RemoteKernel(address)
    from gnomon.cli.access.deployments import read_config
    from gnomon.cli.access.local import LocalKernel

    return LocalKernel(read_config(ctx, config))


def chosen_address(ctx: click.Context, config: Path | None, url: str | None) -> str | None:
    """Return the address of the kernel that is meant, None for the one of the deployment on this machine."""
    named = _named_config(ctx, config)
    if url is None or named is None:
        return url
    if _is_typed(ctx, "url"):
        raise click.UsageError(f"--url names a kernel elsewhere, and {named} one on this machine: give one of them")
    return None  # a file that was named here and now goes before an address in the environment


def read_local_config(ctx: click.Context, config: Path | None, url: str | None, *, needs: str) -> Config:
    """Read the config for a command that is not offered over HTTP; `needs` says why.

    Where somebody works with a kernel elsewhere, it says whose log is looked at instead, or what else can be done.
    """
    from gnomon.cli.access.deployments import read_config

    settings = read_config(ctx, config)
    if url is None or (_named_config(ctx, config) is not None and not _is_typed(ctx, "url")):
        return settings
    what = f"`{ctx.command_path}` needs {needs}, and the kernel at {url} does not give that away over HTTP"
    if settings.source is None or _is_typed(ctx, "url"):
        raise click.UsageError(
            f"{what}: run it where that kernel runs, or name a config with its store: --config FILE. That works from "
            "here too, where the store is a server such as MongoDB"
        )
    here = settings.directory / settings.source.name
    click.echo(f"{what}: this is about the deployment on this machine, {here}", err=True)
    return settings


def _named_config(ctx: click.Context, config: Path | None) -> Path | None:
    named: Path | None = config or ctx.find_root().params.get("config")
    return named


def _is_typed(ctx: click.Context, option: str) -> bool:
    """Whether an option stands on the command line, also before the name of a subcommand."""
    context: click.Context | None = ctx
    while context is not None:
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            return True
        context = context.parent
    return False
