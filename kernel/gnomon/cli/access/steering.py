"""What the commands share that steer a running kernel: who asks, one question, and its answer on the terminal."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gnomon.cli.access.resolve import ReachedKernel
    from gnomon.control_socket import Command


def ask(kernel: ReachedKernel, command: Command) -> Any:
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
    from gnomon.cli.output.json_output import print_json

    if as_json:
        print_json(answer)
    else:
        click.echo(sentence(answer))
