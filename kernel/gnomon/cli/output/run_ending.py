"""How a run ended, for whoever waited for it: on the terminal, and as an exit code."""

from __future__ import annotations

import click

from gnomon.cli.output.console_plugin import first_line
from gnomon.cli.output.json_output import execution_record, print_json
from gnomon.cli.output.states import with_glyph
from gnomon.domain.execution import Execution
from gnomon.text import length

CANCELLED = 130


def exit_code(execution: Execution) -> int:
    """Tell how a command ends that waited for the run: 0 if it succeeded, 130 if it was cancelled, else 1."""
    return {"success": 0, "cancelled": CANCELLED}.get(execution.status, 1)


def print_ending(execution: Execution, *, as_json: bool) -> None:
    """Print the record as JSON; or what the run returned, and on stderr how it ended."""
    if as_json:
        print_json(execution_record(execution))
        return
    click.echo(ending(execution), err=True)
    if execution.traceback and execution.status == "failed":
        click.echo(execution.traceback.rstrip(), err=True)
    if isinstance(execution.return_value, str):
        click.echo(execution.return_value)
    elif execution.return_value is not None:
        print_json(execution.return_value)


def ending(execution: Execution) -> str:
    """Say in one line how a run ended."""
    took = f" in {length(execution.execution_time)}" if execution.execution_time is not None else ""
    what = first_line(execution.detail or execution.error_message)
    reason = ": ".join(word for word in (execution.reason, what) if word)
    hint = "; --force does not ask guards" if execution.reason == "guard" else ""
    told = f"  ({reason}{hint})" if reason else ""
    return f"{with_glyph(execution.status)}  {execution.job_id}{took}{told}  {execution.id}"
