"""Every error that a caller may handle: one root, one class for each case, ids as attributes."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_PROBLEMS = 5
"""Problems of a list that its message names; the attribute has all of them."""


def listed(problems: Sequence[str]) -> str:
    """Return the first problems of a list, and how many more there are."""
    more = [f"and {len(problems) - SHOWN_PROBLEMS:,} more"] if len(problems) > SHOWN_PROBLEMS else []
    return "; ".join([*problems[:SHOWN_PROBLEMS], *more])


class GnomonError(Exception):
    """The root of all errors that Gnomon raises deliberately. Show the message: it says what to do."""


class ConfigError(GnomonError):
    """The configuration is not valid. Fix each of its `problems` (one line each, with its place), then try again."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TriggerError(GnomonError, ValueError):
    """A schedule is not valid: cron text, interval, date, time zone or trigger type. Correct the definition."""


class JobError(GnomonError, ValueError):
    """A job definition is not valid: its id, its function or a policy, with the `key` if it is one. Correct it."""

    key = ""


class SecretError(GnomonError):
    """A secret that the arguments of a run refer to cannot be read. Set the variable or provide the file, and retry.

    `problems` has the place and the cause of each; neither has the value of any secret.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("the secrets of this run cannot be read: " + "; ".join(problems))
        self.problems = problems


class OverrideError(JobError):
    """The job does not accept this argument from a command. Trigger it without, or change `overrides` of the job."""

    def __init__(self, job_id: str, key: str, accepted: list[str]) -> None:
        names = f"only {', '.join(map(repr, accepted))} may be set" if accepted else "none may be set"
        super().__init__(
            f"job {job_id!r} does not accept the argument {key!r} from a command: {names}; the key `overrides` of the "
            "job lists the arguments that a command may set"
        )
        self.job_id, self.key = job_id, key


class ArgumentError(JobError):
    """An argument does not fit the annotation of its parameter, or the function refuses it. Pass what is expected.

    `place` is the argument: `kwargs.NAME` or `args[INDEX]`, or empty where it is not a single one.
    """

    def __init__(self, job_id: str, place: str, function: str, problem: str) -> None:
        what, verb = (f"argument {place}", "does") if place else ("arguments", "do")
        super().__init__(f"job {job_id!r}: the {what} of {function} {verb} not fit: {problem}")
        self.job_id, self.place = job_id, place


class UnknownJobError(GnomonError, LookupError):
    """No job has this id. Check the spelling; `gnomon jobs` lists the jobs."""

    def __init__(self, job_id: str, hint: str = "") -> None:
        super().__init__(f"there is no job {job_id!r}{hint}")
        self.job_id = job_id


class FunctionNotAllowedError(GnomonError):
    """An order from outside names a function that the deployment does not allow. Add it to `allow_functions`."""

    def __init__(self, target: str, patterns: Sequence[str], found: str | None = None) -> None:
        is_other = found is not None and found != target
        finding = f"{target!r} is the function {found!r}, which" if is_other else f"the function {target!r}"
        allowed = f"they may name {', '.join(map(repr, patterns))}" if patterns else "they may name none"
        module = target.partition(":")[0]
        super().__init__(
            f"{finding} is not open to orders from outside: {allowed}. Name the id of a job that the deployment "
            f'declares, or add it to [kernel] of the config, such as allow_functions = ["{module}:*"]'
        )
        self.target = target


class JobExistsError(GnomonError):
    """A job with this id exists already. Choose another id, or replace a job that was added at run time."""

    def __init__(self, job_id: str, message: str = "") -> None:
        super().__init__(
            message or f"there is a job {job_id!r} already: choose another id, or pass replace=True to replace it"
        )
        self.job_id = job_id


class JobKeysError(JobError):
    """Keys of an ordered job are not valid; nothing was changed. `problems` has the key and the text of each."""

    def __init__(self, job_id: str, problems: list[tuple[str, str]], message: str = "") -> None:
        lines = [f"{key}: {text}" if key else text for key, text in problems]
        super().__init__(message or "\n".join(lines) or f"the keys of the job {job_id!r} are not valid")
        self.job_id, self.problems = job_id, problems


class JobOrdersError(JobError):
    """Some jobs of a list cannot be added, so none was. Correct each of its `problems`, and order all again.

    `problems` maps the number of a job in the list, from 0, to its error.
    """

    def __init__(self, problems: dict[int, GnomonError], jobs: int) -> None:
        self.problems = problems
        super().__init__(f"{len(problems):,} of {jobs:,} jobs cannot be added, so none was: {listed(self.lines())}")

    def lines(self, name: str = "") -> list[str]:
        """Return one line for each problem, with its place, such as `jobs[3].cron: ...` for the name `jobs`."""
        lines = []
        for number, problem in self.problems.items():
            found = problem.problems if isinstance(problem, JobKeysError) else [("", str(problem))]
            lines += [f"{name}[{number}]{'.' if key else ''}{key}: {text}" for key, text in found]
        return lines


class JobConflictError(GnomonError):
    """The job was changed since the version that the order expects. Read the job again, and repeat the change."""

    def __init__(self, job_id: str, expected: int, version: int) -> None:
        super().__init__(
            f"job {job_id!r} has version {version}, expected {expected}: it was changed in between; read it again and "
            "repeat the change"
        )
        self.job_id, self.expected, self.version = job_id, expected, version


class ForeignJobError(GnomonError):
    """The job is defined in a config, in code or by a plugin, so no order can change it. Change it where it is."""

    def __init__(self, job_id: str, source: str) -> None:
        super().__init__(
            f"job {job_id!r} was not added at run time, {source} defines it: change it there, then reload or restart; "
            "nothing was changed"
        )
        self.job_id = job_id
        self.source = source


class AttachedJobError(ForeignJobError):
    """The job belongs to another scheduler, which is attached to the kernel. Do there what should be done."""

    def __init__(self, job_id: str, source: str) -> None:
        GnomonError.__init__(
            self,
            f"job {job_id!r} belongs to the attached scheduler {source!r}, which alone runs and changes it: do this "
            "there; nothing was changed",
        )
        self.job_id = job_id
        self.source = source


def queue_is_full(waiting: int, limit: int) -> str:
    """Return the sentence about a run that was not accepted."""
    if limit == 0:
        return "runs that cannot start at once need room in the queue, and its queue_limit is 0"
    runs = "1 run of the job waits" if waiting == 1 else f"{waiting:,} runs of the job wait"
    return f"{runs}, and its queue_limit is {limit:,}"


class QueueFullError(GnomonError):
    """The queue of a job has no room. Try again later, wait with `when_full="wait"`, or raise `queue_limit`.

    Nothing was recorded. `orders` is the number of runs that were ordered together.
    """

    def __init__(self, job_id: str, waiting: int, limit: int, orders: int = 1) -> None:
        what = "the run was not accepted" if orders == 1 else f"none of the {orders:,} orders was accepted"
        super().__init__(
            f"the queue of job {job_id!r} has no room, so {what}: {queue_is_full(waiting, limit)}. "
            'Try again later, wait for room with when_full="wait", or raise queue_limit'
        )
        self.job_id = job_id
        self.waiting = waiting
        self.limit = limit


class RunOrdersError(JobError):
    """Some orders of a list are not valid, so none was accepted. Correct each of its `problems`, and order again.

    `problems` maps the number of an order in the list, from 0, to its error.
    """

    def __init__(self, problems: dict[int, GnomonError], orders: int) -> None:
        found = listed([f"order {number}: {problem}" for number, problem in problems.items()])
        super().__init__(f"{len(problems):,} of {orders:,} orders are not valid, so none was accepted: {found}")
        self.problems = problems


class TriggerDepthError(GnomonError):
    """A chain of runs, each triggered by the body of the one before, is too long. Break the loop, or use a schedule."""

    def __init__(self, execution_id: str, job_id: str, limit: int, chain: list[str]) -> None:
        super().__init__(
            f"run {execution_id} cannot trigger job {job_id!r}: it is at the end of a chain of {limit} triggers from "
            f"body to body (… → {' → '.join(chain)}), which looks like a loop; give repeated work a schedule, or let "
            "one run do it"
        )
        self.execution_id = execution_id
        self.job_id = job_id
        self.chain = chain


class IdempotencyKeyError(GnomonError, ValueError):
    """An idempotency key cannot be used: it is not valid, or was used for another request. Choose another key."""


class UnknownExecutionError(GnomonError, LookupError):
    """No execution has this id. It may have been pruned; `gnomon runs` lists those that are left."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"there is no execution {execution_id!r}; `gnomon runs` lists them")
        self.execution_id = execution_id


class ExecutionOverError(GnomonError):
    """The execution has ended, so it cannot be cancelled or failed any more. Nothing was changed; nothing to do."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(f"execution {execution_id} has already ended ({status}); nothing was changed")
        self.execution_id = execution_id
        self.status = status


class ExecutionRunningError(GnomonError):
    """The execution has not ended, so it cannot be hidden yet. Nothing was changed; wait for its end or cancel it."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(
            f"execution {execution_id} has not ended ({status}); nothing was changed: wait for its end, or cancel it"
        )
        self.execution_id = execution_id
        self.status = status


class ReservedNameError(GnomonError, ValueError):
    """The name of an actor is reserved for what the kernel does itself. Pass another name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the actor {name!r} is reserved for acts of the kernel itself: pass another name")
        self.name = name


class ActTextError(GnomonError, ValueError):
    """The actor, owner or reason of an order is not a text that the log can keep. Pass another one.

    `name` is the parameter.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class ParameterError(GnomonError, TypeError):
    """A value that was passed to a query or command has a wrong type; nothing was done. Pass what is expected.

    `name` is the parameter.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class TransitionError(GnomonError):
    """An event is illegal in the current state of its stream. Read the state again; it has changed in between."""

    def __init__(self, stream: str, state: str, event_type: str, version: int) -> None:
        super().__init__(f"{event_type!r} (version {version}) cannot follow state {state!r} in stream {stream}")
        self.stream = stream
        self.state = state
        self.event_type = event_type
        self.version = version


class NotInRunError(GnomonError, LookupError):
    """`gnomon.current()` was called outside of a run. Call it in a job's body, or pass the context to the caller."""

    def __init__(self) -> None:
        super().__init__(
            "there is no current run: call gnomon.current() in the body of a job, "
            "or give the function a parameter annotated `Context`"
        )


class StoreError(GnomonError):
    """The store cannot do what was asked; the message names the store and the cause."""


class StoreUnavailableError(StoreError):
    """The store cannot be read or written at the moment (full disk, unreachable server). Try again later."""


class NoLogError(StoreError):
    """Nothing was ever written to this store. There is nothing to read until a kernel has started with it."""


class PastError(GnomonError):
    """The past cannot be changed, or the log does not know that time: ask between its first event and now."""


class ForkedProcessError(GnomonError):
    """A call in a forked process, on what the process before the fork has open. Make a new one after the fork.

    `parent` is the id of the process that has it open.
    """

    def __init__(self, what: str, parent: int, child: int) -> None:
        super().__init__(
            f"{what} runs in process {parent}, and this is process {child}, which was forked from it and has nothing "
            "of it: start kernels after the fork only, such as in gunicorn's hook post_worker_init or the lifespan of "
            'an ASGI application; start this process by "spawn" of multiprocessing; or ask the kernel over HTTP'
        )
        self.what, self.parent = what, parent


class StoreInUseError(StoreError):
    """Another kernel writes to this store, with `is_here` one of this process. Stop it, or send the command to it."""

    is_here = False


class NoLeaderError(GnomonError):
    """No kernel leads the log, or no order reaches the one that has it: nothing was done. Start one, or try again."""

    def __init__(self, finding: str, leader: str | None = None) -> None:
        problem = "no kernel leads this log" if leader is None else f"{leader} has this log, and no order reaches it"
        self.leader = leader
        advice = "start one with `gnomon run`, or " if leader is None else "look with `gnomon status`, or "
        super().__init__(f"{problem} ({finding}), so nothing was done: {advice}try later")


class OrderLostError(GnomonError):
    """The kernel that leads ended or hung before it answered an order, which it may have carried out. Look first."""

    def __init__(self, finding: str) -> None:
        super().__init__(f"{finding}; the order may have been carried out: look before you repeat it")


class StepDownError(GnomonError):
    """The kernel that leads does not step down: no other one could lead, or it would not follow. Do what it says."""


class RolledBackError(StoreError):
    """The log has lost acknowledged events, whose runs would run again: `gnomon run --accept-rollback` accepts that."""


class MovedLogError(StoreError):
    """The log goes on in another store, or not all of it has arrived in this one. Do what the message says."""


class ConflictError(StoreError):
    """The log already has another event at this place, because another kernel writes to it. Stop writing."""

    def __init__(self, stream: str, version: int, position: int) -> None:
        super().__init__(
            f"the log already has version {version} of stream {stream}, or position {position}: "
            "another kernel writes to this store, so this kernel stops starting runs"
        )
        self.stream, self.version, self.position = stream, version, position


class DeposedError(StoreError):
    """The kernel has lost ownership of the log, or the log accepts nothing more. Start a new kernel process."""


class UnsafeFileError(StoreError):
    """A file cannot be trusted, because another user put it there or can change it. Do what the message says."""

    def __init__(self, path: object, finding: str, remedy: str) -> None:
        super().__init__(f"{path} {finding}; {remedy}")


class PluginError(GnomonError):
    """A plugin cannot be used; the message names the plugin, the finding and the remedy."""

    def __init__(self, plugin: str, problem: str) -> None:
        super().__init__(f"plugin {plugin!r} {problem}")
        self.plugin = plugin
