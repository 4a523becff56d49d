"""The events about a kernel itself: its start and stop, what held it up, and acts that it refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from gnomon.domain.event_base import KernelEvent
from gnomon.domain.operator_events import Hold
from gnomon.domain.rollback import Rollback


class KernelStarted(KernelEvent, frozen=True, kw_only=True, tag="kernel_started"):
    """A kernel began to write this log.

    `actor` is the operating system's user. `versions` are those of gnomon and Python, and of what computes fires:
    `zone data`, `cronsim`, `apscheduler`. `groups` has the limits that jobs share. `accepted_rollback` is set where the
    log had lost events and that was accepted, `hold` while an operator holds all fires back.
    """

    host: str
    pid: int
    actor: str | None = None
    versions: dict[str, str] = {}
    keeps_time: bool = True
    accepted_rollback: Rollback | None = None
    groups: dict[str, dict[str, Any]] = {}
    hold: Hold | None = None


class KernelLed(KernelEvent, frozen=True, kw_only=True, tag="kernel_led"):
    """A kernel leads the log with the definitions of a deployment; `why` says how it came to that.

    `start`: it was started. `take_over`: it followed the kernel that led before. `reload`: its definitions were
    replaced. `deployment` is a number that rises with each other set of definitions, and `digest` is that of the set.
    `revision` is that of these definitions, where the program gives one, and `newest_revision` the newest one so far;
    they differ after a reload has gone back to an older one. `versions` are those of `kernel_started`. `actor` is who
    put other definitions in force than the log had: who asked for the reload, with the `reason`, or the user that the
    process runs as.
    """

    pid: int
    why: Literal["start", "take_over", "reload"]
    deployment: int
    digest: str
    revision: str | None = None
    newest_revision: str | None = None
    versions: dict[str, str] = {}
    actor: str | None = None
    reason: str | None = None


class KernelStopped(KernelEvent, frozen=True, kw_only=True, tag="kernel_stopped"):
    """A kernel stopped in order, or stepped down; one that was killed, or lost its log, does not record it.

    `actor` is who asked it to step down.
    """

    reason: str
    actor: str | None = None


class ClockChanged(KernelEvent, frozen=True, kw_only=True, tag="clock_changed"):
    """The wall clock was set by `microseconds`, or the machine suspended; the others are how far each clock went."""

    direction: Literal["forward", "back"]
    microseconds: int
    wall_microseconds: int
    monotonic_microseconds: int


class KernelHeldUp(KernelEvent, frozen=True, kw_only=True, tag="kernel_held_up"):
    """The kernel could process nothing for some seconds until `until`: `detail` is a sentence about the cause.

    `paused`: its process did not run. `blocked`: code outside of runs blocked its event loop, such as the trigger of
    `held_by`. `cut_off`: the store accepted no runs. A run that blocks the loop has a `warned` event instead. At most
    one a minute of each kind is recorded.
    """

    kind: Literal["paused", "blocked", "cut_off"]
    seconds: float
    until: datetime
    detail: str
    held_by: str | None = None


class QueueStalled(KernelEvent, frozen=True, kw_only=True, tag="queue_stalled"):
    """Runs that were handed over to a queue of workers elsewhere do not begin, for this `reason`.

    One fact stands for all runs that wait there, until `queue_resumed`; a kernel that starts meanwhile repeats it.
    """

    runner: str
    queue: str
    reason: str


class QueueResumed(KernelEvent, frozen=True, kw_only=True, tag="queue_resumed"):
    """No run waits in a queue any more for the `reason` of its `queue_stalled`, `seconds` after that."""

    runner: str
    queue: str
    reason: str
    seconds: float


class ActRefused(KernelEvent, frozen=True, kw_only=True, tag="act_refused"):
    """An act of an operator was refused, for example because `asked_job_id` or `execution_id` is unknown.

    `left_out` counts the refused acts of this actor before it that were too many to record.
    """

    actor: str
    action: str
    message: str
    asked_job_id: str = ""
    execution_id: str | None = None
    left_out: int = 0
