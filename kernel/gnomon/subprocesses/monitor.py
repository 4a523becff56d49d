"""A monitor between a process and its child: it ends the child on request, and when its parent dies.

This is a program, not a module to import. `monitored.py` starts it as

    python -I -S monitor.py CHANNEL PARENT

CHANNEL is the number of an inherited descriptor, one end of a stream socket pair; PARENT is the process id of the other
end. The operating system closes the channel of a parent that was killed, so the child ends with it, even after SIGKILL.

* The parent writes one order (see `read_order`) and then at most the line `terminate`. It keeps the channel open.
* The monitor writes `started PID`, or `refused ERRNO` if the child could not be started, and finally `ended`, each on
  one line. If the channel ends without `ended`, the monitor was killed and the group PID may still be running.
* The child inherits the monitor's standard streams, folder and other inheritable descriptors. It leads a session and
  process group of its own.
* On `terminate`, or on SIGTERM, SIGINT or SIGHUP for the monitor itself, the child gets SIGTERM and SIGCONT, and its
  group SIGKILL after `grace`. With `whole_group` the entire group gets the SIGTERM.
* When the channel or the parent is gone, and when the child has ended but left processes in its group, the group gets
  SIGTERM and SIGCONT, and SIGKILL after `cleanup_grace`. A daemon that is meant to stay starts its own session.
* The monitor exits as the child did: with the same exit code, or by the same signal.

It imports almost nothing, since the start of every child waits for it: 9 ms to start, 15 ms with `import signal`, 14 ms
with contextlib, 22 ms with typing (medians of 30 starts, Python 3.11).
"""

import os
import select
import sys
import time

TYPE_CHECKING = False  # type checkers assume True; `import typing` would cost 13 ms
if TYPE_CHECKING:
    import signal
    from typing import NoReturn
else:
    import _signal as signal  # without the enums of the public module

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A process forked by the parent keeps the channel open; then only our parent's id shows that the parent is dead.
PARENT_CHECK_S = 1.0
STOPPING_CHECK_S = 0.02
REAP_TIMEOUT_S = 1.0  # how long a killed process may take to disappear; a zombie that nobody reaps never does
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Order:
    """What to run and how to end it. Graces are in seconds."""

    def __init__(self, body: bytes) -> None:
        grace, cleanup_grace, whole_group, count, *fields = body.split(b"\0")
        self.grace = float(grace)
        self.cleanup_grace = float(cleanup_grace)
        self.whole_group = whole_group == b"1"
        self.argv = fields[: int(count)]
        self.environment = dict(assignment.split(b"=", 1) for assignment in fields[int(count) :])


def read_order(channel: int) -> Order | None:
    """Return the order, or None if the parent went away before it was complete.

    8 bytes of length, most significant first, then fields separated by NULs: grace, cleanup grace, 1 for the whole
    group, number of arguments, arguments, NAME=VALUE...
    """
    length = read_exactly(channel, 8)
    body = length and read_exactly(channel, int.from_bytes(length, "big"))
    return Order(body) if body else None


def read_exactly(channel: int, size: int) -> bytes | None:
    """Return `size` bytes, or None if the channel ends before."""
    parts = []
    while size:
        part = os.read(channel, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def report(channel: int, line: str) -> None:
    """Write a line to the parent, if there still is one."""
    try:  # noqa: SIM105 - contextlib is 5 ms of imports
        os.write(channel, line.encode() + b"\n")
    except OSError:
        pass


def open_signal_pipe() -> int:
    """Return a descriptor from which the number of every signal that concerns us can be read.

    Handlers, not SIG_IGN, which the child would inherit. What was ignored from the start (nohup) stays ignored.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *STOP_SIGNALS):
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGCHLD:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return reading


def start(order: Order, channel: int) -> int:
    """Start the child as the leader of its own session and group and return its process id; raises OSError.

    Not posix_spawn: a monitor that is killed right after it would leave a group whose number the parent does not know.
    """
    reading, writing = os.pipe()  # closed by a successful exec
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # one between fork and exec would be lost in our handlers
    leader = os.fork()
    if leader == 0:
        execute(order, channel, writing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.close(writing)
    if number := os.read(reading, 16):
        os.waitpid(leader, 0)
        raise OSError(int(number), "not started")
    return leader


def execute(order: Order, channel: int, refusal: int) -> "NoReturn":
    """Replace the forked process by the child's program."""
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and an ignored signal is inherited
            signal.signal(number, signal.SIG_DFL)
        for number in STOP_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        report(channel, f"started {os.getpid()}")
        os.execvpe(order.argv[0], order.argv, order.environment)  # noqa: S606 - the purpose of this program
    except OSError as error:
        os.write(refusal, str(error.errno).encode())
    finally:
        os._exit(127)


class Watch:
    """Watches one child from its start until nothing of its group is left."""

    def __init__(self, leader: int, order: Order, channel: int, signals: int, parent: int) -> None:
        self.leader, self.order, self.parent = leader, order, parent
        self.channel, self.signals = channel, signals
        self.sources = [channel, signals]
        self.must_terminate = False
        self.is_orphaned = False
        self.is_cleaning_up = False
        self.status: int | None = None  # of the leader, as waitpid returns it
        self.kill_at: float | None = None

    def run(self) -> int:
        """Wait for the end, or bring it about, and return the leader's wait status."""
        while not self.is_gone():
            if not self.is_cleaning_up and (self.is_orphaned or self.status is not None):
                self.is_cleaning_up = True
                self.stop(self.order.cleanup_grace, whole_group=True)
            elif self.kill_at is None and self.must_terminate:
                self.stop(self.order.grace, whole_group=self.order.whole_group)
            elif self.kill_at is not None and time.monotonic() >= self.kill_at:
                return self.kill()
            else:
                self.wait()
        assert self.status is not None  # noqa: S101 - is_gone() has seen it
        return self.status

    def is_gone(self) -> bool:
        """Reap what has ended; return whether the leader has, with no process left in its group."""
        self.reap()
        # Once the leader is reaped its number could be reused; 20 ms are too short for all numbers to be used up.
        return self.status is not None and not self.signal_group(0)

    def reap(self) -> None:
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.leader:
                    self.status = ended[1]
        except ChildProcessError:
            pass

    def wait(self) -> None:
        """Sleep until something happens or the next check is due."""
        pause = PARENT_CHECK_S if self.kill_at is None else STOPPING_CHECK_S
        for source in select.select(self.sources, [], [], pause)[0]:
            data = os.read(source, 4096)
            if source == self.signals:
                self.must_terminate |= any(number in STOP_SIGNALS for number in data)
            elif data:
                self.must_terminate = True
            else:
                self.is_orphaned = True
                self.sources.remove(source)
        self.is_orphaned |= os.getppid() != self.parent

    def stop(self, grace: float, *, whole_group: bool) -> None:
        """Request the end of the child, or of its whole group, and set the time at which the group is killed."""
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process sees no SIGTERM before SIGCONT
            if whole_group or self.status is not None:
                self.signal_group(number)
            else:
                os.kill(self.leader, number)  # not reaped yet, so the number is still its own
        kill_at = time.monotonic() + grace
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)

    def kill(self) -> int:
        self.signal_group(signal.SIGKILL)
        give_up_at = time.monotonic() + REAP_TIMEOUT_S
        while not self.is_gone() and (self.status is None or time.monotonic() < give_up_at):
            select.select([], [], [], STOPPING_CHECK_S)
        assert self.status is not None  # noqa: S101 - is_gone() has seen it
        return self.status

    def signal_group(self, number: int) -> bool:
        """Signal the group; return whether it has a process that can be signalled, which a setuid program cannot."""
        try:
            os.killpg(self.leader, number)
        except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            return False
        return True


def adopt_orphans() -> None:
    """Become the parent of what the child's processes leave behind, to reap it.

    In a container whose process 1 is the scheduler nobody else does, and every ended child would leave zombies. Called
    only when something is being ended: ctypes costs 5 ms.
    """
    if sys.platform == "linux":
        try:
            from ctypes import CDLL  # noqa: PLC0415 - late, it costs 5 ms

            CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass  # a Python without ctypes: process 1 has to reap


def exit_like(status: int) -> "NoReturn":
    """End this process as the child ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        import resource  # noqa: PLC0415 - rarely needed

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the useful core is the child's
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) % 256)


def main() -> "NoReturn":
    """Read the order, run the child, and exit as it did."""
    channel, parent = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(channel, False)
    signals = open_signal_pipe()
    order = read_order(channel)
    if order is None:
        sys.exit(0)
    try:
        leader = start(order, channel)
    except OSError as error:
        report(channel, f"refused {error.errno}")
        sys.exit(127)
    status = Watch(leader, order, channel, signals, parent).run()
    report(channel, "ended")
    exit_like(status)


if __name__ == "__main__":
    main()
