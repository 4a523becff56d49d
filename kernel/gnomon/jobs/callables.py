"""Find the function that a job names, and name a function as "module:qualname"."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import _lru_cache_wrapper, lru_cache
from types import ModuleType
from typing import Any, TypeVar

from gnomon.errors import JobError
from gnomon.text import close_match

T = TypeVar("T")


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


def reference(func: object) -> str:
    """Name a function as "module:qualname"."""
    return func if isinstance(func, str) else of_function(_reference, func)


def of_function(ask: _lru_cache_wrapper[T], func: object, *rest: object) -> T:
    """Ask what is kept about functions, of which jobs by the thousand share a few; one without a hash is read anew."""
    try:
        return ask(func, *rest)
    except TypeError:
        return ask.__wrapped__(func, *rest)


@lru_cache(maxsize=256)
def _reference(func: object) -> str:
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    return f"{getattr(func, '__module__', None) or type(func).__module__}:{name}"
