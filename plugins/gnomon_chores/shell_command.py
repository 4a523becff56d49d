"""`gnomon_chores:shell`: run a command as a job."""

import asyncio
import logging
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from gnomon import Context, RunCancelled, default_overrides
from gnomon.jobs.argument_checks import checks_arguments
from gnomon.subprocesses.monitored import Command, MonitoredProcess, MonitorLostError, monitored
from gnomon_chores.arguments import check_number, checked_texts, checked_whole, kind
from gnomon_chores.command_output import CommandOutput
from gnomon_chores.errors import BadArgument, CommandFailed, CommandNotStarted, CommandTimedOut, MonitorLost

logger = logging.getLogger("gnomon_chores.shell")
ERROR_OUTPUT_BYTES = 2000


def check_arguments(
    *,
    argv: object,
    env: object = None,
    cwd: object = None,
    timeout: object = None,
    output_limit: object = 65536,
    grace: object = 5.0,
) -> None:
    """Raise BadArgument for what no machine could run; a folder may still be created."""
    check_command(argv, env)
    if cwd is not None and (not isinstance(cwd, str) or not cwd or "\0" in cwd):
        raise BadArgument("shell", "cwd", repr(cwd), "the path of a folder")
    check_limits(timeout, output_limit, grace)


@checks_arguments(check_arguments)
@default_overrides("none")
async def shell(
    ctx: Context,
    *,
    argv: list[str],
    env: dict[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    output_limit: int = 65536,
    grace: float = 5.0,
) -> dict[str, Any]:
    """Run a command and return `exit_code` (0), `stdout`, `stderr` and `duration` (s).

    The newest `output_limit` bytes of each output stream are returned, as text.

    * `argv` is a list: program and arguments, without a shell. For a shell line write `["sh", "-c", "..."]`.
    * `env` is added to the kernel's environment; `cwd` is the folder to run in (default: the kernel's); standard input
      is empty.
    * Lines of output go to the log as they arrive: INFO for stdout, WARNING for stderr, logger `gnomon_chores.shell`.
    * After `timeout` seconds, or on cancel, the process group gets SIGTERM, and SIGKILL `grace` seconds later. The same
      happens to what the command leaves in its group when it ends, and to all of it when the kernel dies, even by
      SIGKILL.

    Commands may not set its arguments, unless the job has the key `overrides`.

    Raises CommandFailed (exit code or signal, end of its output), CommandTimedOut, CommandNotStarted, MonitorLost,
    BadArgument.
    """
    check_arguments(argv=argv, env=env, cwd=cwd, timeout=timeout, output_limit=output_limit, grace=grace)
    check_folder(cwd)
    ctx.checkpoint()
    stdout = CommandOutput(output_limit, partial(log_output, ctx, logging.INFO))
    stderr = CommandOutput(output_limit, partial(log_output, ctx, logging.WARNING))
    command = Command(argv, {**os.environ, **(env or {})}, grace=grace, cleanup_grace=grace, folder=cwd)
    started = time.monotonic()
    try:
        async with monitored(command, stdout, stderr) as process, asyncio.timeout(timeout):
            exit_code = await exit_code_of(process, command)
    except TimeoutError:
        raise CommandTimedOut(argv[0], time.monotonic() - started, output_end(stdout, stderr)) from None
    if exit_code != 0:
        raise CommandFailed(argv[0], exit_code, output_end(stdout, stderr))
    duration = round(time.monotonic() - started, 6)
    return {"exit_code": exit_code, "stdout": stdout.text(), "stderr": stderr.text(), "duration": duration}


async def exit_code_of(process: MonitoredProcess, command: Command) -> int:
    """Wait for the end of the command; raises CommandNotStarted or MonitorLost."""
    try:
        return await process.exit_code()
    except OSError as exc:
        raise CommandNotStarted(command.argv[0], exc.errno or 0, command.environment.get("PATH")) from None
    except MonitorLostError as exc:
        raise MonitorLost(command.argv[0], exc.found) from None


def log_output(ctx: Context, level: int, line: str) -> None:
    """Log a line of output and give a sign of life."""
    logger.log(level, "%s", line)
    with suppress(RunCancelled):  # raised here it would end the reading; the body's task is cancelled anyway
        ctx.checkpoint()


def check_command(argv: object, env: object) -> None:
    """Raise BadArgument for a command that the operating system could not run."""
    if not isinstance(argv, list | tuple) or not argv:
        found = "empty" if isinstance(argv, list | tuple) else kind(argv)
        raise BadArgument("shell", "argv", found, 'a list such as ["ls", "-l"], or ["sh", "-c", "a line for a shell"]')
    for position, argument in enumerate(argv):
        if not isinstance(argument, str) or "\0" in argument:
            found = kind(argument) if not isinstance(argument, str) else "a string with a NUL character"
            raise BadArgument("shell", f"argv[{position}]", found, "a string without NUL characters")
    if env is not None:
        check_environment(checked_texts("shell", "env", env))


def check_folder(cwd: str | None) -> None:
    """Raise BadArgument for a folder that does not exist."""
    if cwd is not None and not Path(cwd).is_dir():
        raise BadArgument("shell", "cwd", repr(cwd), "an existing folder")


def check_environment(env: dict[str, str]) -> None:
    """Raise BadArgument for names and values that no environment can hold."""
    for name, value in env.items():
        if "=" in name or "\0" in name + value:
            raise BadArgument("shell", f"env[{name!r}]", "not possible", "no = in the name and no NUL characters")


def check_limits(timeout: object, output_limit: object, grace: object) -> None:
    """Raise BadArgument for limits that are not valid."""
    if timeout is not None:
        check_number("shell", "timeout", timeout, above=0)
    checked_whole("shell", "output_limit", output_limit)
    check_number("shell", "grace", grace)


def output_end(stdout: CommandOutput, stderr: CommandOutput) -> str:
    """Return the end of stderr, or of stdout for commands that report their errors there."""
    for name, output in (("stderr", stderr), ("stdout", stdout)):
        if text := output.text(ERROR_OUTPUT_BYTES).strip():
            return f"The end of its {name}:\n{text}"
    return "It wrote no output."
