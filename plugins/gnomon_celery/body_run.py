"""Run one body in a worker: claim it, call its function, report how it ended.

A message may come twice: the broker delivers again what was not acknowledged in time, and the kernel sends again what
it does not know the fate of. The claim decides: whichever message has it first begins the body, and all others end
here without having called anything.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.run_exits import RunCancelled
from gnomon.errors import JobError
from gnomon.jobs.body import make_body
from gnomon.jobs.callables import load_function
from gnomon.jobs.job import Job
from gnomon.jobs.secrets import open_arguments
from gnomon.runners.base import Outcome
from gnomon.runners.calls import call_body, exit_if_forked
from gnomon.runners.context import entered
from gnomon.runners.log_capture import install_capture
from gnomon.runners.outcome import failure_outcome, success_outcome
from gnomon_celery.channel import worker_of
from gnomon_celery.code_versions import code_version
from gnomon_celery.hosted_run import HostedRun
from gnomon_celery.messages import PROTOCOL, Assignment, Begun
from gnomon_celery.run_output import capture_output, flush_output
from gnomon_celery.worker_channel import WorkerChannel

log = logging.getLogger("gnomon.celery")

STOPPED = (
    "the process was terminated (SIGTERM) while the body ran, and not by its kernel: the worker was stopped without "
    "waiting for its bodies, or the task was revoked"
)
UNKNOWN_FUNCTION = "unknown_function"
TERMINATED = -(256 - signal.SIGTERM)
"""The exit code with which the handler of SIGTERM in a child of a prefork pool interrupts the body: it is how Celery's
`terminate` stops one that does not stop by itself."""


class ProtocolError(Exception):
    """A worker cannot read the messages of a newer kernel."""


class UnknownFunctionError(Exception):
    """A worker cannot import the function of a job."""


class _RunHead(msgspec.Struct):
    id: str
    job_id: str


class _Head(msgspec.Struct):
    """What every version of the protocol has."""

    protocol: int
    execution: _RunHead
    func: str
    channel: str
    claim_ttl: int
    result_ttl: int


def run_assignment(text: str, worker: str, channel: WorkerChannel) -> None:
    """Run the body of an assignment, unless its run is claimed already; return when its end is posted."""
    assignment = _decode(text)
    execution = assignment.execution
    run = HostedRun(assignment, f"{os.getpid()}-{secrets.token_hex(8)}", channel)
    begun = Begun(id=execution.id, n=1, worker=worker, at=datetime.now(UTC), code=_imported_code(assignment.func))
    if (holder := channel.begin(run, begun)) is not None:
        worker_with_it = worker_of(holder)
        why = f"worker {worker_with_it} has taken it" if worker_with_it is not None else "its kernel has withdrawn it"
        log.warning("run %s of job %r does not begin: %s", execution.id, execution.job_id, why)
        return
    outcome, reason = _outcome(run, worker)
    _log_end(execution, outcome)
    run.end(outcome, reason)
    _deliver(run, channel)
    if run.is_terminated:
        sys.exit(TERMINATED)  # Celery expects the process to end, and starts another one


@lru_cache(maxsize=1_000)
def _imported_code(func: str) -> str | None:
    """Return the version of a function's code as it was when this process first ran it; a later one is not imported."""
    return code_version(func)


def _deliver(run: HostedRun, channel: WorkerChannel) -> None:
    """Post the end of a run, and wait until it is posted; a signal to terminate does not lose it."""
    deliver: Callable[[], Any] = partial(channel.post_end, run)
    while not run.delivered.is_set():
        try:
            deliver()
        except SystemExit as exc:
            if exc.code != TERMINATED:
                raise
            run.is_terminated = True
        deliver = run.delivered.wait


def _log_end(execution: Execution, outcome: Outcome) -> None:
    if outcome.error_type is not None and not outcome.cancelled:
        what = outcome.traceback or f"{outcome.error_type}: {outcome.error_message}"
        log.error("run %s of job %r failed\n%s", execution.id, execution.job_id, what)


def _decode(text: str) -> Assignment:
    """Return an assignment; of one in a newer version of the protocol, what is needed to say so to its kernel."""
    head = msgspec.json.decode(text, type=_Head)
    if head.protocol <= PROTOCOL:
        return msgspec.json.decode(text, type=Assignment)
    run, now = head.execution, datetime.now(UTC)
    execution = Execution(
        id=run.id, job_id=run.job_id, status="scheduled", scheduled_time=now, timestamp=now, updated_at=now
    )
    return Assignment(
        protocol=head.protocol,
        execution=execution,
        func=head.func,
        channel=head.channel,
        claim_ttl=head.claim_ttl,
        result_ttl=head.result_ttl,
    )


def _outcome(run: HostedRun, worker: str) -> tuple[Outcome, str | None]:
    assignment, process_id, started = run.assignment, os.getpid(), time.monotonic()
    execution, context = assignment.execution, run.context
    reason = None
    try:
        if assignment.protocol > PROTOCOL:
            raise ProtocolError(
                f"the worker {worker} speaks version {PROTOCOL} of the protocol, and the kernel sent version "
                f"{assignment.protocol}: install the kernel's version of gnomon on the worker and restart it"
            )
        install_capture()
        capture_output()
        try:
            func = load_function(assignment.func)
        except JobError as exc:
            reason = UNKNOWN_FUNCTION
            raise UnknownFunctionError(
                f"the worker {worker} cannot import the function of the job: {exc}; deploy the code there, or set the "
                "queue of the job to one of workers that have it"
            ) from exc
        args, kwargs, hidden = open_arguments(execution.args, execution.kwargs)
        context.hide(*hidden)
        body = make_body(Job(id=execution.job_id, func=func, args=execution.args, kwargs=execution.kwargs))
        started = time.monotonic()
        try:
            with entered(context):
                value = call_body(body, args, kwargs, context, run.run_on_loop)
        finally:
            flush_output(context)
    except BaseException as exc:  # noqa: BLE001 - a body may raise anything, SystemExit too: only its run ends
        exit_if_forked(process_id, exc)
        if isinstance(exc, SystemExit) and exc.code == TERMINATED:
            run.is_terminated = True
            if not context.cancel_requested:
                return Outcome(time.monotonic() - started, error_type="WorkerStopped", error_message=STOPPED), "lost"
            exc = RunCancelled().with_traceback(exc.__traceback__)
        return failure_outcome(exc, time.monotonic() - started, context.mask), reason
    exit_if_forked(process_id)
    return success_outcome(value, time.monotonic() - started, context.mask), None
