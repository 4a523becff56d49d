"""Orders from inside a body: what it asks of its kernel, and the answer.

A body on the kernel's loop cannot wait for the kernel without stopping it, so it awaits the answer; every other body
has it when the call returns. An order of a process body is sent over its pipe, and its error comes back by name.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from gnomon import errors
from gnomon.domain.secret_references import escaped
from gnomon.errors import GnomonError, JobError
from gnomon.jobs.arguments import ArgumentTypes, plain
from gnomon.jobs.body import SHOWN, make_body
from gnomon.jobs.definition import convert_job
from gnomon.jobs.durable import refers_to_job
from gnomon.jobs.job import Job
from gnomon.jobs.plain_functions import job_of
from gnomon.jobs.registered import json_definition, not_json, not_kept, own_arguments, read_back
from gnomon.safe_text import safe_repr

T = TypeVar("T")


class Written(msgspec.Struct, frozen=True):
    """What an argument was before it became JSON: its text, and the names of its class and of their bases."""

    text: str
    classes: list[str]


class TriggerOrder(msgspec.Struct, frozen=True, kw_only=True, tag="trigger"):
    """Run a job now; the fields are the parameters of `KernelApi.trigger`.

    `written` has the arguments that are another value as JSON, such as a date: only the kernel knows whether the
    function of the job reads the same value back.
    """

    job_id: str
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = {}
    written: dict[str, Written] = {}

    def portable(self) -> TriggerOrder:
        """Return the order as it can be sent to another process."""
        try:
            kwargs = {name: plain(value) for name, value in self.kwargs.items()}
        except (TypeError, ValueError, NotImplementedError, RecursionError) as exc:
            raise not_json(self.job_id, [], self.kwargs, exc) from exc
        written = {
            name: Written(safe_repr(value, SHOWN), [class_name(one) for one in type(value).__mro__])
            for name, value in self.kwargs.items()
            if escaped(value) != escaped(kwargs[name])  # as the kernel does it: tuples are lists
        }
        return msgspec.structs.replace(self, kwargs=kwargs, written=written)

    def received(self) -> TriggerOrder:
        """Return the order that was sent."""
        return self

    def check_written(self, types: ArgumentTypes | None) -> None:
        """Raise JobError for arguments of another process that a function with these types would not read back."""
        changed = []
        for name, was in self.written.items():
            own, value = types.named(name) if types is not None else None, self.kwargs[name]
            if own is None or not own.converts:
                changed.append(read_back(f"kwargs[{name!r}]", was.text, safe_repr(value, SHOWN)))
            elif own.problem(value) is None:  # else the check of all arguments names it
                read = own.convert(value)
                if class_name(type(read)) not in was.classes or plain(read) != value:
                    changed.append(read_back(f"kwargs[{name!r}]", was.text, safe_repr(read, SHOWN)))
        if changed:
            raise JobError(not_kept(self.job_id, changed))


class AddJobOrder(msgspec.Struct, frozen=True, kw_only=True, tag="add_job"):
    """Add a job. `job` is a Job or a function, with `keys`; over the pipe it is the definition of the Job."""

    job: Any
    keys: dict[str, Any] = {}
    options: dict[str, Any] = {}

    def portable(self) -> AddJobOrder:
        """Return the order as it can be sent to another process."""
        job = job_of(self.job, self.keys)
        types = None
        if (job.args or job.kwargs) and not refers_to_job(job.func):
            types = make_body(job).types
        args, kwargs = own_arguments(job, sys.maxsize, types)  # the kernel checks its limit
        job = msgspec.structs.replace(job, args=args, kwargs=kwargs)
        return AddJobOrder(job=json_definition(job, job.given()), options=self.options)

    def received(self) -> AddJobOrder:
        """Return the order that was sent, with its Job."""
        return msgspec.structs.replace(self, job=convert_job(self.job))


BodyOrder = TriggerOrder | AddJobOrder


class OrderFailure(msgspec.Struct, frozen=True):
    """An error of the kernel on its way to another process: the name of its class, its message, its attributes."""

    kind: str
    message: str
    facts: dict[str, Any] = {}

    @classmethod
    def of(cls, exc: BaseException) -> OrderFailure:
        """Describe an error; what its attributes hold beside JSON stays behind."""
        facts = {name: value for name, value in vars(exc).items() if isinstance(value, str | int | float | list)}
        return cls(type(exc).__name__, str(exc), facts)

    def error(self) -> GnomonError:
        """Build the error again; one of an unknown class becomes a GnomonError."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, GnomonError)):
            return GnomonError(f"{self.kind}: {self.message}")
        built = kind.__new__(kind)  # their constructors make the message from other arguments
        built.args = (self.message,)
        vars(built).update(self.facts)
        return built


class Answer(Generic[T]):
    """The answer to an order. Await it in an `async def` body; elsewhere it is there, with the attributes of `result`.

    The order is carried out even if nothing awaits its answer. `result` is what the kernel returned: for a trigger a
    Triggered, with the `execution`; for an added job the Job.
    """

    __slots__ = ("_future", "_result")

    def __init__(self, result: T | None = None, future: asyncio.Future[T] | None = None) -> None:
        self._result = result
        self._future = future
        if future is not None:
            future.add_done_callback(_retrieve)

    def __await__(self) -> Generator[Any, None, T]:
        if self._future is not None:
            # Shielded: a body that is cancelled while it waits does not take its order back.
            self._result = yield from asyncio.shield(self._future).__await__()
            self._future = None
        return self.result

    @property
    def result(self) -> T:
        """What the kernel returned; GnomonError where it has to be awaited first."""
        if self._future is not None:
            raise GnomonError(
                "the kernel has not answered yet: an `async def` body awaits it, `await ctx.trigger(...)`"
            )
        return self._result  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.result, name)

    def __repr__(self) -> str:
        return "Answer(pending)" if self._future is not None else f"Answer({self._result!r})"


def trigger_order(
    job: str | Job | Callable[..., Any],
    arguments: Mapping[str, Any],
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> TriggerOrder:
    """Return the order that triggers a job: by its id, a Job, or a function decorated with @job."""
    declared = job if isinstance(job, str | Job) else getattr(job, "__gnomon_job__", None)
    if not isinstance(declared, str | Job):
        raise JobError(f"expected the id of a job, a Job or a function decorated with @job, got {job!r}")
    job_id = declared if isinstance(declared, str) else declared.id
    given = {name: value for name, value in options.items() if value is not None}
    return TriggerOrder(job_id=job_id, kwargs={**(kwargs or {}), **arguments}, options=given)


def add_job_order(job: Any, keys: Mapping[str, Any], options: Mapping[str, Any]) -> AddJobOrder:
    """Return the order that adds a job; JobError where the body wants to sign it."""
    if signed := [name for name in ("actor", "reason") if name in keys]:
        raise JobError(
            f"ctx.add_job() takes no {' and no '.join(signed)}: the kernel records the run that adds the job; leave "
            f"{'it' if len(signed) == 1 else 'them'} out"
        )
    return AddJobOrder(job=job, keys=dict(keys), options=dict(options))


def class_name(kind: type) -> str:
    """Return the full name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Retrieve an error that the body may not await, so that asyncio does not report it."""
    if not future.cancelled():
        future.exception()
