"""What the commands share that steer a running kernel: they ask it over its control socket."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gnomon.control import Command, control_path, send


def ask(ctx: click.Context, config: Path | None, command: Command) -> Any:
    """Send a command to the kernel of the deployment that the command line names, and return its result."""
    from gnomon.cli.deployments import read_config

    return send(command, control_path(read_config(ctx, config)))


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
