"""Write the help of every command into reference/cli.md, where it stands between ```text and ```.

    python docs/write_cli_reference.py

tests/docs fails when the page and the commands are not in step.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
from click.testing import CliRunner

from gnomon.cli import main

PAGE = Path(__file__).parent / "reference/cli.md"
HELP = re.compile(r"^```text\n\$ gnomon (?P<command>[a-z -]*)--help\n.*?^```$", re.MULTILINE | re.DOTALL)


def written(page: str) -> str:
    """Return the page with today's help in it."""
    return HELP.sub(lambda found: f"```text\n$ gnomon {found['command']}--help\n{help_of(found['command'])}```", page)


def help_of(command: str) -> str:
    """Return what a command prints with --help."""
    arguments = [*command.split(), "--help"]
    result = CliRunner().invoke(main, arguments, prog_name="gnomon", terminal_width=100, max_content_width=100)
    return result.output


def commands(group: click.Group | None = None, path: str = "") -> list[str]:
    """List all commands, as one calls them; groups too."""
    group = group or main
    found = [path]
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            found += commands(command, f"{path}{name} ") if isinstance(command, click.Group) else [f"{path}{name} "]
    return found


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE}: {len(commands())} commands")
