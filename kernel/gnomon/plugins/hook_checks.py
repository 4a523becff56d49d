"""Checks hooks before they are registered: refuses what would not be called, or not as its author expects."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gnomon import hookspecs
from gnomon.hookspecs import CONTRIBUTION, MAY_WAIT
from gnomon.text import close_match

HOOKS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if hasattr(spec, "gnomon_spec")
}
"""Every hook with its arguments, in the order of hookspecs.py."""

NEARLY_THE_SAME = 0.9
"""Similarity of two names, of 1, from which one is taken for a misspelling of the other."""


def marked_hooks(plugin: Any) -> list[str]:
    """Return the hooks that a plugin, or its class, implements: the kernel's in their order, then those of plugins."""
    marks = {name: getattr(inspect.getattr_static(plugin, name, None), "gnomon_impl", None) for name in dir(plugin)}
    marked = {str(options["specname"] or name) for name, options in marks.items() if isinstance(options, dict)}
    return [*(hook for hook in HOOKS if hook in marked), *sorted(marked.difference(HOOKS))]


def unmarked_hooks(plugin: Any) -> list[str]:
    """Return the functions that have the name of a hook but not the mark, so they would never be called."""
    found = {hook: inspect.getattr_static(plugin, hook, None) for hook in HOOKS}
    return [hook for hook, it in found.items() if inspect.isroutine(it) and not hasattr(it, "gnomon_impl")]


def near_misses(plugin: Any) -> list[tuple[str, str]]:
    """Return functions that are not hooks of the kernel, each with the hook whose name is nearly the same.

    That may be intended, as for a hook of another plugin, so it is not an error.
    """
    found = []
    for name in dir(plugin):
        near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=NEARLY_THE_SAME)
        if near and name not in HOOKS:
            function = inspect.getattr_static(plugin, name, None)
            options = getattr(function, "gnomon_impl", None) or {}
            if inspect.isroutine(function) and options.get("specname") not in HOOKS:
                found.append((name, near[0]))
    return found


def hook_problem(hook: str, function: Callable[..., Any], options: Mapping[str, Any]) -> str | None:
    """Return why an implementation could not be called as its author expects, or None."""
    known = HOOKS.get(hook)
    if known is None and not options.get("optionalhook"):
        return f"implements {hook!r}, which is not a known hook{_meant(hook)}"
    if known is None and not hook.startswith(CONTRIBUTION):
        return None
    if options.get("wrapper") or options.get("hookwrapper"):
        return f"wraps {hook}: plugins are called one by one, so there is nothing to wrap; use `lifespan` for a set-up"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        what = "put @contextlib.asynccontextmanager under its @hookimpl" if hook == "lifespan" else "it must not"
        return f"yields in {hook}: {what}"
    if hook not in MAY_WAIT and inspect.iscoroutinefunction(function):
        return f"has an `async def {hook}`, which is never awaited: make it a plain `def`"
    return _argument_problem(hook, function, ("register",) if known is None else known)


def _meant(hook: str) -> str:
    hint = close_match(hook, HOOKS) or f"; known are {', '.join(HOOKS)}"
    if not hook.startswith(CONTRIBUTION):
        return hint
    end = "" if hint.endswith("?") else "."
    return f"{hint}{end} One that another plugin offers, such as register_routes, takes @hookimpl(optionalhook=True)"


def _argument_problem(hook: str, function: Callable[..., Any], known: tuple[str, ...]) -> str | None:
    # pluggy passes positional arguments only, and silently omits those with a default.
    given = inspect.signature(function).parameters
    if hook.startswith(CONTRIBUTION) and not given:
        return f"has {hook} without the argument 'register', which it must call for each item: it contributes nothing"
    for parameter in given.values():
        is_plain = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
        if not is_plain or parameter.name not in known:
            hint = close_match(parameter.name, known) if parameter.name not in known else ""
            possible = f"possible are {', '.join(known)}, without defaults" if known else "it has no arguments"
            return f"has the argument {str(parameter)!r} in {hook}; {possible}{hint}"
    return None
