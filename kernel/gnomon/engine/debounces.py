"""Joins repeated triggers of a job with `debounce` to the run that waits for the first of them.

A trigger opens a window: its run is accepted at once and starts when the window ends. A trigger of the same job with
the same arguments, labels and `force` that comes before the start joins that run, so a run starts after each trigger,
and no number of triggers postpones it. One with other arguments opens another window: if the newest arguments
replaced those that were accepted, an order would be lost.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.domain.execution import Execution
from gnomon.engine.journal import Journal

MOST_REQUESTS = 10_000
"""Joined requests with an idempotency key that are remembered, so that a repeated one finds the run that it joined."""
FIRST_SWEEP = 256
"""Windows from which on those that have ended are dropped, each time their number has doubled."""

_encoder = msgspec.json.Encoder(order="deterministic")


class Debounces:
    """Knows the runs that wait for the end of their window. The log has them all: a new kernel finds them there."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: dict[tuple[str, bytes], str] | None = None
        self._sweep_at = FIRST_SWEEP
        self._requests: OrderedDict[str, tuple[str, str | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs or ())

    def waiting_run(self, job_id: str, key: bytes) -> Execution | None:
        """Return the run that a trigger of a job joins; None where it opens a window."""
        if self._runs is None:
            live = [one for one in self._journal.live.values() if _is_window(one)]
            self._runs = {(one.job_id, key_of(one.kwargs, one.labels, force=one.force)): one.id for one in live}
        if (found := self._runs.get((job_id, key))) is None:
            return None
        run = self._journal.live.get(found)
        return run if run is not None and _is_window(run) else None

    def note_run(self, execution: Execution, key: bytes) -> None:
        """Note a run whose window has just been opened."""
        assert self._runs is not None  # noqa: S101 - it was asked for a waiting run before
        self._runs[execution.job_id, key] = execution.id
        if len(self._runs) >= self._sweep_at:
            live = self._journal.live
            self._runs = {one: run for one, run in self._runs.items() if run in live and _is_window(live[run])}
            self._sweep_at = max(2 * len(self._runs), FIRST_SWEEP)

    def note_request(self, identity: str, digest: str | None, execution_id: str) -> None:
        """Remember which run a request with an idempotency key has joined."""
        self._requests[identity] = execution_id, digest
        if len(self._requests) > MOST_REQUESTS:
            self._requests.popitem(last=False)

    def request(self, identity: str) -> tuple[str, str | None] | None:
        """Return the run that a request with this id has joined, and the digest of the request."""
        return self._requests.get(identity)


def key_of(kwargs: Mapping[str, Any], labels: Mapping[str, str], *, force: bool) -> bytes:
    """Return what two triggers of a job must share to be one."""
    return hashlib.blake2b(_encoder.encode([kwargs, labels, force]), digest_size=16).digest()


def _is_window(execution: Execution) -> bool:
    """Return whether a run was opened by a trigger, and neither failed, snoozed nor started since."""
    return (
        execution.status == "scheduled"
        and execution.handed_to is None
        and execution.not_before is not None
        and execution.is_manual
        and execution.attempt == 1
        and execution.cause is None
        and not execution.cancel_requested
    )
