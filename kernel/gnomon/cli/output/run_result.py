"""The result of a run on the terminal and as an exit code, for commands that wait for a run."""

from __future__ import annotations

from gnomon.cli.output.console import echo
from gnomon.cli.output.event_text import first_line
from gnomon.cli.output.json_output import execution_record, print_json
from gnomon.cli.output.states import state_of, with_glyph
from gnomon.domain.execution import Execution
from gnomon.text import length, moment

EXIT_CANCELLED = 130


def exit_code(execution: Execution) -> int:
    """Return the exit code for a run: 0 if it succeeded, 130 if it was cancelled, else 1."""
    return {"success": 0, "cancelled": EXIT_CANCELLED}.get(execution.status, 1)


def print_result(execution: Execution, *, as_json: bool) -> None:
    """Print the record as JSON; or the return value, and on stderr a summary and the traceback."""
    if as_json:
        print_json(execution_record(execution))
        return
    echo(summary(execution), err=True)
    if execution.traceback and execution.status == "failed":
        echo(execution.traceback.rstrip(), err=True)
    if isinstance(execution.return_value, str):
        echo(execution.return_value)
    elif execution.return_value is not None:
        print_json(execution.return_value)


def summary(execution: Execution) -> str:
    """Return one line about how a run ended."""
    took = f" in {length(execution.execution_time)}" if execution.execution_time is not None else ""
    detail = first_line(execution.detail or execution.error_message)
    reason = ": ".join(word for word in (execution.reason, detail) if word)
    hint = "; --force skips the guards" if execution.reason == "guard" else ""
    cause = f"  ({reason}{hint})" if reason else ""
    return f"{with_glyph(state_of(execution))}  {execution.job_id}{took}{cause}  {execution.id}"


def snooze_sentence(execution: Execution) -> str:
    """Return a line about a run that snoozed, for a command that goes on waiting."""
    until = moment(execution.snoozed_until, None, seconds=True) if execution.snoozed_until is not None else "later"
    return f"run {execution.id} is {execution.reason}; waiting for run {execution.snoozed_to} at {until}"
