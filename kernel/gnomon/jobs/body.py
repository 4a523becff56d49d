"""The function of a job: find it, read its signature, check that the job's arguments fit."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any

import msgspec

from gnomon.errors import JobError
from gnomon.jobs.argument_checks import declared_check
from gnomon.jobs.arguments import ArgumentTypes
from gnomon.jobs.callables import cached_by_function, child_target, load_function, reference
from gnomon.jobs.job import Job
from gnomon.jobs.overrides import Overrides, declared_overrides
from gnomon.jobs.runner_names import IN_THIS_PROCESS
from gnomon.safe_text import safe_repr
from gnomon.signatures import signature_of
from gnomon.text import close_match

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

SHOWN = 500
"""Characters of arguments that an error message repeats."""


class Body(msgspec.Struct, frozen=True):
    """A job's function, and which arguments its signature expects from the kernel.

    `child_target` is the name by which another process imports the function, for jobs whose runner needs one.
    `overrides` says which arguments commands may set for one run. `types` has the types of annotated parameters;
    `converter` is the same, or None where JSON is passed to the function as it is. `check` is the check of arguments
    that the function declares.
    """

    func: Callable[..., Any]
    is_async: bool
    context_parameter: str | None = None
    context_position: int = 0
    takes_force: bool = False
    child_target: str | None = None
    overrides: Overrides = "all"
    types: ArgumentTypes | None = None
    converter: ArgumentTypes | None = None
    check: Callable[..., object] | None = None

    def arguments(
        self, args: list[Any], kwargs: dict[str, Any], context: object, *, force: bool
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call: in the types of the annotations, with the context and `force` if it has them.

        JobError for an argument that does not fit its annotation.
        """
        if self.converter is not None:
            args, kwargs = self.converter.converted(args, kwargs)
        return self.completed(args, kwargs, context, force=force)

    def completed(
        self, args: list[Any], kwargs: dict[str, Any], context: object, *, force: bool
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return arguments with the context and `force` added if the signature has them."""
        if self.context_parameter is None and not self.takes_force:
            return args, kwargs
        positional, named = list(args), dict(kwargs)
        if self.context_parameter is not None and self.context_parameter not in named:
            if self.context_position < len(positional):
                positional.insert(self.context_position, context)
            else:
                named[self.context_parameter] = context
        if self.takes_force:
            named.setdefault("force", force)
        return positional, named


def make_body(job: Job) -> Body:
    """Load a job's function and read its signature; raise JobError if the job's arguments do not fit."""
    func = load_function(job.func) if isinstance(job.func, str) else job.func
    if not callable(func):
        raise JobError(f'job {job.id!r}: func is {func!r}, expected a callable or "package.module:callable"')
    try:
        body = cached_by_function(_read_body, func)
    except JobError as exc:
        raise JobError(f"job {job.id!r}: {exc}") from None
    except BaseException as exc:  # a callable object may raise anything when its attributes are read
        raise JobError(f"job {job.id!r}: the signature of func cannot be read: {safe_repr(exc)}") from exc
    if body.func is not func:  # the cache has a function that is equal to it
        body = msgspec.structs.replace(body, func=func)
    if job.runner is not None and job.runner not in IN_THIS_PROCESS:
        body = msgspec.structs.replace(body, child_target=child_target(job.id, job.func, job.runner))
    if job.overrides is not None:
        body = msgspec.structs.replace(body, overrides=job.overrides)
        _check_overrides(job, body)
    # What is missing can only come with a command.
    check_arguments(job, body, may_be_incomplete=not job.has_schedule and body.overrides != "none")
    return body


def blamed_on(key: str, text: str) -> JobError:
    """Return the error about one key of a job."""
    error = JobError(text)
    error.key = key
    return error


def check_arguments(job: Job, body: Body, *, may_be_incomplete: bool = False) -> None:
    """Raise JobError for arguments that the function does not accept, before the first run.

    With `may_be_incomplete` arguments may be missing; a manual trigger supplies them.
    """
    args, kwargs = body.completed(job.args, job.kwargs, None, force=False)
    problem = cached_by_function(_signature_problem, body.func, len(args), tuple(kwargs), may_be_incomplete)
    if problem is not None:
        text = (
            f"job {job.id!r}: {reference(body.func)} cannot be called with args={safe_repr(job.args, SHOWN)} and "
            f"kwargs={safe_repr(job.kwargs, SHOWN)}: {problem}"
        )
        raise blamed_on("args" if job.args and not job.kwargs else "kwargs", text)


@lru_cache(maxsize=256)
def read_signature(func: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of a function; None for a builtin without one."""
    try:
        return signature_of(func)
    except (TypeError, ValueError):  # some builtins have none
        return None


@lru_cache(maxsize=256)
def _read_body(func: Callable[..., Any]) -> Body:
    """Return the Body of a function. Only what the function itself is counts: a wrapper may do as it likes."""
    calls = (func, type(func).__call__)
    if any(_is_generator_function(call) for call in calls):
        raise JobError(
            f"{reference(func)} is a generator function: calling it runs none of its code; iterate inside the function"
        )
    is_async = any(inspect.iscoroutinefunction(call) for call in calls)
    signature = cached_by_function(read_signature, func)
    overrides = declared_overrides(func)
    if signature is None:
        return Body(func, is_async, overrides=overrides)
    name, position = _context_parameter(signature)
    types = ArgumentTypes.of(func, signature, name)
    converter = types if types is not None and types.converts else None
    return Body(
        func,
        is_async,
        name,
        position,
        _takes_force(signature),
        overrides=overrides,
        types=types,
        converter=converter,
        check=declared_check(func),
    )


def _check_overrides(job: Job, body: Body) -> None:
    """Raise JobError for the name of an argument that the function does not have."""
    signature = cached_by_function(read_signature, body.func)
    if signature is None or isinstance(body.overrides, str):
        return
    parameters = signature.parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.kind in _BY_NAME]
    for name in body.overrides:
        if name not in known:
            hint = close_match(name, known) or f"; its arguments are {', '.join(known) or 'none'}"
            text = f"job {job.id!r}: overrides names {name!r}, which its function does not accept{hint}"
            raise blamed_on("overrides", text)


@lru_cache(maxsize=1024)
def _signature_problem(
    func: Callable[..., Any], count: int, names: tuple[str, ...], may_be_incomplete: bool
) -> str | None:
    """Return why a function cannot be called with `count` positional arguments and these names; None if it can."""
    signature = cached_by_function(read_signature, func)
    if signature is not None:
        named = dict.fromkeys(set(names) - _names_for_var_keyword(signature))
        try:
            (signature.bind_partial if may_be_incomplete else signature.bind)(*range(count), **named)
        except TypeError as exc:
            return f"{exc}{_unknown_name(named, signature, str(exc))}"
    return None


def _unknown_name(names: Iterable[str], signature: inspect.Signature, problem: str) -> str:
    """Return the end of a message about names that do not fit: the first unknown one, and a similar name."""
    unknown = next((name for name in names if name not in signature.parameters), "")
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    is_new = unknown and not takes_any and repr(unknown) not in problem
    return (f"; there is no argument {unknown!r}" if is_new else "") + close_match(unknown, signature.parameters)


def _names_for_var_keyword(signature: inspect.Signature) -> set[str]:
    """Return the names of positional-only parameters that `**kwargs` accepts as keywords.

    `def f(a, b=2, /, **kw)` may be called as `f(1, b=3)`, which `Signature.bind` refuses on some versions of Python.
    """
    parameters = signature.parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return set()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY}


def _takes_force(signature: inspect.Signature) -> bool:
    parameter = signature.parameters.get("force")
    return parameter is not None and parameter.kind is not parameter.POSITIONAL_ONLY


def _is_generator_function(func: Any) -> bool:
    while isinstance(func, functools.partial):
        func = func.func
    code = getattr(getattr(func, "__func__", func), "__code__", None)
    flags = code.co_flags if isinstance(code, CodeType) else 0
    # A generator decorated with @types.coroutine is awaitable, so its code does run.
    return (
        bool(flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)) and not flags & inspect.CO_ITERABLE_COROUTINE
    )


def _name_of(annotation: object) -> str:
    try:
        found = getattr(annotation, "__name__", None) or getattr(annotation, "__forward_arg__", "")
    except BaseException:  # noqa: BLE001 - an object of the user may raise anything when its attributes are read
        return ""
    return found if isinstance(found, str) else ""


def _context_parameter(signature: inspect.Signature) -> tuple[str | None, int]:
    """Return the name and position of the parameter annotated Context; annotations may be text.

    The position of a keyword-only parameter is behind all others.
    """
    for position, (name, parameter) in enumerate(signature.parameters.items()):
        annotation = parameter.annotation
        label = annotation if isinstance(annotation, str) else _name_of(annotation)
        if label.strip("'\"").rpartition(".")[2] == "Context":
            return name, sys.maxsize if parameter.kind is parameter.KEYWORD_ONLY else position
    return None, 0
