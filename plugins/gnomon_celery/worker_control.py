"""Remote control of a worker: end the process of a body that does not stop when it is terminated.

Celery forgets a task once it has terminated it with SIGTERM, and would not send its process another signal.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from celery.worker.control import control_command

from gnomon_celery.messages import KILL


def offer_kill() -> None:
    """Register the command with Celery."""
    control_command(args=[("process_id", int)], signature="PROCESS_ID", name=KILL)(kill)


def kill(state: Any, process_id: int, **_: Any) -> dict[str, str]:
    """Kill a process of the worker's pool; the pool replaces it."""
    if process_id not in state.consumer.pool.info.get("processes", ()):
        return {"error": f"process {process_id} is not of the pool"}
    os.kill(process_id, signal.SIGKILL)
    return {"ok": f"killed process {process_id}"}
