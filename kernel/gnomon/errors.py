"""Every error that a caller may handle: one root, one class per thing, ids as attributes."""

from __future__ import annotations


class GnomonError(Exception):
    """Root of all errors that Gnomon raises on purpose."""


class ConfigError(GnomonError):
    """A configuration that cannot be used; `problems` has one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TriggerError(GnomonError, ValueError):
    """A schedule that cannot be read: cron text, interval, date, zone or trigger type."""


class JobError(GnomonError, ValueError):
    """A job definition that cannot be used: its id, its function, its policies."""


class UnknownJobError(GnomonError, LookupError):
    """There is no job with this id."""

    def __init__(self, job_id: str, hint: str = "") -> None:
        super().__init__(f"there is no job {job_id!r}{hint}")
        self.job_id = job_id


class UnknownExecutionError(GnomonError, LookupError):
    """There is no execution with this id."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"there is no execution {execution_id!r}; `gnomon runs` lists them")
        self.execution_id = execution_id


class ExecutionOverError(GnomonError):
    """The execution has ended; what was asked makes sense only before that."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(f"execution {execution_id} is over ({status}); nothing was changed")
        self.execution_id = execution_id
        self.status = status


class ExecutionRunningError(GnomonError):
    """The execution has not ended; what was asked makes sense only after that."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(
            f"execution {execution_id} is not over ({status}); nothing was changed: wait for its end, or cancel it"
        )
        self.execution_id = execution_id
        self.status = status


class TransitionError(GnomonError):
    """An event that is illegal in the state in which its stream is."""

    def __init__(self, stream: str, state: str, event_type: str, version: int) -> None:
        super().__init__(f"{event_type!r} (version {version}) cannot follow state {state!r} in stream {stream}")
        self.stream = stream
        self.state = state
        self.event_type = event_type
        self.version = version


class NotInRunError(GnomonError, LookupError):
    """`gnomon.current()` was called outside of a run."""

    def __init__(self) -> None:
        super().__init__(
            "there is no current run here: call gnomon.current() from a job's body, "
            "or give the function a parameter annotated `Context`"
        )


class StoreError(GnomonError):
    """The store cannot do what was asked; the message says which store and why."""


class StoreUnavailableError(StoreError):
    """The store cannot be written or read right now (full disk, lost server); trying again later may help."""


class NoLogError(StoreError):
    """Nothing was ever written to this store, so there is nothing to read; a kernel that starts there changes it."""


class StoreInUseError(StoreError):
    """Another process is the writing kernel of this store."""


class ConflictError(StoreError):
    """The log already holds another event at this place: somebody else writes to it."""

    def __init__(self, stream: str, version: int, position: int) -> None:
        super().__init__(
            f"the log already has version {version} of stream {stream}, or position {position}: "
            "another kernel writes to this store, this one stops starting runs"
        )
        self.stream = stream
        self.version = version
        self.position = position


class DeposedError(StoreError):
    """The log is somebody else's now, or takes nothing more: this kernel must not start anything."""


class PluginError(GnomonError):
    """A plugin that cannot be used; the message names it, says what was found and what to do."""

    def __init__(self, plugin: str, problem: str) -> None:
        super().__init__(f"plugin {plugin!r} {problem}")
        self.plugin = plugin


class RunCancelled(BaseException):
    """Raised inside a body at its next context call after somebody asked it to stop.

    It derives from BaseException so that a body's `except Exception` cannot swallow it. (The fact in the log is the
    event `Cancelled`.)
    """
