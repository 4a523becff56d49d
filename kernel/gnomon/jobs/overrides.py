"""Which arguments of a job a command may set for one run: the key `overrides`, and the default of a function.

Setting an argument may be as good as running code: the arguments of a shell command are code. So the function of a job
may declare that nobody sets its arguments unless the job says otherwise.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any, Literal, TypeVar

from gnomon.errors import OverrideError

F = TypeVar("F", bound=Callable[..., Any])
Overrides = list[str] | Literal["all", "none"]

_ATTRIBUTE = "__gnomon_overrides__"


def default_overrides(overrides: Overrides) -> Callable[[F], F]:
    """Declare which arguments commands may set for jobs of a function that do not have the key `overrides`.

        @default_overrides("none")
        def shell(command: str) -> None: ...

    Use "none" where an argument decides what is executed, written or called. Without this decorator it is "all".
    """

    def declare(function: F) -> F:
        setattr(function, _ATTRIBUTE, overrides)
        return function

    return declare


def declared_overrides(func: object) -> Overrides:
    """Return what a function declares, or what it wraps; "all" without a declaration."""
    while func is not None:
        # Statically, since an object of the user may raise anything when its attributes are read.
        found = inspect.getattr_static(func, _ATTRIBUTE, None)
        if isinstance(found, list) or found in {"all", "none"}:
            return found  # type: ignore[no-any-return]
        func = _inner(func)
    return "all"


def check_overrides(job_id: str, overrides: Overrides, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise OverrideError for an argument that may not be set; the job's own value may always be repeated."""
    if overrides == "all":
        return
    accepted = [] if overrides == "none" else overrides
    for key in _changed(own, given):
        if key not in accepted:
            raise OverrideError(job_id, key, accepted)


def _changed(own: Mapping[str, Any], given: Mapping[str, Any]) -> Iterable[str]:
    return (key for key, value in given.items() if key not in own or not _equal(own[key], value))


def _equal(own: Any, given: Any) -> bool:
    """Compare as JSON does: True is not 1."""
    if isinstance(own, bool) or isinstance(given, bool):
        return own is given
    if isinstance(own, Mapping) and isinstance(given, Mapping):
        return own.keys() == given.keys() and all(_equal(value, given[key]) for key, value in own.items())
    if isinstance(own, list | tuple) and isinstance(given, list | tuple):
        return len(own) == len(given) and all(map(_equal, own, given))
    return bool(own == given)


def _inner(func: object) -> object:
    """Return the function in a partial, a bound method or a wrapper, or None."""
    if isinstance(func, functools.partial):
        return func.func
    if isinstance(func, MethodType):
        return func.__func__
    return vars(func).get("__wrapped__") if isinstance(func, FunctionType) else None
