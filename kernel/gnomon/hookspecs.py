"""Every hook; its docstring is its manual. An implementation names only the arguments that it needs.

There are five kinds. *Observation* hooks (`on_...`) receive events after they are durable, in order, on the plugin's
own thread and event loop; `def` and `async def` both work. An exception or a slow hook affects only its own plugin.
*Decision* hooks (`guard`) are called before something happens. *Contribution* hooks (`register_...`) are called once,
at start-up, in a thread, with 60 s; an exception stops the start and names the plugin. *Reload* hooks (`reload`) apply
a changed config. *Trial* hooks (`try_connection`) are called without a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import msgspec

    from gnomon.api import KernelApi
    from gnomon.domain import events
    from gnomon.domain.kernel_health import Role
    from gnomon.jobs.job import Job
    from gnomon.ports import Store
    from gnomon.runners.base import Runner

hookspec = pluggy.HookspecMarker("gnomon")
hookimpl = pluggy.HookimplMarker("gnomon")


@hookspec
def on_scheduled(event: events.Scheduled, replaying: bool) -> None:
    """Receive the event of an accepted run: a fire that came due, a manual trigger or a retry.

    `replaying` is true for events that were written before this kernel started.
    """


@hookspec
def on_started(event: events.Started, replaying: bool) -> None:
    """Receive the event of a body that is about to run."""


@hookspec
def on_progress(event: events.Progress, replaying: bool) -> None:
    """Receive progress that a body reported; at most a few events a second for each execution."""


@hookspec
def on_succeeded(event: events.Succeeded, replaying: bool) -> None:
    """Receive the event of a body that returned."""


@hookspec
def on_failed(event: events.Failed, replaying: bool) -> None:
    """Receive the event of a failed run; `event.reason` is the kind of failure."""


@hookspec
def on_missed(event: events.Missed, replaying: bool) -> None:
    """Receive the event of a fire, or a range of fires, that did not run; `event.reason` and `event.detail` say why."""


@hookspec
def on_cancelled(event: events.Cancelled, replaying: bool) -> None:
    """Receive the event of a run that was cancelled on request, or whose body snoozed: `snoozed_until` is set then."""


@hookspec
def on_warned(event: events.Warned, replaying: bool) -> None:
    """Receive a warning about a live run, such as one that no longer gives a sign of life."""


@hookspec
def on_job_changed(event: events.JobEvent, replaying: bool) -> None:
    """Receive the event of a job that was added, changed, paused, resumed, described or removed.

    The event's class says which.
    """


@hookspec
def on_event(event: events.Event, replaying: bool) -> None:
    """Receive every event of the log, also those of types that have no hook of their own.

    It is called before the event's own hook. Events of types that this version does not know arrive as UnknownEvent.
    """


@hookspec
def on_events(events: Sequence[events.Event], replaying: bool) -> None:
    """Receive the same events as on_event, many in one call: those of one commit, or a page of the log, in order.

    For plugins that handle thousands of events a second. It is called before the hooks of the single events. A call
    that raises or exceeds the time limit counts as one failure, and the next call begins after its last event.
    """


@hookspec
def lifespan(kernel: KernelApi) -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
    """Return an async context manager that is entered before the plugin's first event and left after its last one.

    It runs on the plugin's own event loop, like the observation hooks, and may await the kernel's coroutines. No body
    runs before all plugins have entered theirs. Entering may take a minute, leaving ten seconds. An exception while
    entering stops the start of the kernel.
    """


@hookspec
def guard(job: Job, scheduled_time: datetime) -> str | None:
    """Return a plain sentence that says why a fire must not run now, or None to allow it.

    Called before a fire is accepted, for scheduled fires and manual triggers, but not with `force`. The first reason is
    recorded as missed(guard). It must return quickly and cannot await; if a guard raises, the run starts anyway.
    """


@hookspec
def register_store(register: Callable[[Store], None]) -> None:
    """Provide the store that keeps the log: `register(store)`. Exactly one enabled plugin does this."""


@hookspec
def register_runners(register: Callable[[Runner], None]) -> None:
    """Provide runners, which run the bodies of jobs that name them: `register(runner)`.

    A job chooses one with `runner = "NAME"`. The hook is called once in a process; the kernel that leads enters and
    leaves the `lifespan` of each runner. `gnomon.testing.contracts.RunnerContract` checks what a runner owes.
    """


@hookspec
def register_jobs(register: Callable[..., None]) -> None:
    """Provide jobs: `register(job)` with a Job, a function decorated with @job, or the keys of a Job by name."""


@hookspec
def reload(config: msgspec.Struct) -> Iterable[str]:  # type: ignore[empty-body]
    """Apply the section of the plugin as it is now, and return the keys whose new values count from now on.

    Called by `gnomon reload` on the plugin's own event loop, after the whole config has been checked, also where
    nothing has changed; `def` and `async def` both work. `config` is the plugin's `Config`, with the present content of
    the variables and files that it refers to. Other keys that have changed are reported: they need a restart. An
    exception is logged, and the changed keys are reported as not applied.
    """


@hookspec
def try_connection(role: Role) -> str:  # type: ignore[empty-body]
    """Connect to the plugin's server and return a sentence about what was found: the server, its version, the log.

    Called by `gnomon check --connect`, without a kernel, on a thread and an event loop of its own; `def` and
    `async def` both work. `role` is that of the kernel that would start: "leader", "auto" or "follower". Change
    nothing, keep nothing open, and check everything that a start in this role needs, such as permissions. The text of
    an exception is shown as it is: write no secrets in it, and say what to do next. The time limit is
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
"""The hook of each event type, besides on_event and on_events."""

OBSERVATION_HOOKS: tuple[str, ...] = ("on_events", "on_event", *dict.fromkeys(OBSERVATIONS.values()))

MAY_WAIT: tuple[str, ...] = (*OBSERVATION_HOOKS, "reload", "try_connection")
"""Hooks that may be written as `async def`."""

CONTRIBUTION = "register_"
"""The prefix of contribution hooks, those that plugins offer too: their one argument is `register`."""
