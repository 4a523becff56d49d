"""Build an Outcome from what a body returned or raised: JSON where possible, and always bounded in size."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import msgspec

from gnomon.errors import RunCancelled
from gnomon.runners.base import Outcome
from gnomon.text import shorten

VALUE_LIMIT = 64 * 1024
"""Bytes of JSON of a return value; of a larger one, both ends of its repr are kept."""
TRACEBACK_LIMIT = 32 * 1024
MESSAGE_LIMIT = 4 * 1024
"""Characters kept of a traceback and of an error message: both ends, which hold the cause and the place."""


def success_outcome(value: Any, execution_time: float) -> Outcome:
    """Return the outcome of a body that returned `value`."""
    return Outcome(execution_time, None if value is None else as_json(value))


def failure_outcome(exc: BaseException, execution_time: float) -> Outcome:
    """Return the outcome of a body that raised; RunCancelled and CancelledError mean that it was stopped."""
    return Outcome(
        execution_time,
        error_type=_type_name(exc),
        error_message=shorten(_text(exc), MESSAGE_LIMIT),
        traceback=shorten(_format(exc), TRACEBACK_LIMIT),
        cancelled=isinstance(exc, RunCancelled | asyncio.CancelledError),
    )


def as_json(value: Any) -> Any:
    """Return the value as the log gives it back; of a value that is too large or not JSON, the ends of its repr."""
    try:
        encoded = msgspec.json.encode(msgspec.to_builtins(value, str_keys=True))
        if len(encoded) <= VALUE_LIMIT:
            return msgspec.json.decode(encoded)
    except Exception:  # noqa: BLE001, S110 - an object of the body may raise anything when it is read
        pass
    return shorten(_repr(value), VALUE_LIMIT)


def _format(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exc))
    except Exception:  # noqa: BLE001 - the body's exception may raise in __str__
        return "".join(traceback.format_tb(exc.__traceback__)) + type(exc).__name__


def _type_name(exc: BaseException) -> str:
    kind = type(exc)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return shorten(name, MESSAGE_LIMIT)


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - as above
        return f"(the message of this {type(exc).__name__} cannot be shown)"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as above
        return f"(a {type(value).__name__} that cannot be shown)"
