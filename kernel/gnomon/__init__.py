"""Gnomon: an event-sourced, plugin-based job scheduler kernel.

What is named here is the public API; it is loaded when it is first used, so that `import gnomon` costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon.context import Context, current
    from gnomon.durations import Duration
    from gnomon.errors import (
        ConfigError,
        ConflictError,
        DeposedError,
        ExecutionOverError,
        GnomonError,
        JobError,
        NotInRunError,
        PluginError,
        RunCancelled,
        StoreError,
        StoreInUseError,
        StoreUnavailableError,
        TransitionError,
        TriggerError,
        UnknownExecutionError,
        UnknownJobError,
    )
    from gnomon.events import (
        Cancelled,
        CancelRequested,
        Event,
        Failed,
        JobAdded,
        JobChanged,
        JobPaused,
        JobRemoved,
        JobResumed,
        LateResult,
        Missed,
        Progress,
        Scheduled,
        Started,
        Succeeded,
        UnknownEvent,
    )
    from gnomon.execution import Execution
    from gnomon.hookspecs import hookimpl
    from gnomon.jobs import Job, Retry, job
    from gnomon.kernel import Kernel
    from gnomon.ports import Clock, ExecutionQuery, Page, Store

_HOMES = {
    "context": ("Context", "current"),
    "durations": ("Duration",),
    "errors": (
        "ConfigError",
        "ConflictError",
        "DeposedError",
        "ExecutionOverError",
        "GnomonError",
        "JobError",
        "NotInRunError",
        "PluginError",
        "RunCancelled",
        "StoreError",
        "StoreInUseError",
        "StoreUnavailableError",
        "TransitionError",
        "TriggerError",
        "UnknownExecutionError",
        "UnknownJobError",
    ),
    "events": (
        "CancelRequested",
        "Cancelled",
        "Event",
        "Failed",
        "JobAdded",
        "JobChanged",
        "JobPaused",
        "JobRemoved",
        "JobResumed",
        "LateResult",
        "Missed",
        "Progress",
        "Scheduled",
        "Started",
        "Succeeded",
        "UnknownEvent",
    ),
    "execution": ("Execution",),
    "hookspecs": ("hookimpl",),
    "jobs": ("Job", "Retry", "job"),
    "kernel": ("Kernel",),
    "ports": ("Clock", "ExecutionQuery", "Page", "Store"),
}
_HOME_OF = {name: f"gnomon.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: PLE0604, F822 - the names above, in order
    *sorted(_HOME_OF)
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gnomon' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
