"""Reports failed runs to the logging of the program: a record of the logger `gnomon.jobs` for each, with the traceback.

The record has the attributes `job_id`, `execution_id`, `attempt` and `reason`, for handlers that filter or group. A
failure that is followed by another attempt is a warning, every other one an error.
"""

from __future__ import annotations

import logging

from gnomon.domain.execution import Execution
from gnomon.engine.active_run import RETRIED
from gnomon.logs import write_record
from gnomon.runners.base import Outcome

LOGGER = "gnomon.jobs"


def log_failure(execution: Execution, attempts: int, outcome: Outcome | None = None) -> None:
    """Write the record of a run that has just failed; `outcome` is that of its body, if it has ended."""
    reason = execution.reason or "exception"
    is_last = execution.tries >= attempts or reason not in RETRIED or execution.cancel_requested
    attempt = f", attempt {execution.tries} of {attempts}" if attempts > 1 else ""
    what = reason if reason != "exception" or execution.error_type is None else execution.error_type
    raised = outcome if outcome is not None and not outcome.cancelled else None
    write_record(
        LOGGER,
        logging.ERROR if is_last else logging.WARNING,
        f"job {execution.job_id} failed: {what}: {execution.error_message} (run {execution.id}{attempt})",
        exc=raised.exception if raised is not None else None,
        traceback=raised.traceback if raised is not None else None,
        facts={
            "job_id": execution.job_id,
            "execution_id": execution.id,
            "attempt": execution.tries,
            "reason": reason,
        },
    )
