"""How the function of a job is found, what its signature asks for, and whether its arguments fit."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gnomon.errors import JobError
from gnomon.jobs.callables import load_function, of_function, reference

if TYPE_CHECKING:
    from gnomon.jobs.job import Job

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True):
    """A job's function, and what its signature asks the kernel for."""

    func: Callable[..., Any]
    is_async: bool
    context_parameter: str | None = None
    context_position: int = 0
    takes_force: bool = False

    def arguments(
        self, args: list[Any], kwargs: dict[str, Any], context: object, *, force: bool
    ) -> tuple[list[Any], dict[str, Any]]:
        """Put the context, and `force`, among the arguments of a run where the signature asks for them."""
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
    """Load a job's function and read its signature; JobError where its arguments do not fit."""
    func = load_function(job.func) if isinstance(job.func, str) else job.func
    if not callable(func):
        raise JobError(f'job {job.id!r}: func is {func!r}, expected a callable or "package.module:callable"')
    body = of_function(_read_body, func)
    if body.func is not func:  # another one that equals it
        body = msgspec.structs.replace(body, func=func)
    check_arguments(job, body, may_lack=not job.has_schedule)
    return body


def check_arguments(job: Job, body: Body, *, may_lack: bool = False) -> None:
    """Refuse args and kwargs that the function cannot take, before the first run rather than at it.

    `may_lack` lets arguments be missing, which a trigger by hand is to bring.
    """
    args, kwargs = body.arguments(job.args, job.kwargs, None, force=False)
    if (problem := of_function(_misfit, body.func, len(args), tuple(kwargs), may_lack)) is not None:
        raise JobError(
            f"job {job.id!r}: {reference(body.func)} cannot be called with args={job.args!r} and "
            f"kwargs={job.kwargs!r}: {problem}"
        )


@lru_cache(maxsize=256)
def _read_signature(func: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):  # some builtins have none
        return None


@lru_cache(maxsize=256)
def _read_body(func: Callable[..., Any]) -> Body:
    """Tell whether it is a coroutine function, and what its signature asks for."""
    is_async = any(inspect.iscoroutinefunction(call) for call in (inspect.unwrap(func), type(func).__call__))
    signature = of_function(_read_signature, func)
    if signature is None:
        return Body(func, is_async)
    name, position = _context_parameter(signature)
    return Body(func, is_async, name, position, "force" in signature.parameters)


@lru_cache(maxsize=1024)
def _misfit(func: Callable[..., Any], count: int, names: tuple[str, ...], may_lack: bool) -> str | None:
    """Say why a function cannot be called with so many arguments and these names; what they hold does not matter."""
    signature = of_function(_read_signature, func)
    if signature is not None:
        try:
            (signature.bind_partial if may_lack else signature.bind)(*range(count), **dict.fromkeys(names))
        except TypeError as exc:
            return str(exc)
    return None


def _context_parameter(signature: inspect.Signature) -> tuple[str | None, int]:
    """Find the parameter that is annotated Context and where it stands, also where annotations are kept as text.

    One that can only be given by name stands behind all others.
    """
    for position, (name, parameter) in enumerate(signature.parameters.items()):
        annotation = parameter.annotation
        label = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        if label.strip("'\"").rpartition(".")[2] == "Context":
            return name, sys.maxsize if parameter.kind is parameter.KEYWORD_ONLY else position
    return None, 0
