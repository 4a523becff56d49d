"""The errors of chores: one root, and one class for each problem that a reader of the log handles differently.

Every error keeps its facts in `args` and builds its text in `__str__`, so that it can be pickled.
"""

import errno
import os
import signal

LISTED_FILES = 50


class ChoreError(Exception):
    """A chore failed; the message says what was found, what was expected and what to do next."""


class BadArgument(ChoreError):
    """A chore was called with an argument that is not valid. Nothing was started."""

    def __init__(self, chore: str, argument: str, found: str, expected: str) -> None:
        super().__init__(chore, argument, found, expected)
        self.chore, self.argument, self.found, self.expected = chore, argument, found, expected

    def __str__(self) -> str:
        return (
            f"{self.chore}: {self.argument} is {self.found}, expected {self.expected}. Change it in the job's kwargs."
        )


class NothingToAudit(ChoreError):
    """The audit found no distribution that it could check, which must not count as a success."""

    def __init__(self, paths: list[str], unverifiable: int) -> None:
        super().__init__(paths, unverifiable)
        self.paths, self.unverifiable = paths, unverifiable

    def __str__(self) -> str:
        return (
            f"integrity_audit found no distribution with a RECORD in {', '.join(self.paths) or 'no folder'} "
            f"({self.unverifiable} without one), expected at least one. Give the site-packages folder in `paths`, "
            f"or reinstall with a tool that writes RECORD, such as pip."
        )


class IntegrityViolated(ChoreError):
    """Installed files differ from what their distributions recorded. Each entry reads `name version: path`."""

    def __init__(self, altered: list[str], missing: list[str], unreadable: list[str]) -> None:
        super().__init__(altered, missing, unreadable)
        self.altered, self.missing, self.unreadable = altered, missing, unreadable

    def __str__(self) -> str:
        files = [
            *(f"altered: {file}" for file in self.altered),
            *(f"missing: {file}" for file in self.missing),
            *(f"unreadable: {file}" for file in self.unreadable),
        ]
        rest = [f"and {len(files) - LISTED_FILES} more"] if len(files) > LISTED_FILES else []
        heading = (
            f"{len(self.altered)} altered, {len(self.missing)} missing and {len(self.unreadable)} unreadable files, "
            f"expected every file to match its RECORD. Find out who changed them and reinstall their distributions:"
        )
        return "\n  ".join([heading, *files[:LISTED_FILES], *rest])


class NotADatabase(ChoreError):
    """The file to back up does not exist or is not an SQLite database."""

    def __init__(self, database: str, found: str) -> None:
        super().__init__(database, found)
        self.database, self.found = database, found

    def __str__(self) -> str:
        return f"backup: {self.database} is {self.found}, expected an SQLite database. Change the job's kwargs."


class BackupFailed(ChoreError):
    """A backup was started and could not be finished. Nothing of it is left in the folder of backups."""

    def __init__(self, database: str, found: str, next_step: str) -> None:
        super().__init__(database, found, next_step)
        self.database, self.found, self.next_step = database, found, next_step

    def __str__(self) -> str:
        return f"the backup of {self.database} failed: {self.found}. Earlier backups are untouched. {self.next_step}."


class CommandNotStarted(ChoreError):
    """The command could not be started: no such file, no permission, no memory."""

    def __init__(self, command: str, error_number: int, path: str | None) -> None:
        super().__init__(command, error_number, path)
        self.command, self.error_number, self.path = command, error_number, path

    def __str__(self) -> str:
        name = errno.errorcode.get(self.error_number, str(self.error_number))
        looked = f" It was searched for in PATH={self.path}." if "/" not in self.command else ""
        return (
            f"the command {self.command!r} was not started: {os.strerror(self.error_number)} ({name}).{looked} "
            f"Give the full path of an executable file in `argv`, or set PATH in `env`."
        )


class MonitorLost(ChoreError):
    """The monitor process of a command ended or hung before it reported the end of the command; both were killed."""

    def __init__(self, command: str, found: str) -> None:
        super().__init__(command, found)
        self.command, self.found = command, found

    def __str__(self) -> str:
        return (
            f"the monitor of the command {self.command!r} {self.found}, expected it to report the end of the command. "
            f"The command was killed. Find out what kills processes here: the out-of-memory killer, or a person."
        )


class CommandFailed(ChoreError):
    """The command ended with an exit code other than 0, or by a signal (`exit_code` is then negative)."""

    def __init__(self, command: str, exit_code: int, output_end: str) -> None:
        super().__init__(command, exit_code, output_end)
        self.command, self.exit_code, self.output_end = command, exit_code, output_end

    @property
    def signal_name(self) -> str | None:
        """The signal that ended the command, such as SIGSEGV; None when it ended by itself."""
        if self.exit_code >= 0:
            return None
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:  # real-time signals between SIGRTMIN and SIGRTMAX have no name
            return f"signal {-self.exit_code}"

    def __str__(self) -> str:
        end = f"was ended by {self.signal_name}" if self.signal_name else f"ended with exit code {self.exit_code}"
        return f"the command {self.command!r} {end}, expected exit code 0.\n{self.output_end}"


class CommandTimedOut(ChoreError):
    """The command was still running after its timeout and was ended, with everything it had started."""

    def __init__(self, command: str, duration: float, output_end: str) -> None:
        super().__init__(command, duration, output_end)
        self.command, self.duration, self.output_end = command, duration, output_end

    def __str__(self) -> str:
        return (
            f"the command {self.command!r} exceeded its timeout and was ended after {self.duration:.3g} s. "
            f"Raise `timeout` or make the command faster. {self.output_end}"
        )


class RequestFailed(ChoreError):
    """No complete response arrived: no connection, a broken one, or a URL that cannot be used."""

    def __init__(self, method: str, url: str, found: str) -> None:
        super().__init__(method, url, found)
        self.method, self.url, self.found = method, url, found

    def __str__(self) -> str:
        return (
            f"{self.method} {self.url} failed: {self.found}, expected a response. "
            f"Check that the server is running and can be reached from this machine."
        )


class RequestTimedOut(ChoreError):
    """The response was not complete in time."""

    def __init__(self, method: str, url: str, timeout: float) -> None:
        super().__init__(method, url, timeout)
        self.method, self.url, self.timeout = method, url, timeout

    def __str__(self) -> str:
        return (
            f"{self.method} {self.url} had no complete response after {self.timeout:g} s. "
            f"Raise `timeout` or find out why the server is slow."
        )


class UnexpectedStatus(ChoreError):
    """The server responded with a status that the job does not accept."""

    def __init__(self, method: str, url: str, status: int, expected: list[int], body_start: str) -> None:
        super().__init__(method, url, status, expected, body_start)
        self.method, self.url, self.status, self.expected, self.body_start = method, url, status, expected, body_start

    def __str__(self) -> str:
        expected = " or ".join(map(str, self.expected))
        body = f"The body starts with: {self.body_start}" if self.body_start else "The body is empty."
        return (
            f"{self.method} {self.url} returned status {self.status}, expected {expected}. "
            f"Look at the server's log, or extend `expected_status`. {body}"
        )
