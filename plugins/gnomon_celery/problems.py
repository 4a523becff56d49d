"""Errors of the broker and of Redis as sentences that say what to do. They contain no passwords."""

from __future__ import annotations

import amqp.exceptions
from redis import exceptions as errors

from gnomon import GnomonError
from gnomon_celery.config import CeleryConfig


class CeleryServerError(GnomonError):
    """The broker, or the Redis of the channel, does not do what it was asked to."""


_LOGIN = (
    errors.AuthenticationError,
    errors.AuthorizationError,
    amqp.exceptions.AccessRefused,
    amqp.exceptions.NotAllowed,
)
_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (errors.NoPermissionError, "does not permit this: grant the user of `{key}` all keys that Celery and Gnomon use"),
    (_LOGIN, "rejects the user or the password: check `{key}`"),
    (errors.ReadOnlyError, "is a read-only replica: set `{key}` to its master"),
    (errors.OutOfMemoryError, "is out of memory: raise its maxmemory"),
    (errors.BusyLoadingError, "is loading its data"),
    (errors.ResponseError, "rejects a command: check the server's log"),
    ((TimeoutError, errors.TimeoutError), "does not respond in time"),
)
"""The first that fits counts."""


def channel_problem(exc: BaseException, config: CeleryConfig) -> str:
    """Return a sentence for an error of the Redis through which workers report."""
    return _problem(exc, f"the channel from the workers, Redis at {config.channel_address},", "channel", config)


def broker_problem(exc: BaseException, config: CeleryConfig) -> str:
    """Return a sentence for an error of the broker that is not about a message."""
    return _problem(cause_of(exc), f"the broker {config.broker_address}", "broker", config)


def cause_of(exc: BaseException) -> BaseException:
    """Return the driver's error: kombu wraps it."""
    return exc.__cause__ or exc


def detail(exc: BaseException, config: CeleryConfig) -> str:
    """Return the class and the text of a driver's error, without passwords and on one line."""
    text = " ".join(config.hide(str(exc)).split())
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _problem(exc: BaseException, where: str, key: str, config: CeleryConfig) -> str:
    what = next((text for kind, text in _KINDS if isinstance(exc, kind)), "cannot be reached")
    if isinstance(exc, errors.ResponseError) and str(exc).startswith(("NOAUTH", "WRONGPASS")):
        what = "rejects the user or the password: check `{key}`"
    return f"{where} {what.format(key=key)} ({detail(exc, config)})"
