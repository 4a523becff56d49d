"""Gnomon: an event-sourced, plugin-based job scheduler kernel.

The names in `__all__` are the public API. Each is imported when it is first used, so that `import gnomon` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon.api import JobView as JobView
    from gnomon.api import KernelApi as KernelApi
    from gnomon.api import LiveRun as LiveRun
    from gnomon.api import Triggered as Triggered
    from gnomon.config_table import ConfigTable as ConfigTable
    from gnomon.conversion import Secret as Secret
    from gnomon.domain.body_sample import BodySample as BodySample
    from gnomon.domain.body_sample import BodyStack as BodyStack
    from gnomon.domain.body_sample import ProcessUsage as ProcessUsage
    from gnomon.domain.body_sample import StackFrame as StackFrame
    from gnomon.domain.events import AccessDenied as AccessDenied
    from gnomon.domain.events import ActionImported as ActionImported
    from gnomon.domain.events import ActRefused as ActRefused
    from gnomon.domain.events import AlertAcknowledged as AlertAcknowledged
    from gnomon.domain.events import AlertEvent as AlertEvent
    from gnomon.domain.events import AlertOpened as AlertOpened
    from gnomon.domain.events import AlertRepeated as AlertRepeated
    from gnomon.domain.events import AlertResolved as AlertResolved
    from gnomon.domain.events import AlertSnoozed as AlertSnoozed
    from gnomon.domain.events import Cancelled as Cancelled
    from gnomon.domain.events import CancelRequested as CancelRequested
    from gnomon.domain.events import ClockChanged as ClockChanged
    from gnomon.domain.events import Event as Event
    from gnomon.domain.events import Failed as Failed
    from gnomon.domain.events import HandedOver as HandedOver
    from gnomon.domain.events import Hidden as Hidden
    from gnomon.domain.events import Imported as Imported
    from gnomon.domain.events import JobAdded as JobAdded
    from gnomon.domain.events import JobChanged as JobChanged
    from gnomon.domain.events import JobDescribed as JobDescribed
    from gnomon.domain.events import JobEvent as JobEvent
    from gnomon.domain.events import JobPaused as JobPaused
    from gnomon.domain.events import JobRemoved as JobRemoved
    from gnomon.domain.events import JobResumed as JobResumed
    from gnomon.domain.events import KernelEvent as KernelEvent
    from gnomon.domain.events import KernelHeldUp as KernelHeldUp
    from gnomon.domain.events import KernelLed as KernelLed
    from gnomon.domain.events import KernelStarted as KernelStarted
    from gnomon.domain.events import KernelStopped as KernelStopped
    from gnomon.domain.events import LateResult as LateResult
    from gnomon.domain.events import LoggedIn as LoggedIn
    from gnomon.domain.events import LoggedOut as LoggedOut
    from gnomon.domain.events import Missed as Missed
    from gnomon.domain.events import Progress as Progress
    from gnomon.domain.events import QueueResumed as QueueResumed
    from gnomon.domain.events import QueueStalled as QueueStalled
    from gnomon.domain.events import Scheduled as Scheduled
    from gnomon.domain.events import Started as Started
    from gnomon.domain.events import Succeeded as Succeeded
    from gnomon.domain.events import UnknownEvent as UnknownEvent
    from gnomon.domain.events import Warned as Warned
    from gnomon.domain.execution import Execution as Execution
    from gnomon.domain.hand_over import HandOver as HandOver
    from gnomon.domain.job_state import JobState as JobState
    from gnomon.domain.kernel_health import GroupHealth as GroupHealth
    from gnomon.domain.kernel_health import Health as Health
    from gnomon.domain.kernel_health import PluginHealth as PluginHealth
    from gnomon.domain.kernel_member import KernelMember as KernelMember
    from gnomon.domain.records import Checkpoint as Checkpoint
    from gnomon.domain.records import ExecutionQuery as ExecutionQuery
    from gnomon.domain.records import LogLine as LogLine
    from gnomon.domain.records import Page as Page
    from gnomon.domain.run_exits import RunCancelled as RunCancelled
    from gnomon.domain.run_exits import RunSnoozed as RunSnoozed
    from gnomon.domain.run_order import RunOrder as RunOrder
    from gnomon.domain.secret_references import SecretReference as SecretReference
    from gnomon.domain.workers import QueueState as QueueState
    from gnomon.domain.workers import WorkerState as WorkerState
    from gnomon.domain.workers import WorkerView as WorkerView
    from gnomon.durations import Duration as Duration
    from gnomon.embedding.background import BackgroundKernel as BackgroundKernel
    from gnomon.errors import ArgumentError as ArgumentError
    from gnomon.errors import AttachedJobError as AttachedJobError
    from gnomon.errors import ConfigError as ConfigError
    from gnomon.errors import ConflictError as ConflictError
    from gnomon.errors import DeposedError as DeposedError
    from gnomon.errors import ExecutionOverError as ExecutionOverError
    from gnomon.errors import ExecutionRunningError as ExecutionRunningError
    from gnomon.errors import ForeignJobError as ForeignJobError
    from gnomon.errors import ForkedProcessError as ForkedProcessError
    from gnomon.errors import GnomonError as GnomonError
    from gnomon.errors import IdempotencyKeyError as IdempotencyKeyError
    from gnomon.errors import JobConflictError as JobConflictError
    from gnomon.errors import JobError as JobError
    from gnomon.errors import JobExistsError as JobExistsError
    from gnomon.errors import JobOrdersError as JobOrdersError
    from gnomon.errors import NoLeaderError as NoLeaderError
    from gnomon.errors import NotInRunError as NotInRunError
    from gnomon.errors import OrderLostError as OrderLostError
    from gnomon.errors import OverrideError as OverrideError
    from gnomon.errors import ParameterError as ParameterError
    from gnomon.errors import PastError as PastError
    from gnomon.errors import PluginError as PluginError
    from gnomon.errors import QueueFullError as QueueFullError
    from gnomon.errors import ReservedNameError as ReservedNameError
    from gnomon.errors import RolledBackError as RolledBackError
    from gnomon.errors import RunOrdersError as RunOrdersError
    from gnomon.errors import SecretError as SecretError
    from gnomon.errors import StepDownError as StepDownError
    from gnomon.errors import StoreError as StoreError
    from gnomon.errors import StoreInUseError as StoreInUseError
    from gnomon.errors import StoreUnavailableError as StoreUnavailableError
    from gnomon.errors import TransitionError as TransitionError
    from gnomon.errors import TriggerDepthError as TriggerDepthError
    from gnomon.errors import TriggerError as TriggerError
    from gnomon.errors import UnknownExecutionError as UnknownExecutionError
    from gnomon.errors import UnknownJobError as UnknownJobError
    from gnomon.errors import UnsafeFileError as UnsafeFileError
    from gnomon.hookspecs import hookimpl as hookimpl
    from gnomon.jobs.decorator import job as job
    from gnomon.jobs.job import Job as Job
    from gnomon.jobs.job import Retry as Retry
    from gnomon.jobs.overrides import default_overrides as default_overrides
    from gnomon.kernel import Kernel as Kernel
    from gnomon.outbox.delivery_errors import DeliveryDelayedError as DeliveryDelayedError
    from gnomon.outbox.delivery_errors import DeliveryRefusedError as DeliveryRefusedError
    from gnomon.outbox.destination import Destination as Destination
    from gnomon.outbox.http_answers import check_answer as check_answer
    from gnomon.outbox.outbox import Outbox as Outbox
    from gnomon.ports import Clock as Clock
    from gnomon.ports import Store as Store
    from gnomon.runners.base import Outcome as Outcome
    from gnomon.runners.base import Placement as Placement
    from gnomon.runners.base import Run as Run
    from gnomon.runners.base import Runner as Runner
    from gnomon.runners.context import Context as Context
    from gnomon.runners.context import current as current

_HOMES = {
    "api": ("JobView", "KernelApi", "LiveRun", "Triggered"),
    "config_table": ("ConfigTable",),
    "conversion": ("Secret",),
    "embedding.background": ("BackgroundKernel",),
    "domain.body_sample": ("BodySample", "BodyStack", "ProcessUsage", "StackFrame"),
    "domain.events": (
        "ActRefused",
        "ActionImported",
        "AlertAcknowledged",
        "AlertEvent",
        "AlertOpened",
        "AlertRepeated",
        "AlertResolved",
        "AlertSnoozed",
        "CancelRequested",
        "Cancelled",
        "AccessDenied",
        "ClockChanged",
        "LoggedIn",
        "LoggedOut",
        "Event",
        "Failed",
        "HandedOver",
        "Hidden",
        "Imported",
        "JobAdded",
        "JobChanged",
        "JobDescribed",
        "JobEvent",
        "JobPaused",
        "JobRemoved",
        "JobResumed",
        "KernelEvent",
        "KernelHeldUp",
        "QueueResumed",
        "QueueStalled",
        "KernelLed",
        "KernelStarted",
        "KernelStopped",
        "LateResult",
        "Missed",
        "Progress",
        "Scheduled",
        "Started",
        "Succeeded",
        "UnknownEvent",
        "Warned",
    ),
    "domain.kernel_health": ("GroupHealth", "Health", "PluginHealth"),
    "domain.hand_over": ("HandOver",),
    "domain.kernel_member": ("KernelMember",),
    "domain.execution": ("Execution",),
    "domain.job_state": ("JobState",),
    "domain.records": (
        "Checkpoint",
        "ExecutionQuery",
        "LogLine",
        "Page",
    ),
    "domain.run_exits": (
        "RunCancelled",
        "RunSnoozed",
    ),
    "domain.run_order": ("RunOrder",),
    "domain.secret_references": ("SecretReference",),
    "domain.workers": ("QueueState", "WorkerState", "WorkerView"),
    "durations": ("Duration",),
    "errors": (
        "ActTextError",
        "ConfigError",
        "ConflictError",
        "DeposedError",
        "ExecutionOverError",
        "ExecutionRunningError",
        "GnomonError",
        "IdempotencyKeyError",
        "AttachedJobError",
        "ForeignJobError",
        "ForkedProcessError",
        "JobConflictError",
        "JobExistsError",
        "JobOrdersError",
        "JobError",
        "NoLeaderError",
        "NotInRunError",
        "OrderLostError",
        "ParameterError",
        "PastError",
        "PluginError",
        "QueueFullError",
        "RolledBackError",
        "RunOrdersError",
        "ReservedNameError",
        "SecretError",
        "ArgumentError",
        "OverrideError",
        "StepDownError",
        "StoreError",
        "StoreInUseError",
        "StoreUnavailableError",
        "TransitionError",
        "TriggerDepthError",
        "TriggerError",
        "UnknownExecutionError",
        "UnknownJobError",
        "UnsafeFileError",
    ),
    "hookspecs": ("hookimpl",),
    "jobs.decorator": ("job",),
    "jobs.job": (
        "Job",
        "Retry",
    ),
    "jobs.overrides": ("default_overrides",),
    "kernel": ("Kernel",),
    "outbox.delivery_errors": ("DeliveryDelayedError", "DeliveryRefusedError"),
    "outbox.destination": ("Destination",),
    "outbox.http_answers": ("check_answer",),
    "outbox.outbox": ("Outbox",),
    "ports": (
        "Clock",
        "Store",
    ),
    "runners.base": ("Outcome", "Placement", "Run", "Runner"),
    "runners.context": (
        "Context",
        "current",
    ),
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
