"""End the process in time: the bodies of jobs may leave behind what keeps a Python process alive.

An interpreter waits for threads that are not daemons, for the threads of executors and for the children of
multiprocessing, and `asyncio.run` waits for every task, also for one that swallows its cancellation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import active_children

from gnomon.logs import get_logger

EXIT_GRACE_S = 5.0
"""Time that the process has to end once its kernel has stopped."""

log = get_logger("gnomon.cli")


def end_process_after(seconds: float, code: int, report: Callable[[], object]) -> None:
    """End the process with `code` if it is still alive after that time; `report` runs just before that."""

    def end() -> None:
        time.sleep(seconds)
        for step in (report, _kill_children, logging.shutdown, sys.stdout.flush, sys.stderr.flush):
            with suppress(Exception):  # the process ends whatever fails here
                step()
        os._exit(code)

    threading.Thread(target=end, name="gnomon exit", daemon=True).start()


def report_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    """Log the threads, child processes and tasks that are left, some of which the process would have waited for."""
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    tasks = asyncio.all_tasks(loop) if loop.is_running() else set()
    log.warning(
        "jobs left something behind: the process ends without waiting for it",
        threads=[name for name in threads if not name.startswith("gnomon ")],
        children=[child.pid for child in active_children()],
        tasks=[getattr(task.get_coro(), "__qualname__", task.get_name()) for task in tasks],
    )


def _kill_children() -> None:
    for child in active_children():
        child.kill()
