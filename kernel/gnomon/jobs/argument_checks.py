"""What a function says about arguments that it would refuse, before the first run of a job with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from gnomon.domain.secret_references import references
from gnomon.safe_text import safe_str
from gnomon.signatures import signature_of

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__gnomon_check__"


def checks_arguments(check: Callable[..., object]) -> Callable[[F], F]:
    """Declare how the arguments of jobs with a function are checked when a job is defined.

        def check(*, argv: list[str]) -> None:
            if not argv:
                raise ValueError("argv is empty, expected a program and its arguments")

        @checks_arguments(check)
        def shell(*, argv: list[str]) -> None: ...

    `check` is called with the arguments of the job; what it raises refuses the job, and its attribute `argument`, if it
    has one, names the argument. Refuse what can never be right, such as a number below zero, and not what may become
    right before the first run, such as the path of a file that does not exist yet. It is not called for a job whose
    arguments are incomplete, or refer to secrets.
    """

    def declare(function: F) -> F:
        setattr(function, _ATTRIBUTE, check)
        return function

    return declare


def declared_check(func: object) -> Callable[..., object] | None:
    """Return the check that a function declares, or None."""
    found = inspect.getattr_static(func, _ATTRIBUTE, None)
    return found if callable(found) else None


def refused_arguments(
    check: Callable[..., object], args: list[Any], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of what a check says about the arguments of a job: one problem at most."""
    if any(references(args, "args")) or any(references(dict(kwargs), "kwargs")):
        return
    try:
        signature_of(check).bind(*args, **kwargs)
    except TypeError:
        return
    try:
        check(*args, **kwargs)
    except BaseException as exc:  # noqa: BLE001 - the check is code of the function's author, and may raise anything
        argument = vars(exc).get("argument")
        yield (f"kwargs.{argument}" if isinstance(argument, str) else ""), safe_str(exc)
