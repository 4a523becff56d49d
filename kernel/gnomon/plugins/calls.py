"""The one way in which the kernel calls code of a plugin.

Whatever a plugin raises ends its own call and nothing else: SystemExit, KeyboardInterrupt and CancelledError included,
which would otherwise end the process or stop a task of the kernel. The problem becomes a bounded, writable text.

* `contained`: around a call in the plugin's own thread; the caller applies the time limit.
* `call_within`: a call with a time limit from synchronous code, in its own thread.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from gnomon.errors import GnomonError
from gnomon.safe_text import exact, safe_str, type_name

T = TypeVar("T")


class PluginCallError(Exception):
    """A call of a plugin failed; the message says how, the cause is what it raised."""


@contextmanager
def contained() -> Iterator[None]:
    """Raise PluginCallError for whatever the block raises."""
    try:
        yield
    except BaseException as exc:
        raise PluginCallError(describe(exc)) from exc


def describe(exc: BaseException) -> str:
    """Return what was raised in one text: of an error of Gnomon its message, of a task group what failed in it."""
    if isinstance(exc, PluginCallError):
        return safe_str(exc)
    if isinstance(exc, BaseExceptionGroup):
        return exact(", ".join(map(describe, exc.exceptions)))
    message = safe_str(exc)
    return message if isinstance(exc, GnomonError) else f"{type_name(exc)}: {message}" if message else type_name(exc)


def call_within(limit_s: float, name: str, function: Callable[..., T], *args: Any) -> T:
    """Call a function in a daemon thread and return its result; raise PluginCallError when it fails or takes too long.

    A call that does not return is abandoned: its thread cannot be stopped, and does not keep the process alive.
    """
    outcome: list[tuple[T | None, BaseException | None]] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.append((context.run(function, *args), None))
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            outcome.append((None, exc))

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        raise PluginCallError(f"did not return within {limit_s:g} s")
    result, exc = outcome[0]
    if exc is not None:
        raise PluginCallError(describe(exc)) from exc
    return result  # type: ignore[return-value]
