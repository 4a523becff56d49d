"""`gnomon ...`, the command line. Each command is a module of its own, imported only when it is called."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click

from gnomon.cli.output.streams import mend_streams
from gnomon.errors import ConfigError, GnomonError

COMMANDS = {
    "run": "Keep time and run jobs until stopped.",
    "exec": "Run one job now, in the foreground.",
    "check": "Find what is wrong with a config; show when its jobs are due.",
    "plan": "Show what a config would change, before it does.",
    "jobs": "List the jobs: their state, next fire and last run.",
    "runs": "List runs, newest first; `runs show ID` tells all of one.",
    "history": "List what operators did: who paused, triggered, cancelled.",
    "next": "Show when a job is due next.",
    "explain": "Tell why a job ran, ran late or did not run.",
    "audit": "Prove that every fire has exactly one outcome.",
    "trigger": "Run a job now, in the kernel that is running.",
    "pause": "Hold a job's fires back.",
    "resume": "Let a paused job fire again.",
    "cancel": "Ask a run to stop.",
    "reload": "Let the running kernel read its config again.",
    "plugins": "List the plugins that there are, and their state.",
}
"""In the order of the help. A command `x` is `command` in gnomon.cli.commands.x."""

GROUP = "gnomon.commands"
"""Entry points of further commands: `NAME = "module:command"`, where `command` is one of click."""

PROBLEM, MISUSE = 1, 2
"""Exit codes: what was asked for could not be done; the config or the command line cannot be used."""


class Commands(click.Group):
    """Imports a command when it is called, and ends with our errors as plain sentences."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        mend_streams()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*COMMANDS, *_offered()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(f"gnomon.cli.commands.{cmd_name}").command
            return command
        offered = _offered().get(cmd_name)
        return _load(offered) if offered is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        if offered := _offered():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, _help_of(point)) for name, point in offered.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as exc:
            for problem in exc.problems:
                click.echo(problem, err=True)
            ctx.exit(MISUSE)
        except GnomonError as exc:
            click.echo(f"gnomon: {exc}", err=True)
            ctx.exit(PROBLEM)


def _offered() -> dict[str, EntryPoint]:
    """Find the commands that plugins add, without importing them; none takes the place of one of ours."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in COMMANDS}


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except Exception as exc:  # a stranger's module may raise anything while it is imported
        raise GnomonError(f"the command {point.name!r} ({point.value}) cannot be imported: {exc}") from exc
    if not isinstance(command, click.Command):
        raise GnomonError(f"the command {point.name!r} ({point.value}) is {command!r}, expected a click command")
    return command


def _help_of(point: EntryPoint) -> str:
    try:
        return _load(point).get_short_help_str(limit=90)
    except GnomonError as exc:  # the help of the others is shown all the same
        return str(exc)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Config file of the deployment.")
@click.version_option(package_name="gnomon")
def main(config: Path | None) -> None:
    """Gnomon keeps time, runs jobs, and writes down everything that happens.

    A deployment is one TOML file: --config FILE, else $GNOMON_CONFIG, else gnomon.toml in this folder, else a built-in
    example that runs as it is.
    """
