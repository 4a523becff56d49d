"""Complete lifecycles as events with correct versions: for tests of stores, folds and plugins.

    events = await append(store, succeeded("sync"), failed("report", NOON + timedelta(hours=1)))

A history is the list of one stream's events. Positions are assigned by `append` or `numbered`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from gnomon.domain import events, execution, job_state
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.rollback import Rollback
from gnomon.errors import StoreError
from gnomon.ports import Store

E = TypeVar("E", bound=Event)

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def extend(history: Sequence[Event], event_type: type[Event], after: timedelta = SECOND, **payload: Any) -> list[Event]:
    """Return the history with one more event: next version of the same stream, `after` the last event."""
    last = history[-1]
    place = {"stream": last.stream, "version": last.version + 1, "at": last.at + after}
    header: dict[str, Any] = {**place, "node": last.node, "job_id": last.job_id}
    return [*history, event_type(**header, **payload)]


def scheduled(job_id: str = "sync", at: datetime = NOON, **payload: Any) -> list[Event]:
    """Return the history of an accepted fire at `at`; with `attempt` or `is_manual` that of a retry or a manual run."""
    return [_first(events.Scheduled, job_id, at, **payload)]


def running(job_id: str = "sync", at: datetime = NOON, **payload: Any) -> list[Event]:
    """Return the history of a run that started one second after it was due."""
    return extend(scheduled(job_id, at, **payload), events.Started, runner="thread", worker="worker-1", delay=1.0)


def succeeded(job_id: str = "sync", at: datetime = NOON, return_value: Any = None, **payload: Any) -> list[Event]:
    """Return the history of a run that returned after one second."""
    return extend(running(job_id, at, **payload), events.Succeeded, return_value=return_value, execution_time=1.0)


def failed(job_id: str = "sync", at: datetime = NOON, error: str = "boom", **payload: Any) -> list[Event]:
    """Return the history of a run whose body raised a ValueError."""
    outcome: dict[str, Any] = {
        "reason": "exception",
        "error_type": "ValueError",
        "error_message": error,
        "execution_time": 1.0,
    }
    return extend(running(job_id, at, **payload), events.Failed, traceback=f"ValueError: {error}\n", **outcome)


def cancelled(job_id: str = "sync", at: datetime = NOON, actor: str = "ann", **payload: Any) -> list[Event]:
    """Return the history of a run that was asked to stop, and stopped."""
    asked = extend(running(job_id, at, **payload), events.CancelRequested, actor=actor, reason="not today")
    return extend(asked, events.Cancelled, actor=actor, reason="not today", execution_time=2.0)


def snoozed(job_id: str = "sync", at: datetime = NOON, **payload: Any) -> list[Event]:
    """Return the history of a run whose body snoozed for ten minutes."""
    begun = running(job_id, at, **payload)
    until, later = begun[-1].at + timedelta(minutes=10), execution.execution_id(job_id, at, 2)
    snooze: dict[str, Any] = {"reason": "snoozed for 10m: no file", "snoozed_until": until, "snoozed_to": later}
    return extend(begun, events.Cancelled, execution_time=1.0, **snooze)


def missed(
    job_id: str = "sync", at: datetime = NOON, reason: events.MissedReason = "late", **payload: Any
) -> list[Event]:
    """Return the history of a fire that never ran; with count, first and last that of a folded range."""
    return [_first(events.Missed, job_id, at, reason=reason, **payload)]


def imported(job_id: str = "sync", at: datetime = NOON, **payload: Any) -> list[Event]:
    """Return the history of a run of another scheduler that began at `at` and was imported a day later."""
    record: dict[str, Any] = {"source": "cron.runs", "status": "success", "execution_time": 1.0}
    record |= {"scheduled_time": at, "started_at": at, "ended_at": at + SECOND} | payload
    stream = execution.execution_id(f"{job_id}/imported", at)
    return [_first(events.Imported, job_id, at + timedelta(days=1), stream=stream, **record)]


def job_added(job_id: str = "sync", at: datetime = NOON, **definition: Any) -> list[Event]:
    """Return the history of a job that was added at `at`."""
    definition = {"id": job_id, "func": "app:run"} | definition
    return [_first(events.JobAdded, job_id, at, stream=events.job_stream(job_id), definition=definition)]


def kernel_history(at: datetime = NOON, kernel_id: str = "a" * 24, **payload: Any) -> list[Event]:
    """Return the history of a kernel that started, saw its clock set back by an hour, and was stopped."""
    payload = {"host": "machine-a", "pid": 7, "actor": "ann", "versions": {"gnomon": "0.1.0"}} | payload
    stream = events.kernel_stream(kernel_id)
    started = [_first(events.KernelStarted, "", at, stream=stream, **payload)]
    hour, second = 3_600_000_000, 1_000_000
    clocks: dict[str, Any] = {
        "microseconds": hour,
        "wall_microseconds": second - hour,
        "monotonic_microseconds": second,
    }
    changed = extend(started, events.ClockChanged, direction="back", **clocks)
    return extend(changed, events.KernelStopped, reason="SIGTERM")


def kernel_held_up(at: datetime = NOON) -> list[Event]:
    """Return the fact that the trigger of a job blocked the event loop of a kernel."""
    detail = "the event loop was blocked for 3 s by the trigger of job 'sync', at app.py:7 in wait"
    blocked: dict[str, Any] = {"kind": "blocked", "seconds": 3.0, "until": at, "detail": detail, "held_by": "sync"}
    return [_first(events.KernelHeldUp, "", at, stream=events.kernel_stream("d" * 24), **blocked)]


def queue_outage(at: datetime = NOON) -> list[Event]:
    """Return the facts that no worker took the runs of a queue for a minute."""
    about: dict[str, Any] = {"runner": "celery", "queue": "reports", "reason": "no worker takes tasks from it"}
    stalled = _first(events.QueueStalled, "", at, stream=events.kernel_stream("9" * 24), **about)
    later = {"stream": stalled.stream, "version": 2, "at": at + timedelta(minutes=1), "node": "a", "job_id": ""}
    return [stalled, events.QueueResumed(**{**later, **about, "seconds": 60.0})]


def kernel_led(at: datetime = NOON) -> list[Event]:
    """Return the fact that a kernel took over a log with the definitions of its third deployment."""
    term: dict[str, Any] = {
        "pid": 8,
        "why": "take_over",
        "deployment": 3,
        "digest": "0c1f",
        "versions": {"gnomon": "0.1.0"},
    }
    return [_first(events.KernelLed, "", at, stream=events.kernel_stream("f" * 24), **term)]


def act_refused(asked_job_id: str = "tok", at: datetime = NOON, **payload: Any) -> list[Event]:
    """Return the history of a day on which a trigger of an unknown job was refused."""
    act = {"actor": "ann", "action": "trigger", "message": f"there is no job {asked_job_id!r}"} | payload
    stream = events.kernel_stream(f"{'c' * 24}:{at.date()}")
    return [_first(events.ActRefused, "", at, stream=stream, asked_job_id=asked_job_id, **act)]


def access_history(at: datetime = NOON, kernel_id: str = "a" * 24) -> list[Event]:
    """Return the history of a login, its end, and refused requests."""
    login: dict[str, Any] = {"actor": "ann", "via": "token", "session": "b" * 32, "expires": at + timedelta(hours=12)}
    stream = events.kernel_stream(f"{kernel_id}:{at:%Y-%m-%d}")
    history: list[Event] = [_first(events.LoggedIn, "", at, stream=stream, address="203.0.113.9", **login)]
    history = extend(history, events.LoggedOut, actor="ann", name="ann", session="b" * 32, reason="logout")
    refused: dict[str, Any] = {"actor": "nobody", "reason": "invalid-token", "address": "203.0.113.9"}
    return extend(history, events.AccessDenied, detail="POST /login", count=7, first=at, **refused)


def alert_history(job_id: str = "sync", at: datetime = NOON, kernel_id: str = "a" * 24) -> list[Event]:
    """Return the history of an alert about two failures in a row, which was acknowledged, snoozed and resolved."""
    stream = events.kernel_stream(f"{kernel_id}:{at:%Y-%m-%d}")
    about: dict[str, Any] = {"alert_id": "d" * 24}
    opened: dict[str, Any] = {"rule": "failed", "kind": "failed", "severity": "error", "since": at}
    run = execution.execution_id(job_id, at)
    first = [
        _first(
            events.AlertOpened, job_id, at, stream=stream, message="failed: boom", execution_id=run, **about, **opened
        )
    ]
    history = extend(first, events.AlertRepeated, count=2, last=at, message="failed 2 times", **about)
    history = extend(history, events.AlertAcknowledged, actor="ann", reason="looking", **about)
    history = extend(history, events.AlertSnoozed, actor="bob", until=at + timedelta(hours=1), **about)
    return extend(history, events.AlertResolved, why="succeeded", execution_id=run, **about)


def kernel_hold(at: datetime = NOON, kernel_id: str = "e" * 24) -> list[Event]:
    """Return the history of a kernel that an operator held and released."""
    held = [_first(events.KernelHeld, "", at, stream=events.kernel_stream(kernel_id), actor="ann", reason="move")]
    return extend(held, events.KernelReleased, actor="bob", reason="done")


def every_type() -> list[list[Event]]:
    """Return histories in which every event type occurs, and one unknown type."""
    progress: dict[str, Any] = {"percent": 40.0, "message": "half way", "step": "fetch", "processed_items": 2}
    reported = extend(running("progress"), events.Progress, steps=[events.DeclaredStep("fetch", 2.0)], **progress)
    hidden = extend(failed("hidden"), events.Hidden, actor="ann")
    reported = extend(reported, events.Warned, kind="silence", message="no sign of life for 24m", actor="reaper")
    placed = extend(scheduled("placed"), events.HandedOver, runner="celery", queue="reports")
    placed = extend(placed, events.Started, runner="celery", worker="celery@host", delay=3.0)
    late = extend(failed("late"), events.LateResult, outcome="succeeded", return_value=[1, "two", None])
    job = extend(job_added("job"), events.JobPaused, actor="ann", reason="holidays")
    job = extend(extend(job, events.JobResumed, actor="ann"), events.JobChanged, changes={"cron": "* * * * *"})
    job = extend(job, events.JobDescribed, actor="ann", display_name="Nightly", note="ask Bob first")
    act: dict[str, Any] = {
        "source": "cron.history",
        "source_id": "17",
        "action": "pause",
        "acted_at": NOON - timedelta(days=3),
    }
    job = extend(job, events.ActionImported, actor="cid", **act)
    job = extend(job, events.FireSkipped, actor="ann", reason="not today", scheduled_time=NOON)
    job = extend(job, events.BackfillStarted, actor="ann", since=NOON - SECOND, until=NOON, rate="10/m")
    job = extend(job, events.BackfillEnded, actor="ann", by_kernel=True, runs=1, left_out=1)
    return [
        succeeded("success", return_value={"rows": 3}, kwargs={"market": "cn"}, actor="ann", is_manual=True),
        extend(reported, events.Succeeded, execution_time=2.0),
        missed("range", reason="downtime", count=3, first=NOON, last=NOON + 2 * SECOND),
        cancelled("cancelled"),
        snoozed("snoozed"),
        late,
        extend(placed, events.Succeeded, execution_time=2.0),
        hidden,
        imported("imported"),
        extend(job, events.JobRemoved, actor="bob"),
        kernel_history(accepted_rollback=Rollback(last=7, expected=9)),
        kernel_held_up(),
        kernel_led(),
        queue_outage(),
        kernel_hold(),
        act_refused(),
        access_history(),
        alert_history("alerted", kernel_id="0" * 24),
        [unknown("future")],
    ]


def unknown(job_id: str = "sync", at: datetime = NOON) -> events.UnknownEvent:
    """Return an event of an unknown type, as a newer version may write it; the first of its stream."""
    stream = execution.execution_id(job_id, at)
    raw = {"type": "teleported", "stream": stream, "version": 1, "at": at.isoformat(), "job_id": job_id, "node": "b"}
    raw |= {"log_format": events.LOG_FORMAT, "where": ["Mars", 4]}
    return events.UnknownEvent(stream=stream, version=1, at=at, node="b", job_id=job_id, raw=raw)


def numbered(*histories: Iterable[Event], after: int = 0) -> list[Event]:
    """Return the events of the histories, one after the other, with positions from `after` + 1 on."""
    return [_placed(event, position) for position, event in enumerate(itertools.chain(*histories), after + 1)]


def _placed(event: Event, position: int) -> Event:
    """Return the event with a position; the raw data of an unknown event has it too, as if it was read from a log."""
    if isinstance(event, events.UnknownEvent):
        event = msgspec.structs.replace(event, raw={**event.raw, "position": position})
    return msgspec.structs.replace(event, position=position)


async def append(store: Store, *histories: Iterable[Event]) -> list[Event]:
    """Append histories, or their new events, as one batch with the resulting views; return the batch.

    A store may write views behind the events. They are written when this returns, unless the store cannot be read.
    """
    batch = numbered(*histories, after=await store.head())
    executions = [
        view for stream in dict.fromkeys(e.stream for e in batch) if (view := await _view(store, stream, batch))
    ]
    await store.append(batch, executions, await _job_states(store, batch))
    with suppress(StoreError):
        await store.jobs()  # a read waits for the views of everything that was appended
    return batch


def job_states(log: Iterable[Event], known: Iterable[JobState] = ()) -> list[JobState]:
    """Fold events into the states of jobs, starting from the known ones, as the journal does."""
    states = {state.job_id: state for state in known}
    changed = set()
    for event in log:
        is_job_event = isinstance(event, events.JobEvent)
        if event.job_id in states and (is_job_event or event.version == 1):
            states[event.job_id].apply(event)
        elif is_job_event:
            states[event.job_id] = job_state.begin(event)
        else:
            continue
        changed.add(event.job_id)
    return [states[job_id] for job_id in sorted(changed)]


async def _job_states(store: Store, batch: Sequence[Event]) -> list[JobState]:
    return job_states(batch, await store.jobs())


async def _view(store: Store, stream: str, batch: Sequence[Event]) -> Execution | None:
    history = [*await store.stream(stream), *(event for event in batch if event.stream == stream)]
    if not isinstance(history[0], events.ExecutionEvent):
        return None
    return execution.fold(history)


def _first(event_type: type[E], job_id: str, at: datetime, *, stream: str | None = None, **payload: Any) -> E:
    if stream is None:
        payload = {"scheduled_time": at} | payload
        whose = f"{job_id}/manual" if payload.get("is_manual") else job_id
        stream = execution.execution_id(whose, payload["scheduled_time"], payload.get("attempt", 1))
    return event_type(stream=stream, version=1, at=at, node="node-a", job_id=job_id, **payload)
