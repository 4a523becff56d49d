"""Errors of orders: written by the kernel that leads, and raised again by the sender, as the same class.

An error is written as the names of its class and of those above it. The sender raises the first that it knows, without
importing anything for a name that it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from gnomon.domain.orders import OrderError
from gnomon.errors import GnomonError, JobKeysError
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str, safe_traceback, type_name

log = get_logger("gnomon.orders")

_OTHERS = (ValueError, TypeError)
"""Errors that the methods of KernelApi raise besides those of Gnomon."""


def written_error(exc: Exception) -> OrderError:
    """Return an error as its order is answered with it."""
    kinds = [_name_of(kind) for kind in type(exc).__mro__ if issubclass(kind, (GnomonError, *_OTHERS))]
    if not kinds:
        log.error("an order failed", exception=safe_traceback(exc))
        message = f"the kernel that leads failed: {type_name(exc)}: {safe_str(exc)}"
        return OrderError([_name_of(GnomonError)], message)
    attributes = dict(vars(exc))
    problems: dict[int, OrderError] = {}
    if isinstance(found := attributes.get("problems"), Mapping):
        problems = {number: written_error(problem) for number, problem in found.items()}
        del attributes["problems"]
    attributes = {name: value for name, value in attributes.items() if _is_plain(value)}
    return OrderError(kinds, safe_str(exc), attributes, problems)


def raise_error(error: OrderError) -> NoReturn:
    """Raise what an order was answered with."""
    raise read_error(error)


def read_error(error: OrderError) -> Exception:
    """Return the error of an answer: its class, its text and its attributes are those that the kernel raised.

    Where this process does not know the class, it is the nearest one above that it knows.
    """
    known: dict[str, type[Exception]] = {_name_of(kind): kind for kind in (*_classes(GnomonError), *_OTHERS)}
    kind: type[Exception] = next((known[name] for name in error.kinds if name in known), GnomonError)
    exc: Exception = kind.__new__(kind, error.message)
    exc.args = (error.message,)
    vars(exc).update(error.attributes)
    if isinstance(exc, JobKeysError):
        exc.problems = [(key, text) for key, text in exc.problems]
    if error.problems:
        vars(exc)["problems"] = {number: read_error(problem) for number, problem in error.problems.items()}
    return exc


def _name_of(kind: type[Exception]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _classes(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for one in root.__subclasses__():
        yield from _classes(one)


def _is_plain(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError):
        return False
    return True
