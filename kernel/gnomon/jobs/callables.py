"""Convert between functions and their names, "module:qualname"."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import _lru_cache_wrapper, lru_cache
from importlib.machinery import ModuleSpec
from types import MethodType, ModuleType
from typing import Any, TypeVar

from gnomon.errors import JobError
from gnomon.safe_text import class_module, class_name, safe_str, type_name
from gnomon.text import close_match

T = TypeVar("T")


def load_function(target: str) -> Callable[..., Any]:
    """Import "package.module:callable"; JobError says what is missing and suggests a similar name."""
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise JobError(f'func {target!r} is not valid, expected "package.module:callable"')
    module = import_module(module_name, target)
    try:
        found = _attribute_at(module, path, target)
    except JobError:
        raise
    except BaseException as exc:  # a module or class may raise anything when its attributes are read
        raise JobError(f"func {target!r} cannot be read: {type_name(exc)}: {safe_str(exc)}") from exc
    if not callable(found):
        raise JobError(f"func {target!r} is of type {class_name(type(found))}, expected a callable")
    return found  # type: ignore[no-any-return]


def _attribute_at(module: ModuleType, path: str, target: str) -> Any:
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise JobError(f"func {target!r}: {module.__name__} has no {path!r}{close_match(part, dir(found))}")
        found = getattr(found, part)
    return found


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
    except BaseException as exc:  # the module may raise anything, a script may exit
        raise JobError(f"{wanted_for!r}: importing {name} failed: {type_name(exc)}: {safe_str(exc)}") from exc


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
    try:
        name, module = getattr(func, "__qualname__", None), getattr(func, "__module__", None)
    except BaseException:  # noqa: BLE001 - an object of the user may raise anything when its attributes are read
        name = module = None
    kind = type(func)
    module = module if isinstance(module, str) and module else class_module(kind)
    return f"{module}:{name if isinstance(name, str) and name else class_name(kind)}"


def child_target(job_id: str, func: Callable[..., Any] | str, runner: str) -> str:
    """Return the name by which another process imports a function; JobError if it would find another one or none."""
    name = reference(func)
    module_name = name.partition(":")[0]
    problem = _import_problem(module_name)
    if problem is None and not isinstance(func, str):
        problem = name_problem(func)
    if problem is not None:
        other = "a child process" if runner == "process" else "another process"
        raise JobError(
            f'job {job_id!r} has runner = "{runner}", but {other} cannot import its function {name}: {problem}; '
            'define the function at the top level of a module, and give func as "module:function"'
        )
    return name


def name_problem(func: Callable[..., Any]) -> str | None:
    """Return why the name of a function does not lead to it, as for a lambda; None if it does."""
    name = reference(func)
    try:
        found = load_function(name)
    except JobError as exc:
        return str(exc)
    return None if _is_same(found, func) else f"{name} is another object than the function of the job"


def _is_same(found: Any, func: Any) -> bool:
    """Compare by identity; a method is a new object whenever it is looked up."""
    if isinstance(found, MethodType) and isinstance(func, MethodType):
        return found.__func__ is func.__func__ and found.__self__ is func.__self__
    return found is func


def _import_problem(name: str) -> str | None:
    """Return why a fresh interpreter with this sys.path would not import the module that this one has; else None."""
    if name == "__main__":
        return "it is in the program that was started"
    spec = getattr(import_module(name, name), "__spec__", None)
    if spec is None:
        return f"the module {name} exists only in this process"
    found: ModuleSpec | None = None
    path: Sequence[str] | None = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        package = ".".join(parts[:end])
        found = _search(package, path)
        if found is None:
            return f"there is no module {package} in sys.path"
        path = getattr(sys.modules.get(package), "__path__", None)
    if found is not None and found.origin != spec.origin:
        return f"its sys.path has another module {name}, {found.origin}, and not {spec.origin}"
    return None


def _search(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Search for a module as an import does, but not among the modules that are imported already."""
    for finder in sys.meta_path:
        if (found := finder.find_spec(name, path)) is not None:
            return found
    return None
