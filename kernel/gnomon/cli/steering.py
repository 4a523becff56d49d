"""What the commands share that steer a running kernel: one beside them, or one elsewhere that has an address."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from gnomon.control import Command
    from gnomon.events import Event
    from gnomon.execution import Execution
    from gnomon.progress import ProgressView, Timing


class Standing(NamedTuple):
    """How a run stands while it is followed."""

    view: ProgressView
    timing: Timing


class SteeredKernel(Protocol):
    """A running kernel, however it is reached; used as `async with`, so that all that is said goes one way."""

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(self, *exc: object) -> None:
        """Let go of it."""

    async def ask(self, command: Command) -> Any:
        """Send a command, and return its result as the control socket does."""

    def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        """Tell how a run stands until it is over."""

    async def execution(self, execution_id: str) -> Execution:
        """Return a run as it is."""

    async def recent(self) -> list[Execution]:
        """List the newest runs."""

    def events(self, job_id: str | None) -> AsyncIterator[Event]:
        """Tell what happens from now on."""


def reach(ctx: click.Context, config: Path | None, url: str | None) -> SteeredKernel:
    """Choose the kernel: the one at an address, else the one of the deployment that the command line names."""
    if url is not None and (named := config or ctx.find_root().params.get("config")) is not None:
        if ctx.get_parameter_source("url") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--url names a kernel elsewhere, and {named} one on this machine: give one of them")
        url = None  # a file that was named here and now goes before an address in the environment
    if url is not None:
        from gnomon.cli.remote_kernel import RemoteKernel

        return RemoteKernel(url)
    from gnomon.cli.deployments import read_config
    from gnomon.cli.local_kernel import LocalKernel

    return LocalKernel(read_config(ctx, config))


def ask(kernel: SteeredKernel, command: Command) -> Any:
    """Send one command, and return its result."""
    import asyncio

    async def once() -> Any:
        async with kernel:
            return await kernel.ask(command)

    return asyncio.run(once())


def actor() -> str:
    """Name who is at the keyboard, for the log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "gnomon cli"


def tell(answer: Any, *, as_json: bool, sentence: Callable[[Any], str]) -> None:
    """Print what the kernel answered: as JSON, or in a sentence."""
    from gnomon.cli.json_output import print_json

    if as_json:
        print_json(answer)
    else:
        click.echo(sentence(answer))
