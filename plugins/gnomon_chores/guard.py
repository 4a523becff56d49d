"""Run one command so that nothing of it outlives the process that asked for it.

This is a program, not a part of the package: `guarded_command.py` starts it as

    python -I -S guard.py CHANNEL PARENT

CHANNEL is the number of an inherited descriptor, one end of a stream socket pair, and PARENT the process id of its
other end.

* The parent writes one order (see `read_order`) and keeps the channel open. End of file means: end the command. The
  operating system closes the channel of a parent that was killed, so the command ends with it, even after SIGKILL.
* The guard writes `started PID`, or `refused ERRNO` when the command could not be started, and at last `ended`, one a
  line. A guard that is gone without `ended` was killed: the group PID may still run.
* The command gets the guard's standard streams and folder as they are, and a session and process group of its own. To
  end it is SIGTERM (and SIGCONT) for the group, then SIGKILL after the order's grace. So is SIGTERM, SIGINT or SIGHUP
  for the guard itself.
* What the command leaves running in its group is ended in the same way when the command itself has ended. A daemon that
  shall stay makes a session of its own, as daemons do.
* The guard leaves as the command did: with the same exit code, or by the same signal.

It imports nothing of ours and almost nothing else, since each command waits for it: 9 ms to start, 15 ms with
`import signal`, 14 ms with contextlib, 22 ms with typing (medians of 30 starts, Python 3.11).
"""

import os
import select
import sys
import time

TYPE_CHECKING = False  # type checkers take it for true; `import typing` would cost 13 ms
if TYPE_CHECKING:
    import signal
    from typing import NoReturn
else:
    import _signal as signal  # without the enum that the public module puts around it

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What the parent has forked holds the channel open too: then only our parent's id tells of its death.
PARENT_CHECK_S = 1.0
ENDING_CHECK_S = 0.02
UNREAPED_S = 1.0  # how long what was killed may take to disappear; a zombie that nobody reaps never does
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def read_order(channel: int) -> tuple[float, list[bytes], dict[bytes, bytes]] | None:
    """Return (grace in seconds, argv, environment), or None when the parent went away before it had said everything.

    8 bytes of length, most significant first, then fields between NULs: grace, number of arguments, arguments,
    NAME=VALUE...
    """
    length = read_exactly(channel, 8)
    body = length and read_exactly(channel, int.from_bytes(length, "big"))
    if not body:
        return None
    grace, count, *fields = body.split(b"\0")
    argv, assignments = fields[: int(count)], fields[int(count) :]
    return float(grace), argv, dict(assignment.split(b"=", 1) for assignment in assignments)


def read_exactly(channel: int, size: int) -> bytes | None:
    """Return `size` bytes, or None when the channel ends before."""
    parts = []
    while size:
        part = os.read(channel, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def tell(channel: int, line: str) -> None:
    """Tell the parent, if there still is one."""
    try:  # noqa: SIM105 - contextlib is 5 ms of imports
        os.write(channel, line.encode() + b"\n")
    except OSError:
        pass


def hear_signals() -> int:
    """Return a descriptor from which the number of every signal that concerns us can be read.

    Handlers, not SIG_IGN: the command would inherit the latter. What was ignored from the start (nohup) stays ignored.
    """
    hearing, telling = os.pipe()
    os.set_blocking(hearing, False)
    os.set_blocking(telling, False)
    signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *ENDING_SIGNALS):
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGCHLD:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return hearing


def start(argv: list[bytes], environment: dict[bytes, bytes], channel: int) -> int:
    """Start the command as the leader of its own session and group, and return its process id; raises OSError.

    Not posix_spawn: a guard killed right after that would leave a group whose number the parent was never told.
    """
    refusal, refusing = os.pipe()  # closed by a successful exec
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)  # one between fork and exec would be lost in our handlers
    leader = os.fork()
    if leader == 0:
        become(argv, environment, channel, refusing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.close(refusing)
    if number := os.read(refusal, 16):
        os.waitpid(leader, 0)
        raise OSError(int(number), "not started")
    return leader


def become(argv: list[bytes], environment: dict[bytes, bytes], channel: int, refusing: int) -> "NoReturn":
    """Turn the forked process into the command."""
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored is inherited
            signal.signal(number, signal.SIG_DFL)
        for number in ENDING_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        tell(channel, f"started {os.getpid()}")
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - to start what it is told is its task
    except OSError as error:
        os.write(refusing, str(error.errno).encode())
    finally:
        os._exit(127)


class Watch:
    """The life of one command, from its start until nothing of its group is left."""

    def __init__(self, leader: int, grace: float, channel: int, signals: int, parent: int) -> None:
        self.leader, self.grace, self.parent = leader, grace, parent
        self.channel, self.signals = channel, signals
        self.sources = [channel, signals]
        self.must_end = False
        self.status: int | None = None  # of the leader, as waitpid has it
        self.kill_at: float | None = None

    def until_gone(self) -> int:
        """Wait for the end, or bring it about, and return the leader's wait status."""
        while not self.is_gone():
            if self.kill_at is None and (self.must_end or self.status is not None):
                self.ask_to_end()
            elif self.kill_at is not None and time.monotonic() >= self.kill_at:
                return self.kill()
            self.listen()
        assert self.status is not None  # noqa: S101 - the loop has seen it
        return self.status

    def is_gone(self) -> bool:
        """Reap what has ended; true when the leader has, and no process is left in its group."""
        self.reap()
        # Once the leader is reaped its number could be given away again; 20 ms are too short for a round of numbers.
        return self.status is not None and not self.signal_group(0)

    def reap(self) -> None:
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.leader:
                    self.status = ended[1]
        except ChildProcessError:
            pass

    def listen(self) -> None:
        """Sleep until something happens or it is time to look again."""
        pause = PARENT_CHECK_S if self.kill_at is None else ENDING_CHECK_S
        for source in select.select(self.sources, [], [], pause)[0]:
            heard = os.read(source, 4096)
            if source == self.signals:
                self.must_end |= any(number in ENDING_SIGNALS for number in heard)
            elif not heard:
                self.must_end = True
                self.sources.remove(source)
        self.must_end |= os.getppid() != self.parent

    def ask_to_end(self) -> None:
        adopt_orphans()
        self.signal_group(signal.SIGTERM)
        self.signal_group(signal.SIGCONT)  # a stopped process would not see it
        self.kill_at = time.monotonic() + self.grace

    def kill(self) -> int:
        self.signal_group(signal.SIGKILL)
        give_up_at = time.monotonic() + UNREAPED_S
        while not self.is_gone() and (self.status is None or time.monotonic() < give_up_at):
            select.select([], [], [], ENDING_CHECK_S)
        assert self.status is not None  # noqa: S101 - the loop has seen it
        return self.status

    def signal_group(self, number: int) -> bool:
        """Signal the group and say whether somebody is in it who can be signalled (not so a setuid program)."""
        try:
            os.killpg(self.leader, number)
        except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            return False
        return True


def adopt_orphans() -> None:
    """Become the parent of what the command's processes leave behind, to reap it.

    In a container whose process 1 is the scheduler nobody else does, and every ended command would leave zombies. Only
    here, when something is to be ended: ctypes costs 5 ms.
    """
    if sys.platform == "linux":
        try:
            from ctypes import CDLL  # noqa: PLC0415 - late, it costs 5 ms

            CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass  # a Python without ctypes: process 1 has to reap


def leave_like(status: int) -> "NoReturn":
    """End this process as the command ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        import resource  # noqa: PLC0415 - rarely needed

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core to look at is the command's
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) % 256)


def main() -> "NoReturn":
    """Read the order, run the command, and leave as it did."""
    channel, parent = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(channel, False)
    signals = hear_signals()
    order = read_order(channel)
    if order is None:
        sys.exit(0)
    grace, argv, environment = order
    try:
        leader = start(argv, environment, channel)
    except OSError as error:
        tell(channel, f"refused {error.errno}")
        sys.exit(127)
    status = Watch(leader, grace, channel, signals, parent).until_gone()
    tell(channel, "ended")
    leave_like(status)


if __name__ == "__main__":
    main()
