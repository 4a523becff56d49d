"""shell with real processes. A FIFO that a command and its children hold open ends when the last of them is gone."""

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import pytest

from gnomon import Context, RunCancelled
from gnomon_chores import shell
from gnomon_chores.errors import (
    BadArgument,
    ChoreError,
    CommandFailed,
    CommandNotStarted,
    CommandTimedOut,
    MonitorLost,
)

run_of_this_context: ContextVar[str] = ContextVar("run_of_this_context")
CHILD = "sh -c 'echo started; exec sleep 1000'"  # a fork of a shell with a trap would lose a signal before its exec
DEAF = "trap '' TERM; "  # children inherit it: only SIGKILL ends them


class Fifo:
    """Opened for reading by the test and held open by a command and all its children."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.reader: IO[bytes] = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
        os.set_blocking(self.reader.fileno(), True)
        self.hold = f"exec 3>'{path}'; echo held >&3; "
        self.path = path

    def wait_until_held(self) -> None:
        """Wait for a command that has begun; an open() for reading returns when a writer has come."""
        with self.path.open("rb", buffering=0) as reader:
            assert reader.read(5) == b"held\n"

    def wait_until_nobody_holds_it(self) -> None:
        """Read to the end, which comes when the last holder has died; one that lives is found by the time limit."""
        assert self.reader.read().replace(b"held\n", b"") == b""


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    fifo = Fifo(tmp_path / "fifo")
    yield fifo
    fifo.reader.close()


class Listener(logging.Handler):
    """Lets a test wait for a line of a command's output."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []
        self.runs: set[str] = set()
        self._came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))
        self.runs.add(run_of_this_context.get("none"))
        self._came.set()

    async def wait_for(self, line: str) -> None:
        while line not in (text for _, text in self.lines):
            self._came.clear()
            await self._came.wait()


@pytest.fixture
def log() -> Iterator[Listener]:
    listener = Listener()
    logger = logging.getLogger("gnomon_chores.shell")
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    yield listener
    logger.removeHandler(listener)
    logger.setLevel(logging.NOTSET)


# What a command gives back


async def test_output_and_exit_code_are_returned(ctx: Context) -> None:
    result = await shell(ctx, argv=["sh", "-c", "echo out; echo err >&2; printf end"])

    assert result.pop("duration") > 0
    assert result == {"exit_code": 0, "stdout": "out\nend", "stderr": "err\n"}


async def test_arguments_reach_the_command_as_they_are(ctx: Context) -> None:
    words = ["$HOME; *", "", "two words", "圭表", "\udcff"]

    result = await shell(ctx, argv=[sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))", *words])

    assert result["stdout"].strip() == ascii(words)


async def test_the_environment_is_added_to_and_nothing_else_changes_it(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_CTYPE", "C")  # a Python in between would make C.UTF-8 of it
    monkeypatch.setenv("CHORE_A", "old")

    result = await shell(ctx, argv=["/usr/bin/env"], env={"CHORE_A": "new", "CHORE_B": "two = 2"})

    expected = {f"{name}={value}" for name, value in {**os.environ, "CHORE_A": "new", "CHORE_B": "two = 2"}.items()}
    assert set(result["stdout"].splitlines()) == expected


async def test_a_command_is_looked_for_in_the_path_it_is_given(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "greet").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "greet").chmod(0o755)

    result = await shell(ctx, argv=["greet"], env={"PATH": str(tmp_path)})

    assert result["stdout"] == "hello\n"


async def test_a_command_runs_in_its_folder(ctx: Context, tmp_path: Path) -> None:
    result = await shell(ctx, argv=["sh", "-c", "pwd -P"], cwd=str(tmp_path))

    assert result["stdout"].strip() == str(tmp_path.resolve())


async def test_a_command_reads_nothing_from_standard_input(ctx: Context) -> None:
    assert (await shell(ctx, argv=["cat"]))["stdout"] == ""


async def test_a_pipe_in_a_shell_line_ends_quietly(ctx: Context) -> None:
    # Python ignores SIGPIPE; a command that inherits that complains about a broken pipe
    result = await shell(ctx, argv=["sh", "-c", "yes | head -n 1"])

    assert (result["stdout"], result["stderr"]) == ("y\n", "")


async def test_a_megabyte_of_environment_arrives(ctx: Context) -> None:
    env = {f"CHORE_{number}": "x" * 100_000 for number in range(10)}

    result = await shell(ctx, argv=["sh", "-c", "echo ${#CHORE_0} ${#CHORE_9}"], env=env)

    assert result["stdout"] == "100000 100000\n"


async def test_the_newest_output_is_kept_and_the_rest_counted(ctx: Context) -> None:
    code = "import sys; sys.stdout.write('a' * 300_000 + 'é' * 10); sys.stderr.write('short')"

    result = await shell(ctx, argv=[sys.executable, "-c", code], output_limit=9)

    assert result["stdout"] == "[300012 bytes dropped]\n" + "é" * 4  # the ninth byte is half a character
    assert result["stderr"] == "short"


async def test_no_output_is_kept_when_the_limit_is_nothing(ctx: Context) -> None:
    assert (await shell(ctx, argv=["echo", "word"], output_limit=0))["stdout"] == "[5 bytes dropped]\n"


async def test_lines_go_to_the_log_in_the_context_of_the_run(ctx: Context, log: Listener) -> None:
    run_of_this_context.set("run 7")

    await shell(ctx, argv=["sh", "-c", r"printf 'one\r\n\n100%% half'; printf '\377 two' >&2"])

    assert sorted(log.lines) == [(logging.INFO, "100% half"), (logging.INFO, "one"), (logging.WARNING, "\ufffd two")]
    assert log.runs == {"run 7"}


async def test_an_endless_line_goes_to_the_log_in_pieces(ctx: Context, log: Listener) -> None:
    await shell(ctx, argv=[sys.executable, "-c", "print('x' * 100_000, end='')"])

    assert 0 < max(len(text) for _, text in log.lines) <= 8192


async def test_output_is_a_sign_of_life(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    signs: list[None] = []
    monkeypatch.setattr(ctx, "checkpoint", lambda: signs.append(None))

    await shell(ctx, argv=["sh", "-c", "echo 1; echo 2; echo 3 >&2"])

    assert len(signs) == 1 + 3


# How a command fails


async def test_another_exit_code_than_zero_is_a_failure_with_the_end_of_stderr(ctx: Context) -> None:
    code = "import sys; sys.stderr.write('x' * 5000 + ' no space left'); sys.exit(3)"

    with pytest.raises(CommandFailed, match=r"(?s)ended with exit code 3, .*stderr:\n\[3014 bytes dropped\]") as caught:
        await shell(ctx, argv=[sys.executable, "-c", code])

    assert (caught.value.exit_code, caught.value.signal_name) == (3, None)
    assert str(caught.value).endswith("no space left")


async def test_a_failure_without_stderr_shows_the_end_of_stdout(ctx: Context) -> None:
    with pytest.raises(CommandFailed, match="end of its stdout:\nsorry"):
        await shell(ctx, argv=["sh", "-c", "echo sorry; exit 127"])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGPIPE", "SIGUSR1"])
async def test_death_by_a_signal_is_a_failure_with_its_name(ctx: Context, name: str) -> None:
    with pytest.raises(CommandFailed, match=f"by {name}, expected exit code 0.\nIt wrote no output") as caught:
        await shell(ctx, argv=["sh", "-c", f"kill -{name.removeprefix('SIG')} $$"])

    assert caught.value.exit_code == -getattr(signal, name)


async def test_a_command_that_does_not_exist_is_not_started(ctx: Context) -> None:
    with pytest.raises(CommandNotStarted, match=r"'no-such-command' was not started: .*ENOENT.*PATH=/nowhere\."):
        await shell(ctx, argv=["no-such-command"], env={"PATH": "/nowhere"})


async def test_a_file_that_cannot_be_run_is_not_started(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")

    with pytest.raises(CommandNotStarted, match="EACCES"):
        await shell(ctx, argv=[str(tmp_path / "data")])


async def test_a_command_too_long_for_the_system_is_not_started(ctx: Context) -> None:
    with pytest.raises(CommandNotStarted, match="E2BIG"):
        await shell(ctx, argv=["true", "x" * 10_000_000])


async def test_nothing_starts_when_cancel_was_requested_before(
    ctx: Context, cancel_after: Callable[[int], None], tmp_path: Path
) -> None:
    cancel_after(0)

    with pytest.raises(RunCancelled):
        await shell(ctx, argv=["touch", str(tmp_path / "started")])

    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"argv": "ls -l"}, r'argv is of type str, expected a list such as \["ls", "-l"\], or \["sh", "-c"'),
        ({"argv": []}, "argv is empty"),
        ({"argv": ["sleep", 1]}, r"argv\[1\] is of type int, expected a string"),
        ({"argv": ["echo", "a\0b"]}, r"argv\[1\] is a string with a NUL"),
        ({"env": ["A=b"]}, "env is of type list"),
        ({"env": {"A": 1}}, r"env\['A'\] is of type int"),
        ({"env": {"A=B": "secret"}}, r"env\['A=B'\] is not possible"),
        ({"cwd": "/no/such/folder"}, "cwd is '/no/such/folder', expected an existing folder"),
        ({"timeout": 0}, "timeout is 0, expected a number greater than 0"),
        ({"timeout": "1h"}, "timeout is of type str"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"grace": -1}, "grace is -1"),
        ({"output_limit": 1.5}, "output_limit is of type float"),
    ],
)
async def test_bad_arguments_are_named(ctx: Context, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=f"^shell: {message}"):
        await shell(ctx, **{"argv": ["true"], **arguments})


@pytest.mark.parametrize(
    "error",
    [CommandFailed("x", -9, "end"), CommandTimedOut("x", 1.5, "end"), CommandNotStarted("x", 2, None)],
)
def test_errors_survive_pickling(error: ChoreError) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


# How a command is ended


async def test_timeout_ends_the_whole_group(ctx: Context, fifo: Fifo) -> None:
    line = fifo.hold + f"trap 'echo cleaned up; exit 0' TERM; {CHILD} & wait"

    for seconds in (1, 10, 60):  # on a busy machine the command may not have come as far as its trap
        with pytest.raises(CommandTimedOut) as caught:
            await shell(ctx, argv=["sh", "-c", line], timeout=seconds, grace=1000)
        if "started" in str(caught.value):
            break

    assert "stdout:\nstarted\ncleaned up" in str(caught.value)
    fifo.wait_until_nobody_holds_it()


async def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(ctx: Context, fifo: Fifo) -> None:
    with pytest.raises(CommandTimedOut):
        await shell(ctx, argv=["sh", "-c", DEAF + fifo.hold + "sleep 1000 & sleep 1000"], timeout=0.3, grace=0.1)

    fifo.wait_until_nobody_holds_it()


async def test_a_stopped_command_is_ended_too(ctx: Context, fifo: Fifo) -> None:
    with pytest.raises(CommandTimedOut):
        await shell(ctx, argv=["sh", "-c", fifo.hold + "kill -STOP $$"], timeout=0.3, grace=1000)

    fifo.wait_until_nobody_holds_it()


async def test_cancel_ends_the_whole_group(ctx: Context, fifo: Fifo, log: Listener) -> None:
    line = fifo.hold + f"trap 'echo asked; exit 0' TERM; {CHILD} & wait"
    task = asyncio.create_task(shell(ctx, argv=["sh", "-c", line], grace=1000))
    await log.wait_for("started")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (logging.INFO, "asked") in log.lines
    fifo.wait_until_nobody_holds_it()


async def test_a_second_cancel_does_not_wait_for_the_grace(ctx: Context, fifo: Fifo, log: Listener) -> None:
    line = fifo.hold + f"trap 'echo asked' TERM; {CHILD} & wait; {DEAF} sleep 1000"
    task = asyncio.create_task(shell(ctx, argv=["sh", "-c", line], grace=1000))
    await log.wait_for("started")
    task.cancel()
    await log.wait_for("asked")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    fifo.wait_until_nobody_holds_it()


async def test_cancel_at_any_moment_of_the_start_leaves_nothing(ctx: Context, fifo: Fifo) -> None:
    for turns in range(30):
        task = asyncio.create_task(shell(ctx, argv=["sh", "-c", fifo.hold + "sleep 1000"], grace=1000))
        for _ in range(turns):
            await asyncio.sleep(0)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fifo.wait_until_nobody_holds_it()


async def test_what_a_command_leaves_in_its_group_ends_with_it(ctx: Context, fifo: Fifo) -> None:
    result = await shell(ctx, argv=["sh", "-c", fifo.hold + "sleep 1000 & echo done"])

    assert (result["exit_code"], result["stdout"]) == (0, "done\n")
    fifo.wait_until_nobody_holds_it()


async def test_a_daemon_with_its_own_session_stays_and_does_not_hold_up_the_run(ctx: Context, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "leave")
    daemon = f"open({str(tmp_path / 'leave')!r}).read(); print('left', file=open({str(tmp_path / 'said')!r}, 'w'))"
    starter = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {daemon!r}], start_new_session=True)"

    result = await shell(ctx, argv=[sys.executable, "-W", "ignore", "-c", starter])

    assert result["exit_code"] == 0
    os.mkfifo(tmp_path / "said")
    (tmp_path / "leave").write_text("now")
    assert (tmp_path / "said").read_text() == "left\n"


async def test_a_command_whose_guard_is_killed_is_killed(ctx: Context, fifo: Fifo, log: Listener) -> None:
    line = DEAF + fifo.hold + "echo $PPID; echo started; sleep 1000"
    task = asyncio.create_task(shell(ctx, argv=["sh", "-c", line]))
    await log.wait_for("started")

    os.kill(int(log.lines[0][1]), signal.SIGKILL)
    with pytest.raises(MonitorLost, match="ended early"):
        await task

    fifo.wait_until_nobody_holds_it()


async def test_sigterm_for_the_guard_ends_the_command(ctx: Context, fifo: Fifo, log: Listener) -> None:
    task = asyncio.create_task(shell(ctx, argv=["sh", "-c", fifo.hold + "echo $PPID; echo started; exec sleep 1000"]))
    await log.wait_for("started")

    os.kill(int(log.lines[0][1]), signal.SIGTERM)
    with pytest.raises(CommandFailed, match="was ended by SIGTERM"):
        await task

    fifo.wait_until_nobody_holds_it()


# When the kernel itself is killed

KERNEL = """
import asyncio, ctypes, logging, os, sys
from types import SimpleNamespace
from gnomon_chores import ChoreError, shell

ctx = SimpleNamespace(checkpoint=lambda: None, cancel_requested=False)
def run(**limits):
    asyncio.run(shell(ctx, argv=["sh", "-c", sys.argv[1]], **limits))
"""


@contextmanager
def kernel_of_its_own(body: str, line: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that runs a shell line as the kernel would."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KERNEL + body, line]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as kernel:
        try:
            yield kernel
        finally:
            kernel.kill()


@pytest.mark.parametrize("trap", ["", DEAF], ids=["polite", "deaf"])
def test_nothing_is_left_behind_when_the_kernel_is_killed(fifo: Fifo, trap: str) -> None:
    with kernel_of_its_own("run(grace=0.2)", trap + fifo.hold + "(sleep 1000; :) & sleep 1000") as kernel:
        fifo.wait_until_held()

        kernel.kill()

        assert kernel.wait() == -signal.SIGKILL
        fifo.wait_until_nobody_holds_it()


# A child that is forked while the command runs, as multiprocessing does, holds the guard's channel open too.
FORK_AT_THE_FIRST_LINE = """
class Fork(logging.Handler):
    def emit(self, record):
        if os.fork():
            print("forked", flush=True)
        else:
            open(record.getMessage()).read()
            os._exit(0)

logging.getLogger("gnomon_chores.shell").addHandler(Fork())
logging.getLogger("gnomon_chores.shell").setLevel(logging.INFO)
run(grace=0.2)
"""


def test_a_fork_of_the_killed_kernel_does_not_keep_the_command_alive(fifo: Fifo, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "end")
    with kernel_of_its_own(FORK_AT_THE_FIRST_LINE, fifo.hold + f"echo '{tmp_path / 'end'}'; sleep 1000") as kernel:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == b"forked\n"

        kernel.kill()
        kernel.wait()

        fifo.wait_until_nobody_holds_it()
        (tmp_path / "end").write_text("now")


COUNT_ZOMBIES = """
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # orphans come to this process, which does not reap them
def stat(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return ["", 0]
def zombies():
    stats = map(stat, filter(str.isdigit, os.listdir("/proc")))
    return [one for one in stats if one[0] == "Z" and int(one[1]) == os.getpid()]

try:
    run(timeout=0.5, grace=1)
except ChoreError as error:
    print(type(error).__name__, zombies())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_an_ended_command_leaves_no_zombies_where_the_kernel_is_process_one() -> None:
    with kernel_of_its_own(COUNT_ZOMBIES, "(sleep 1000; :) & sleep 1000; :") as kernel:
        assert kernel.stdout is not None

        assert kernel.stdout.read() == b"CommandTimedOut []\n"
