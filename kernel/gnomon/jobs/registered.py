"""Register a job: check its types and arguments, build its function, its trigger and its definition."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from gnomon.domain.events import Origin
from gnomon.domain.own_copies import own_value
from gnomon.durations import Duration, decode_hook, shared_duration
from gnomon.errors import ArgumentError, GnomonError, JobError
from gnomon.jobs.argument_checks import refused_arguments
from gnomon.jobs.arguments import ArgumentTypes
from gnomon.jobs.body import SHOWN, Body, blamed_on, make_body
from gnomon.jobs.callables import load_function, reference
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Job
from gnomon.jobs.schedule import ScheduleProblem, check_schedule
from gnomon.json_depth import MAX_DEPTH, is_text_too_deep, is_too_deep
from gnomon.safe_text import safe_repr, safe_str, type_name
from gnomon.scheduling.triggers import AnchoredTrigger
from gnomon.text import is_writable

P = ParamSpec("P")
T = TypeVar("T")

ARGUMENTS_LIMIT = 256 * 1024
"""Bytes that the arguments of a run may have as JSON, unless the kernel has another limit: each run in the log has them
once more, and so has everything that lists runs."""
_HINT = "annotate the parameter of the function with the type of the value, such as `day: date`"
COLLECTIONS = (
    "tags",
    "after",
    "labels",
    "args",
    "kwargs",
    "steps",
    "progress_patterns",
    "options",
    "schedules",
    "exclude",
)
_JSON = frozenset({"args", "kwargs", "options"})
_FIELDS = msgspec.structs.fields(Job)
_PLAIN = {
    field.name: kind
    for field in _FIELDS
    for kind in (str, int, bool, datetime, Duration)
    if field.type == kind or field.type == kind | None
}
"""The fields whose values all have one class."""
_SPANS = frozenset(field.name for field in _FIELDS if field.type == Duration | None)
_ANYTHING = frozenset(field.name for field in _FIELDS if field.type is Any)


class RegisteredJob(msgspec.Struct, eq=False):
    """A job that a kernel can serve, with everything that is built from its definition.

    `source` says where it is defined, for messages: a file, a plugin or a function. `problem` is set for a job of the
    log that cannot run here: it is kept, and neither scheduled nor run. Without `is_built` it has no
    body either.
    """

    job: Job
    body: Body
    trigger: AnchoredTrigger | None
    definition: dict[str, Any]
    origin: Origin = "code"
    source: str = ""
    problem: str | None = None
    is_built: bool = True

    @property
    def defined_by(self) -> str:
        """What defines the job, for messages."""
        words = {"config": "the config", "code": "the program", "plugin": "a plugin", "api": "an order at run time"}
        return self.source or words[self.origin]

    @property
    def removes_itself(self) -> bool:
        """Whether the job is removed once its schedule has ended and each of its fires has an outcome."""
        return self.origin == "api" and not self.job.keep and self.problem is None and self.trigger is not None


def own_job(job: Job) -> Job:
    """Return a copy of a registered job; its arguments, options and lists may be changed without any effect."""
    copied: Job = job.__copy__()  # type: ignore[attr-defined]
    for name in COLLECTIONS:
        value = getattr(job, name)
        msgspec.structs.force_setattr(copied, name, own_value(value) if name in _JSON else copy.copy(value))
    return copied


class JobProblem(NamedTuple):
    """A reason for which a job cannot be registered; `key` is the key to blame, empty where it is not a single one."""

    key: str
    error: GnomonError


def register_job(job: Job, timezone: str, arguments_limit: int = ARGUMENTS_LIMIT) -> RegisteredJob:
    """Check a job and build its function, its trigger and its definition; JobError or TriggerError if one is not valid.

    `timezone` is the zone of a job that does not name one; `arguments_limit` is in bytes of JSON.
    """
    problems: list[JobProblem] = []
    registered = check_job(job, timezone, problems, arguments_limit)
    if registered is None:
        raise problems[0].error if len(problems) == 1 else JobError("\n".join(str(error) for _, error in problems))
    return registered


def check_job(
    job: Job, timezone: str, problems: list[JobProblem], arguments_limit: int = ARGUMENTS_LIMIT
) -> RegisteredJob | None:
    """Register a job as `register_job` does, but add every problem to `problems` instead of raising the first one."""
    typed = _attempt(problems, _typed, job, timezone)
    if typed is None:
        return None  # with wrong types in it nothing else can be checked
    job, given = typed
    found = len(problems)
    trigger = _build_trigger(job, problems)
    body = _body(job, problems)
    refused: list[JobProblem] = []
    own = _attempt(refused, own_arguments, job, arguments_limit, body.types if body is not None else None)
    problems += [JobProblem("args" if job.args and not job.kwargs else "kwargs", error) for _, error in refused]
    definition = None
    if own is not None:
        if any(own):
            job = msgspec.structs.replace(job, args=own[0], kwargs=own[1])
            given |= {name: value for name, value in zip(("args", "kwargs"), own, strict=True) if name in given}
        definition = _attempt(problems, json_definition, job, given)
        problems += _unfit_arguments(job, body) if body is not None else ()
    if len(problems) > found or body is None or definition is None:
        return None
    return RegisteredJob(job, body, trigger, definition)


def build_stored(job: Job, func: Any, definition: dict[str, Any]) -> RegisteredJob:
    """Build what a job of the log needs to run; JobError or TriggerError. Its definition is not made again."""
    problems: list[JobProblem] = []
    runnable = job if func is job.func else msgspec.structs.replace(job, func=func)
    trigger, body = _build_trigger(job, problems), _body(runnable, problems)
    problems += _unfit_arguments(runnable, body) if body is not None else ()
    if problems or body is None:
        raise problems[0].error if len(problems) == 1 else JobError("\n".join(str(error) for _, error in problems))
    return RegisteredJob(job, body, trigger, definition, origin="api")


def check_schedule_and_function(job: Job, problems: list[JobProblem]) -> None:
    """Add the problems of the schedule and of the name of the function, whatever else is wrong with a job."""
    _build_trigger(job, problems)
    if (error := _function_error(job)) is not None:
        problems.append(JobProblem("func", error))


def _body(job: Job, problems: list[JobProblem]) -> Body | None:
    try:
        return _runnable_body(job)
    except GnomonError as exc:
        own = exc.key if isinstance(exc, JobError) else ""
        problems.append(JobProblem("func" if _function_error(job) is not None else own, exc))
    return None


def _function_error(job: Job) -> GnomonError | None:
    """Return why the function that a job names cannot be loaded, or None."""
    try:
        if isinstance(job.func, str):
            load_function(job.func)
    except GnomonError as exc:
        return exc
    return None


def _attempt(problems: list[JobProblem], build: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    try:
        return build(*args, **kwargs)
    except GnomonError as exc:
        problems.append(JobProblem("", exc))
    return None


def _build_trigger(job: Job, problems: list[JobProblem]) -> AnchoredTrigger | None:
    try:
        return job.build_trigger()
    except GnomonError:
        found: list[ScheduleProblem] = []
        check_schedule(job.schedule_keys, found)
        problems += [JobProblem(key, error) for key, error in found]
    return None


def _runnable_body(job: Job) -> Body:
    body = make_body(job)
    if job.runner == "async" and not body.is_async:
        text = f'job {job.id!r} has runner = "async", but its function is not a coroutine function'
        raise blamed_on("runner", text)
    return body


def _unfit_arguments(job: Job, body: Body) -> Iterator[JobProblem]:
    found: list[tuple[str, str]] = []
    if body.types is not None and (job.args or job.kwargs):
        found += body.types.problems(job.args, job.kwargs)
    if body.check is not None and not found:
        found += refused_arguments(body.check, job.args, job.kwargs)
    for place, problem in found:
        yield JobProblem(place, ArgumentError(job.id, place, reference(body.func), problem))


def _typed(job: Job, timezone: str) -> tuple[Job, dict[str, Any]]:
    """Convert the values of a job that was built in code: it may have a plain timedelta, or a dict for `retry`.

    Also returns the keys that are given. A look at the few given values takes 3 µs, a conversion of the whole job 10.
    """
    given = job.given()
    changed: dict[str, Any] = {} if job.timezone is not None else {"timezone": timezone}
    for name, value in given.items():
        if type(value) is timedelta and name in _SPANS:
            changed[name] = shared_duration(value)
        elif type(value) is not _PLAIN.get(name) and name not in _ANYTHING:
            job = _converted(job, given | changed)
            return job, job.given()
    return msgspec.structs.replace(job, **changed) if changed else job, given | changed


def _converted(job: Job, given: dict[str, Any]) -> Job:
    try:
        converted = msgspec.convert(given, Job, dec_hook=decode_hook)
    except msgspec.ValidationError:
        return convert_job(given, f"job {job.id!r}")  # 160 µs instead of 5, but every problem has its place
    for name in COLLECTIONS:
        if name not in given:  # six empty ones for each of 100,000 jobs are 35 MB
            msgspec.structs.force_setattr(converted, name, getattr(job, name))
    return converted


def json_definition(job: Job, given: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of a job as the log keeps it; JobError for one that JSON cannot hold."""
    try:
        return job.definition(given)
    except JobError:
        raise  # a JobError is a ValueError, too
    except (TypeError, ValueError, NotImplementedError) as exc:
        raise not_json(job.id, job.args, job.kwargs, exc) from exc
    except RecursionError as exc:
        raise JobError(f"job {job.id!r}: its definition is nested deeper than {MAX_DEPTH} levels") from exc


def own_arguments(
    job: Job, arguments_limit: int = ARGUMENTS_LIMIT, types: ArgumentTypes | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a job as the log gives them back: values that no other code can change later.

    Values such as dates become JSON where `types`, the annotations of the function, read the same values back from it.
    Raise JobError for arguments that JSON cannot hold, that would be read back from it as something else, that are
    larger than `arguments_limit` bytes, or that nest deeper than MAX_DEPTH levels.
    """
    if not job.args and not job.kwargs:
        return [], {}
    given: list[Any] = [list(job.args), dict(job.kwargs)]
    if is_too_deep(given, MAX_DEPTH + 1):
        raise _too_deep(job)
    if types is not None:
        given = list(types.kept(*given))
    try:
        encoded = msgspec.json.encode(given)
        kept: list[Any] = msgspec.json.decode(encoded)
    except (TypeError, ValueError, NotImplementedError) as exc:
        raise not_json(job.id, job.args, job.kwargs, exc) from exc
    except RecursionError as exc:
        raise _too_deep(job) from exc
    if len(encoded) > arguments_limit:
        raise JobError(
            f"job {job.id!r}: its arguments have {len(encoded):,} bytes as JSON, and {arguments_limit:,} are allowed "
            "(`arguments_limit` of [kernel]): keep large data elsewhere and pass a reference to it, such as a path or "
            "a key"
        )
    if is_text_too_deep(encoded, MAX_DEPTH + 1):  # what other objects turn into
        raise _too_deep(job)
    if kept != given:
        changed = [
            read_back(place, safe_repr(value, SHOWN), safe_repr(read, SHOWN))
            for place, value, read in _places(given, kept)
            if value != read
        ]
        raise JobError(not_kept(job.id, changed))
    return kept[0], kept[1]


def read_back(place: str, given: str, read: str) -> str:
    """Return the part of a message that says as what an argument would come back."""
    return f"{place} = {given} would be read back from the log as {read}"


def not_kept(job_id: str, changed: list[str]) -> str:
    """Return the message for arguments that the log would not give back as they are, from their `read_back`."""
    return (
        f"job {job_id!r}: the argument {', '.join(changed)}; use what JSON has: text, numbers, true, false, null, "
        f"lists and objects, or {_HINT}"
    )


def _places(given: list[Any], kept: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    yield from ((f"args[{i}]", *pair) for i, pair in enumerate(zip(given[0], kept[0], strict=True)))
    # Names that are not text are read back as text.
    yield from ((f"kwargs[{name!r}]", value, kept[1].get(name)) for name, value in given[1].items())


def _too_deep(job: Job) -> JobError:
    return JobError(
        f"job {job.id!r}: its arguments are nested deeper than {MAX_DEPTH} levels: flatten them, or keep the data "
        "elsewhere and pass a reference to it"
    )


def not_json(job_id: str, args: list[Any], kwargs: Mapping[str, Any], problem: Exception) -> JobError:
    """Return the error for a job whose arguments JSON cannot hold."""
    places = {f"args[{i}]": value for i, value in enumerate(args)} | {
        f"kwargs[{name!r}]": value for name, value in kwargs.items()
    }
    culprits = [f"{place} {_not_json_because(value)}" for place, value in places.items() if not _is_json(value)]
    culprits += [f"the name {name!r} {_not_json_because(name)}" for name in kwargs if not is_writable(name)]
    words = ", ".join(culprits) or safe_str(problem)
    return JobError(
        f"job {job_id!r}: its arguments must be JSON, because the log keeps them: {words}; pass what JSON has, "
        f"or {_HINT}"
    )


def _not_json_because(value: Any) -> str:
    return f"is of type {type_name(value)}" if is_writable(value) else "has half a character (a lone surrogate)"


def _is_json(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True
