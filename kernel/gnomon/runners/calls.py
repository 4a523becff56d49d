"""Complete the call of a body: what it returns is awaited where it has not run yet, and refused where it never would.

A plain function may return a coroutine: a lambda or a decorator around an async function does. Calling it has run
nothing, so recording a success would be wrong.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Coroutine
from types import AsyncGeneratorType, CoroutineType, GeneratorType, NoneType
from typing import Any

from gnomon.jobs.body import Body
from gnomon.runners.context import Context

FINISHED = frozenset({NoneType, bool, int, float, str, dict, list})
"""The types of usual results, which need no further look."""
LAZY = (GeneratorType, AsyncGeneratorType, map, filter)


def is_awaitable(value: Any) -> bool:
    """Return whether the result of a plain function is to be awaited. Asks its type: `__class__` may be anything."""
    return _is_pending(value) or hasattr(type(value), "__await__")


def call_body(
    body: Body,
    args: list[Any],
    kwargs: dict[str, Any],
    context: Context,
    run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
) -> Any:
    """Call the function of a body with its context, and return its result; `run` awaits what is awaitable."""
    args, kwargs = body.arguments(args, kwargs, context, force=context.force)
    if body.is_async:
        return run(awaited(body.func(*args, **kwargs)))
    return complete(body.func(*args, **kwargs), run=run)


def complete(value: Any, run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run) -> Any:
    """Return the result of a plain function, after `run` has awaited it if it is awaitable."""
    return run(awaited(value)) if is_awaitable(value) else checked(value)


async def awaited(value: Any) -> Any:
    """Await the result of a call, and the coroutines and tasks that come out of it."""
    return await awaited_again(await value)


async def awaited_again(value: Any) -> Any:
    """Await the coroutines and tasks that came out of an awaited call; other results are checked."""
    # Only those: other objects may return themselves when they are awaited, as connection pools do.
    while _is_pending(value):
        value = await value
    return checked(value)


def checked(value: Any) -> Any:
    """Return a result; raise TypeError for one that has run nothing yet and that nobody will iterate."""
    kind = type(value)
    if issubclass(kind, LAZY):
        raise TypeError(
            f"the function returned an object of type {kind.__name__} whose code has not run, because nothing iterates "
            "it; iterate in the function, and return the result"
        )
    return value


def exit_if_forked(process_id: int, exc: BaseException | None = None) -> None:
    """End this process if the body has forked it: it would go on as a second kernel on the same log."""
    if os.getpid() == process_id:
        return
    code = exc.code if isinstance(exc, SystemExit) else int(exc is not None)
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


def _is_pending(value: Any) -> bool:
    kind = type(value)
    if issubclass(kind, GeneratorType):  # of a generator that is decorated with @types.coroutine
        return bool(value.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE)
    return issubclass(kind, CoroutineType | asyncio.Future)
