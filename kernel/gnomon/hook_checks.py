"""Check hooks before they are registered: refuse what would not be called, or not as its author thinks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gnomon import hookspecs
from gnomon.hookspecs import MAY_WAIT
from gnomon.jobs import close_match

HOOKS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if hasattr(spec, "gnomon_spec")
}
"""Every hook with its arguments, in the order of hookspecs.py."""


def hook_problem(hook: str, function: Callable[..., Any], options: Mapping[str, Any]) -> str | None:
    """Say why an implementation could not be called, or not as its author thinks."""
    if hook not in HOOKS:
        hint = close_match(hook, HOOKS) or f"; known are {', '.join(HOOKS)}"
        return None if options.get("optionalhook") else f"implements {hook!r}, which is no hook{hint}"
    if options.get("wrapper") or options.get("hookwrapper"):
        return f"wraps {hook}: every plugin is called on its own, there is nothing to wrap; use `lifespan` for a set-up"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        what = "put @contextlib.asynccontextmanager under its @hookimpl" if hook == "lifespan" else "it must not"
        return f"yields in {hook}: {what}"
    if hook not in MAY_WAIT and inspect.iscoroutinefunction(function):
        return f"has an `async def {hook}`, which nobody awaits: make it a plain `def`"
    return _argument_problem(hook, function, HOOKS[hook])


def _argument_problem(hook: str, function: Callable[..., Any], known: tuple[str, ...]) -> str | None:
    # pluggy passes positional arguments only and leaves out those with a default, without a word.
    for parameter in inspect.signature(function).parameters.values():
        is_plain = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
        if not is_plain or parameter.name not in known:
            hint = close_match(parameter.name, known) if parameter.name not in known else ""
            possible = f"possible are {', '.join(known)}, without defaults" if known else "it has no arguments"
            return f"asks in {hook} for {str(parameter)!r}; {possible}{hint}"
    return None
