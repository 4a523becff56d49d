"""How the function of a job is found, what its signature asks for, and whether its arguments fit."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gnomon.errors import JobError
from gnomon.spelling import close_match

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    from gnomon.jobs import Job

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


def load_function(target: str) -> Callable[..., Any]:
    """Import "package.module:callable"; JobError tells what is missing and what is there instead."""
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise JobError(f'func {target!r} cannot be read: expected "package.module:callable"')
    module = import_module(module_name, target)
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise JobError(f"func {target!r}: {module_name} has no {path!r}{close_match(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise JobError(f"func {target!r} is of type {type(found).__name__}, expected something that can be called")
    return found  # type: ignore[no-any-return]


def import_module(name: str, wanted_for: str) -> ModuleType:
    """Import a module of the user; whatever its import raises becomes a JobError that says so."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and (name == exc.name or name.startswith(exc.name + ".")):
            raise JobError(
                f"{wanted_for!r}: there is no module {exc.name!r}; is its folder in [kernel] python_path, or its "
                "distribution installed?"
            ) from exc
        raise JobError(f"{wanted_for!r}: importing {name} failed: {exc}") from exc
    except (Exception, SystemExit) as exc:  # the user's module may raise anything, a script may end itself
        raise JobError(f"{wanted_for!r}: importing {name} failed: {type(exc).__name__}: {exc}") from exc


def make_body(job: Job) -> Body:
    """Load a job's function and read its signature; JobError where its arguments do not fit."""
    func = load_function(job.func) if isinstance(job.func, str) else job.func
    if not callable(func):
        raise JobError(f'job {job.id!r}: func is {func!r}, expected a callable or "package.module:callable"')
    body = _of_function(_read_body, func)
    if body.func is not func:  # another one that equals it
        body = msgspec.structs.replace(body, func=func)
    check_arguments(job, body, may_lack=not job.has_schedule)
    return body


def check_arguments(job: Job, body: Body, *, may_lack: bool = False) -> None:
    """Refuse args and kwargs that the function cannot take, before the first run rather than at it.

    `may_lack` lets arguments be missing, which a trigger by hand is to bring.
    """
    args, kwargs = body.arguments(job.args, job.kwargs, None, force=False)
    if (problem := _of_function(_misfit, body.func, len(args), tuple(kwargs), may_lack)) is not None:
        raise JobError(
            f"job {job.id!r}: {reference(body.func)} cannot be called with args={job.args!r} and "
            f"kwargs={job.kwargs!r}: {problem}"
        )


def reference(func: object) -> str:
    """Name a function as "module:qualname"."""
    return func if isinstance(func, str) else _of_function(_reference, func)


def _of_function(ask: _lru_cache_wrapper[T], func: object, *rest: object) -> T:
    """Ask what is kept about functions, of which jobs by the thousand share a few; one without a hash is read anew."""
    try:
        return ask(func, *rest)
    except TypeError:
        return ask.__wrapped__(func, *rest)


@lru_cache(maxsize=256)
def _reference(func: object) -> str:
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    return f"{getattr(func, '__module__', None) or type(func).__module__}:{name}"


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
    signature = _of_function(_read_signature, func)
    if signature is None:
        return Body(func, is_async)
    name, position = _context_parameter(signature)
    return Body(func, is_async, name, position, "force" in signature.parameters)


@lru_cache(maxsize=1024)
def _misfit(func: Callable[..., Any], count: int, names: tuple[str, ...], may_lack: bool) -> str | None:
    """Say why a function cannot be called with so many arguments and these names; what they hold does not matter."""
    signature = _of_function(_read_signature, func)
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
