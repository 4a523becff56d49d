"""Convert between functions and their names, "module:qualname"."""

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
    """Import "package.module:callable"; JobError says what is missing and suggests a similar name."""
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise JobError(f'func {target!r} is not valid, expected "package.module:callable"')
    module = import_module(module_name, target)
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise JobError(f"func {target!r}: {module_name} has no {path!r}{close_match(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise JobError(f"func {target!r} is of type {type(found).__name__}, expected a callable")
    return found  # type: ignore[no-any-return]


def import_module(name: str, wanted_for: str) -> ModuleType:
    """Import a module of the user; anything that the import raises becomes a JobError."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and (name == exc.name or name.startswith(exc.name + ".")):
            raise JobError(
                f"{wanted_for!r}: there is no module {exc.name!r}; add its folder to [kernel] python_path, or install "
                "its distribution"
            ) from exc
        raise JobError(f"{wanted_for!r}: importing {name} failed: {exc}") from exc
    except (Exception, SystemExit) as exc:  # the module may raise anything, a script may exit
        raise JobError(f"{wanted_for!r}: importing {name} failed: {type(exc).__name__}: {exc}") from exc


def reference(func: object) -> str:
    """Return the name of a function as "module:qualname"."""
    return func if isinstance(func, str) else cached_by_function(_reference, func)


def cached_by_function(compute: _lru_cache_wrapper[T], func: object, *rest: object) -> T:
    """Return a cached fact about a function, since thousands of jobs may share one; not cached if it has no hash."""
    try:
        return compute(func, *rest)
    except TypeError:
        return compute.__wrapped__(func, *rest)


@lru_cache(maxsize=256)
def _reference(func: object) -> str:
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    return f"{getattr(func, '__module__', None) or type(func).__module__}:{name}"
