"""Text of the command line and of its files, which must be UTF-8: the log and every API have it as JSON."""

from __future__ import annotations

from typing import Any

import click


def with_checked_text(command: click.Command) -> click.Command:
    """Return a command whose options and arguments, and those of its subcommands, refuse text that is not UTF-8.

    Paths may have any bytes. Parameters with their own callback are left alone.
    """
    for parameter in command.params:
        parameter.callback = parameter.callback or _check
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            with_checked_text(subcommand)
    return command


def decode_file(content: bytes, name: str) -> str:
    """Return the text of a file; BadParameter with the place of the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        problem = f"line {line}: byte 0x{content[exc.start]:02x} at place {exc.start + 1:,} is not UTF-8"
        raise click.BadParameter(f"{name}: {problem}; save the file as UTF-8", param_hint="FILE") from exc


def _check(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    for text in _texts(value):
        try:
            given = text.encode("utf-8", "surrogateescape")  # as Python decoded the arguments
            given.decode("utf-8")
        except UnicodeDecodeError as exc:
            problem = f"byte 0x{given[exc.start]:02x} at place {exc.start + 1} is not UTF-8: pass text in UTF-8"
            raise click.BadParameter(problem, ctx, parameter) from exc
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, tuple | list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
