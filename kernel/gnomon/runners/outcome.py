"""Build an Outcome from what a body returned or raised: JSON where possible, and always bounded in size.

Reading an object of a body runs the body's code, which may raise anything. None of it leaves this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.domain.run_exits import RunCancelled, RunSnoozed
from gnomon.durations import snooze_delay
from gnomon.json_depth import CUT, is_text_too_deep, is_too_deep
from gnomon.runners.base import Outcome, Snooze
from gnomon.runners.masking import Mask, hide_secret
from gnomon.safe_text import safe_repr, safe_str, safe_traceback, type_name

VALUE_LIMIT = 64 * 1024
"""Bytes of JSON of a return value; of a larger one, both ends of its repr are kept."""
ERROR_LIMIT = 4 * 1024
"""Characters kept of an error message: both ends, which hold the cause and the place."""


SENT = ("execution_time", "value", "error_type", "error_message", "traceback", "cancelled", "snooze")
"""The fields of an outcome that every message about the end of a body has too."""


def sent_fields(end: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that an outcome and a message about it share, from one for the other."""
    return {name: getattr(end, name) for name in SENT}


def success_outcome(value: Any, execution_time: float, mask: Mask | None = None) -> Outcome:
    """Return the outcome of a body that returned `value`, without the secrets of the run."""
    return Outcome(execution_time, None if value is None else as_json(value, mask))


def failure_outcome(exc: BaseException, execution_time: float, mask: Mask | None = None) -> Outcome:
    """Return the outcome of a body that raised; RunCancelled and CancelledError mean that it was stopped.

    RunSnoozed, alone or from a task group, means that it is to run again later.
    """
    hide = mask.hide if mask is not None else None
    if (snooze := _snooze(exc, hide)) is not None:
        return Outcome(execution_time, cancelled=True, snooze=snooze)
    return Outcome(
        execution_time,
        error_type=type_name(exc),
        error_message=safe_str(exc, ERROR_LIMIT, hide),
        traceback=safe_traceback(exc, hide=hide),
        cancelled=issubclass(type(exc), RunCancelled | asyncio.CancelledError),  # isinstance() asks for __class__ too
        exception=exc if mask is None else None,
    )


def _snooze(exc: BaseException, hide: Callable[[str], str] | None) -> Snooze | None:
    """Return the snooze with which a body ended: a task group wraps the exception, and may hold nothing else.

    None for any other exception, and for one that the body made itself, with values that are not valid.
    """
    while type(exc) is BaseExceptionGroup and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    if type(exc) is not RunSnoozed:
        return None
    try:
        return Snooze(snooze_delay(exc.delay).total_seconds(), safe_str(exc.reason, ERROR_LIMIT, hide))
    except (ValueError, AttributeError):
        return None


def as_json(value: Any, mask: Mask | None = None) -> Any:
    """Return the value as the log gives it back; of one too large, too deep or not JSON, the ends of its repr."""
    hide = mask.hide if mask is not None else None
    try:
        if is_too_deep(value):
            raise RecursionError
        encoded = msgspec.json.encode(msgspec.to_builtins(value, str_keys=True, enc_hook=hide_secret))
        if is_text_too_deep(encoded):
            raise RecursionError
        if len(encoded) <= VALUE_LIMIT:
            decoded = msgspec.json.decode(encoded)
            return decoded if mask is None else mask.hide_in(decoded)
    except RecursionError:
        return f"{CUT} {safe_repr(value, VALUE_LIMIT, hide)}"
    except BaseException:  # noqa: BLE001, S110 - an object of the body may raise anything when it is read
        pass
    return safe_repr(value, VALUE_LIMIT, hide)
