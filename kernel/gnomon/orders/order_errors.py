"""Errors of orders: written by the kernel that leads, and raised again by the sender, as the same class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from gnomon.domain.orders import OrderError
from gnomon.errors import GnomonError, JobKeysError
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str, safe_traceback

log = get_logger("gnomon.orders")

_OTHERS: dict[str, type[Exception]] = {"ValueError": ValueError, "TypeError": TypeError}
"""Errors that the methods of KernelApi raise besides those of Gnomon."""


def written_error(exc: Exception) -> OrderError:
    """Return an error as its order is answered with it."""
    kind = type(exc).__name__
    if not isinstance(exc, GnomonError) and kind not in _OTHERS:
        log.error("an order failed", exception=safe_traceback(exc))
        return OrderError(GnomonError.__name__, f"the kernel that leads failed: {kind}: {safe_str(exc)}")
    attributes = dict(vars(exc))
    problems: dict[int, OrderError] = {}
    found = attributes.get("problems")
    if isinstance(found, Mapping):
        problems = {number: written_error(problem) for number, problem in attributes.pop("problems").items()}
    attributes = {name: value for name, value in attributes.items() if _is_plain(value)}
    return OrderError(kind, safe_str(exc), attributes, problems)


def raise_error(error: OrderError) -> NoReturn:
    """Raise what an order was answered with; a class that is not known here is raised as a GnomonError."""
    raise read_error(error)


def read_error(error: OrderError) -> Exception:
    """Return the error of an answer: its class, its text and its attributes are those that the kernel raised."""
    kind = _OTHERS.get(error.kind) or next((one for one in _classes(GnomonError) if one.__name__ == error.kind), None)
    if kind is None:
        return GnomonError(error.message)
    exc = kind.__new__(kind, error.message)
    exc.args = (error.message,)
    vars(exc).update(error.attributes)
    if isinstance(exc, JobKeysError):
        exc.problems = [(key, text) for key, text in exc.problems]
    if error.problems:
        vars(exc)["problems"] = {number: read_error(problem) for number, problem in error.problems.items()}
    return exc


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
