"""Repeated requests: a key of the caller's makes one run, whatever happens to the answer of the first request.

The id of the run is derived from the actor and the key, so the log itself is the memory: a restart forgets nothing. The
first event of the run has a digest of the request, and the key with another request is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gnomon.domain.events import Event, Missed, Scheduled
from gnomon.domain.execution import Execution
from gnomon.errors import IdempotencyKeyError


def request_digest(
    job_id: str, kwargs: Mapping[str, Any], *, force: bool, resume: bool, labels: Mapping[str, str]
) -> str:
    """Return a digest of a request: requests that mean the same have the same digest, however they are written."""
    request = [job_id, dict(kwargs), force, resume, *([dict(labels)] if labels else [])]
    written = msgspec.json.encode(request, order="sorted")
    return hashlib.blake2b(written, digest_size=12).hexdigest()


def check_repeated(key: str, job_id: str, digest: str | None, known: Execution, history: Sequence[Event]) -> None:
    """Raise IdempotencyKeyError unless the run of a key was made by the same request.

    In a log of an older version the run has no digest, and only its job is compared.
    """
    first = history[0] if history else None
    recorded = first.request_digest if isinstance(first, Scheduled | Missed) else None
    if known.job_id == job_id and recorded in {None, digest}:
        return
    raise reused_key(key, job_id, known)


def reused_key(key: str, job_id: str, known: Execution) -> IdempotencyKeyError:
    """Return the error of a request whose key led another request to a run."""
    other = f"job {known.job_id!r}" if known.job_id != job_id else "other arguments or options"
    return IdempotencyKeyError(
        f"the idempotency key {key!r} was used for another request: run {known.id} of {other}; choose another key for "
        "another request, and repeat a request unchanged"
    )
