"""`gnomon ...`, the command line. Each command is a module that is imported only when it is called.

Plugins may add commands with entry points of the group `gnomon.commands`. Such a command may use these modules of the
command line: `input.options`, `access.resolve`, `access.stored_log`, `access.local`, `access.remote`, `output.console`,
`output.tables`, `output.states` and `output.json_output`. `input.options` and `output.console` are cheap to import:
import the others in the function.
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from keyword import iskeyword
from pathlib import Path
from typing import Any

import click

from gnomon.cli.input.utf8 import with_checked_text
from gnomon.cli.output.console import echo
from gnomon.cli.output.standard_streams import repair_standard_streams
from gnomon.errors import ConfigError, GnomonError, MovedLogError, RolledBackError
from gnomon.safe_text import safe_repr, safe_str, type_name
from gnomon.text import close_match

COMMANDS = {
    "run": "Schedule and run the jobs until stopped.",
    "exec": "Run one job now, in the foreground.",
    "check": "Check a config; show when its jobs are due.",
    "plan": "Show what a config would change, without changing it.",
    "jobs": "List the jobs: state, next fire and last run.",
    "runs": "List runs, newest first; `runs show ID` shows one in full.",
    "history": "List what operators did: pauses, triggers, cancellations.",
    "next": "Show when a job is due next.",
    "explain": "Explain why a job ran, ran late or did not run.",
    "audit": "Prove that every fire has exactly one outcome.",
    "trigger": "Run a job now, in the running kernel.",
    "pause": "Pause jobs: hold back their fires until they are resumed.",
    "resume": "Resume the fires of paused jobs.",
    "skip": "Skip the next fire of a job, or a later one.",
    "backfill": "Run a job for past fires of its schedule.",
    "hold": "Hold back the fires of all jobs, for maintenance.",
    "release": "Release the fires of all jobs.",
    "lead": "Show which kernel leads, or hand the log to another one.",
    "takeover": "End the term of a kernel that no longer responds.",
    "cancel": "Request that a run stops.",
    "import": "Write the jobs of another scheduler as jobs of a config.",
    "log": "Move a log to another store, or copy it, through a file.",
    "reload": "Make the running kernel read its config again.",
    "status": "Show which kernels run, and whether everything is well.",
    "workers": "List the workers elsewhere that run bodies, and their queues.",
    "plugins": "List the plugins and their state.",
}
"""Commands in the order of the help. The command `x` is `command` in gnomon.cli.commands.x, or x_ for a keyword."""

PLUGIN_COMMANDS = "gnomon.commands"
"""The entry-point group for commands of plugins: `NAME = "module:command"`, where `command` is a click command."""

EXIT_FAILURE, EXIT_USAGE = 1, 2
"""Exit codes: the command failed; the config, the command line or the log is not valid."""


class Commands(click.Group):
    """Imports a command when it is called, and prints Gnomon's errors without a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        repair_standard_streams()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*COMMANDS, *_plugin_commands()]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            hint = close_match(args[0], self.list_commands(ctx))
            raise click.UsageError(exc.message.rstrip(".") + hint, ctx) from exc

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in COMMANDS:
            module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
            command: click.Command = importlib.import_module(f"gnomon.cli.commands.{module}").command
            return with_checked_text(command)
        point = _plugin_commands().get(cmd_name)
        return with_checked_text(_load(point)) if point is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        if points := _plugin_commands():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, _short_help(point)) for name, point in points.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as exc:
            for problem in exc.problems:
                echo(problem, err=True)
            ctx.exit(EXIT_USAGE)
        except GnomonError as exc:
            echo(f"gnomon: {exc}", err=True)
            ctx.exit(exit_code_of(exc))


def exit_code_of(exc: GnomonError) -> int:
    """Return the exit code for an error: 2 where a supervisor that tries again would fail again, else 1."""
    return EXIT_USAGE if isinstance(exc, ConfigError | RolledBackError | MovedLogError) else EXIT_FAILURE


def _plugin_commands() -> dict[str, EntryPoint]:
    """Return the commands that plugins add, without importing them; none replaces a built-in command."""
    points = sorted(entry_points(group=PLUGIN_COMMANDS), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in COMMANDS}


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except BaseException as exc:  # importing a foreign module may raise anything, SystemExit too
        what = f"{type_name(exc)}: {safe_str(exc)}"
        raise GnomonError(f"the command {point.name!r} ({point.value}) cannot be imported: {what}") from exc
    if not issubclass(type(command), click.Command):  # isinstance() asks for __class__ too
        what = safe_repr(command)
        raise GnomonError(f"the command {point.name!r} ({point.value}) is {what}, expected a click command")
    found: click.Command = command
    return found


def _short_help(point: EntryPoint) -> str:
    try:
        return _load(point).get_short_help_str(limit=90)
    except BaseException as exc:  # noqa: BLE001 - one broken command must not break the help of the others
        return safe_str(exc)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Config file of the deployment.")
@click.version_option(package_name="gnomon")
def main(config: Path | None) -> None:
    """Gnomon schedules and runs jobs, and records everything that happens in an event log.

    A deployment is one TOML file: --config FILE, else $GNOMON_CONFIG, else gnomon.toml in the working folder, else a
    built-in example that runs as it is.
    """
