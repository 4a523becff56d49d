"""Gnomon: an event-sourced, plugin-based job scheduler kernel.

What is named here is the public API; it is loaded when it is first used, so that `import gnomon` costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon.context import Context as Context
    from gnomon.context import current as current
    from gnomon.durations import Duration as Duration
    from gnomon.errors import ConfigError as ConfigError
    from gnomon.errors import ConflictError as ConflictError
    from gnomon.errors import DeposedError as DeposedError
    from gnomon.errors import ExecutionOverError as ExecutionOverError
    from gnomon.errors import ExecutionRunningError as ExecutionRunningError
    from gnomon.errors import GnomonError as GnomonError
    from gnomon.errors import JobError as JobError
    from gnomon.errors import NotInRunError as NotInRunError
    from gnomon.errors import PluginError as PluginError
    from gnomon.errors import RunCancelled as RunCancelled
    from gnomon.errors import StoreError as StoreError
    from gnomon.errors import StoreInUseError as StoreInUseError
    from gnomon.errors import StoreUnavailableError as StoreUnavailableError
    from gnomon.errors import TransitionError as TransitionError
    from gnomon.errors import TriggerError as TriggerError
    from gnomon.errors import UnknownExecutionError as UnknownExecutionError
    from gnomon.errors import UnknownJobError as UnknownJobError
    from gnomon.events import Cancelled as Cancelled
    from gnomon.events import CancelRequested as CancelRequested
    from gnomon.events import Event as Event
    from gnomon.events import Failed as Failed
    from gnomon.events import Hidden as Hidden
    from gnomon.events import JobAdded as JobAdded
    from gnomon.events import JobChanged as JobChanged
    from gnomon.events import JobDescribed as JobDescribed
    from gnomon.events import JobPaused as JobPaused
    from gnomon.events import JobRemoved as JobRemoved
    from gnomon.events import JobResumed as JobResumed
    from gnomon.events import LateResult as LateResult
    from gnomon.events import Missed as Missed
    from gnomon.events import Progress as Progress
    from gnomon.events import Scheduled as Scheduled
    from gnomon.events import Started as Started
    from gnomon.events import Succeeded as Succeeded
    from gnomon.events import UnknownEvent as UnknownEvent
    from gnomon.events import Warned as Warned
    from gnomon.execution import Execution as Execution
    from gnomon.hookspecs import hookimpl as hookimpl
    from gnomon.jobs import Job as Job
    from gnomon.jobs import Retry as Retry
    from gnomon.jobs import job as job
    from gnomon.kernel import Kernel as Kernel
    from gnomon.ports import Checkpoint as Checkpoint
    from gnomon.ports import Clock as Clock
    from gnomon.ports import ExecutionQuery as ExecutionQuery
    from gnomon.ports import Page as Page
    from gnomon.ports import Store as Store

_HOMES = {
    "context": ("Context", "current"),
    "durations": ("Duration",),
    "errors": (
        "ConfigError",
        "ConflictError",
        "DeposedError",
        "ExecutionOverError",
        "ExecutionRunningError",
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
        "Hidden",
        "JobAdded",
        "JobChanged",
        "JobDescribed",
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
        "Warned",
    ),
    "execution": ("Execution",),
    "hookspecs": ("hookimpl",),
    "jobs": ("Job", "Retry", "job"),
    "kernel": ("Kernel",),
    "ports": ("Checkpoint", "Clock", "ExecutionQuery", "Page", "Store"),
}
_HOME_OF = {name: f"gnomon.{home}" for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - the names above, each in one place


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gnomon' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
