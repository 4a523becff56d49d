"""Report at once that the process of a running body is gone: the parent of a prefork pool knows it first.

Without it, the kernel would notice after three missing heartbeats. What the parent knows, Celery passes to the request
class of a task.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.exceptions import Terminated, WorkerLostError
from celery.worker.request import Request

from gnomon_celery.channel import Channel, process_of, worker_of
from gnomon_celery.messages import Died, addressed
from gnomon_celery.redis_client import ERRORS
from gnomon_celery.worker_channel import Notice, WorkerChannel

log = logging.getLogger("gnomon.celery")

RETRY_PAUSE_S = 1.0


class LostChildren:
    """Reports the deaths of the children of this process; `accepted` receives each assignment that one takes."""

    def __init__(self, channel: Callable[[], WorkerChannel], accepted: Callable[[str], None]) -> None:
        self._channel = channel
        self._accepted = accepted

    def request_class(self) -> type[Request]:
        """Return Celery's request class, whose methods are called in the parent, with reports of deaths."""
        report, accepted = self.report, self._accepted

        class BodyRequest(Request):  # type: ignore[misc]
            def on_accepted(self, pid: int, time_accepted: float) -> None:
                super().on_accepted(pid, time_accepted)
                accepted(self.kwargs["assignment"])

            def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
                exc = getattr(exc_info.exception, "exc", exc_info.exception)
                if isinstance(exc, WorkerLostError | Terminated | SystemExit | KeyboardInterrupt):
                    report(self, f"{type(exc).__name__}: {exc}")
                return super().on_failure(exc_info, send_failed_event, return_ok)

            def on_timeout(self, soft: bool, timeout: float) -> None:
                super().on_timeout(soft, timeout)
                if not soft:
                    report(self, f"it was killed at its time limit of {timeout:g} s")

        return BodyRequest

    def report(self, request: Any, how: str) -> None:
        """Report that the process of a task is gone; in a thread, since Redis may be away."""
        args = (request.kwargs["assignment"], request.hostname, request.worker_pid, how)
        threading.Thread(target=self._report, args=args, name="gnomon-lost-child", daemon=True).start()

    def _report(self, assignment: str, worker: str, process_id: int | None, how: str) -> None:
        channel, execution_id = addressed(assignment)
        claim, is_running = self._state(channel, execution_id)
        if claim is not None and (worker_of(claim), process_of(claim)) != (worker, process_id):
            return  # another process has the run, or its kernel has withdrawn it
        if claim is not None and not is_running:
            return  # its end has been reported
        message = f"the process (pid {process_id}) of the worker {worker} that ran the body is gone: {how}"
        log.warning("run %s: %s", execution_id, message)
        died = Died(id=execution_id, n=0, worker=worker, message=message, had_begun=claim is not None)
        self._channel().notify(Notice(channel, died))

    def _state(self, channel: Channel, execution_id: str) -> tuple[str | None, bool]:
        while True:
            try:
                return self._channel().state_of(channel, execution_id)
            except ERRORS:
                time.sleep(RETRY_PAUSE_S)
