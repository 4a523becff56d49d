"""Every hook, its docstring is its manual. An implementation asks only for the arguments that it wants, by name.

Four kinds. *Observation* hooks (`on_...`) are told facts, after they are durable, in order, on the plugin's own
thread and event loop, where `def` and `async def` both do; what one raises, or how long it takes, is its own affair.
*Decision* hooks (`guard`) are asked before something happens. *Contribution* hooks (`register_...`) are called once,
at start-up, in the kernel's thread; an error there stops the start and names the plugin. *Trial* hooks
(`try_connection`) are asked before there is a kernel at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from gnomon.domain import events
    from gnomon.jobs.job import Job
    from gnomon.kernel import Kernel
    from gnomon.ports import Store

hookspec = pluggy.HookspecMarker("gnomon")
hookimpl = pluggy.HookimplMarker("gnomon")


@hookspec
def on_scheduled(event: events.Scheduled, replaying: bool) -> None:
    """Learn that a run was accepted: a fire that came due, a manual trigger or a retry.

    `replaying` is true for events that were written before this kernel started.
    """


@hookspec
def on_started(event: events.Started, replaying: bool) -> None:
    """Learn that a body is about to run."""


@hookspec
def on_progress(event: events.Progress, replaying: bool) -> None:
    """Learn what a body told of itself; at most a few events a second for each execution."""


@hookspec
def on_succeeded(event: events.Succeeded, replaying: bool) -> None:
    """Learn that a body returned."""


@hookspec
def on_failed(event: events.Failed, replaying: bool) -> None:
    """Learn that a run failed; `event.reason` says in which way."""


@hookspec
def on_missed(event: events.Missed, replaying: bool) -> None:
    """Learn that a fire, or a range of fires, did not run; `event.reason` and `event.detail` say why."""


@hookspec
def on_cancelled(event: events.Cancelled, replaying: bool) -> None:
    """Learn that a run was stopped because somebody asked for it."""


@hookspec
def on_warned(event: events.Warned, replaying: bool) -> None:
    """Learn that a run needs a look before it comes to harm, such as one that gives no sign of life any more."""


@hookspec
def on_job_changed(event: events.JobEvent, replaying: bool) -> None:
    """Learn that a job was added, changed, paused, resumed, described or removed; the event's class says which."""


@hookspec
def on_event(event: events.Event, replaying: bool) -> None:
    """Learn every event of the log, the ones above too, and those of types that have no hook of their own.

    It is called before the event's own hook. Events of types that this version does not know come as UnknownEvent.
    """


@hookspec
def on_events(events: Sequence[events.Event], replaying: bool) -> None:
    """Learn the same as on_event, many at once: what one commit wrote, or a page of the log, in order.

    For plugins that take in thousands of events a second. It is called before the hooks of the single events; where it
    raises or takes too long, that counts as one failure, and the next call begins after the last event of this one.
    """


@hookspec
def lifespan(kernel: Kernel) -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
    """Return an async context manager that is entered before the plugin's first event and left after its last one.

    It runs on the plugin's own event loop, as the observation hooks do. The kernel's coroutines may be awaited from
    there; no body runs before all plugins have entered theirs. Entering may take a minute, leaving ten seconds; an
    error while entering stops the start of the kernel.
    """


@hookspec
def guard(job: Job, scheduled_time: datetime) -> str | None:
    """Say in a plain sentence why a fire must not run now, or return None to let it.

    Asked before a fire is accepted, for scheduled fires and manual triggers, but not with `force`. The first reason is
    recorded as missed(guard). It must answer quickly and without awaiting; a guard that raises does not stop a job.
    """


@hookspec
def register_store(register: Callable[[Store], None]) -> None:
    """Offer the store that keeps the log: `register(store)`. Exactly one enabled plugin does this."""


@hookspec
def register_jobs(register: Callable[..., None]) -> None:
    """Offer jobs: `register(job)` with a Job, a function declared with @job, or the keys of a Job by name."""


@hookspec
def try_connection() -> str:  # type: ignore[empty-body]
    """Reach what the plugin talks to, and tell in a sentence what was found there: the server, its version, the log.

    Asked by `gnomon check --connect`, without a kernel, on a thread and an event loop of its own; `def` and `async def`
    both do. Change nothing, keep nothing open, and try everything that a start would need, such as permissions. An
    exception says what is wrong: its text is shown as it is, so no secrets in it, and what to do next. It has
    `[kernel] hook_timeout`.
    """


OBSERVATIONS: dict[str, str] = {
    "scheduled": "on_scheduled",
    "started": "on_started",
    "progress": "on_progress",
    "succeeded": "on_succeeded",
    "failed": "on_failed",
    "missed": "on_missed",
    "cancelled": "on_cancelled",
    "warned": "on_warned",
    **dict.fromkeys(
        ("job_added", "job_changed", "job_removed", "job_paused", "job_resumed", "job_described"), "on_job_changed"
    ),
}
"""From an event's type to the hook that is told of it, besides on_event."""

OBSERVATION_HOOKS: tuple[str, ...] = ("on_events", "on_event", *dict.fromkeys(OBSERVATIONS.values()))

MAY_WAIT: tuple[str, ...] = (*OBSERVATION_HOOKS, "try_connection")
"""Hooks that may be written as `async def`."""

CONTRIBUTION = "register_"
"""What the names of contribution hooks begin with, those of plugins too: their one argument is `register`."""
