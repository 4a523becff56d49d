"""Learns from the log records of APScheduler's executors when a body begins and ends.

APScheduler has no event for the start of a run, and none for a run that its executor lost. Its executors log both, in
the thread or task of the run. A filter on their loggers reads those records; what the program had not wanted to see is
dropped there, so its log does not change. Bodies in process pools log in other processes: their starts stay unknown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, cast

EXECUTORS = "apscheduler.executors."
BEGUN = 'Running job "%s" (scheduled at %s)'
DONE = frozenset({'Job "%s" executed successfully', 'Job "%s" raised an exception'})
LOST = "Error running job %s"

Observer = Callable[..., None]


class ExecutorLogs:
    """Calls `on_begun(job, scheduled_time)`, `on_done(job, scheduled_time)` and `on_lost(job_id, error)`.

    For the executors of one scheduler, in the thread or task of the run.
    """

    def __init__(self, scheduler: Any, on_begun: Observer, on_done: Observer, on_lost: Observer) -> None:
        self._scheduler = scheduler
        self._on_begun = on_begun
        self._on_done = on_done
        self._on_lost = on_lost
        self._watched: set[str] = set()
        # Where several run times of a job are due at once, its executor runs them one after another.
        self._current: ContextVar[datetime | None] = ContextVar("gnomon_apscheduler_run", default=None)

    def watch(self, alias: str) -> None:
        """Read the records of an executor; a second time changes nothing."""
        if alias not in self._watched:
            self._watched.add(alias)
            _watch(EXECUTORS + alias, self)

    def stop(self) -> None:
        """Restore the loggers."""
        while self._watched:
            _unwatch(EXECUTORS + self._watched.pop(), self)

    def read(self, record: logging.LogRecord) -> None:
        """Pass on what a record of a watched logger says, unless it is about another scheduler."""
        args = record.args if isinstance(record.args, tuple) else ()
        if record.msg == LOST and args:
            self._on_lost(args[0], record.exc_info[1] if record.exc_info else None)
        elif not args or getattr(args[0], "_scheduler", None) is not self._scheduler:
            return
        elif record.msg == BEGUN:
            job, scheduled_time = args[0], cast(datetime, args[1])
            self._current.set(scheduled_time)
            self._on_begun(job, scheduled_time)
        elif record.msg in DONE and (current := self._current.get()) is not None:
            self._on_done(args[0], current)


class _Tap(logging.Filter):
    """Passes the records of one logger to its readers, and drops those below the level that it would have had."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.readers: list[ExecutorLogs] = []
        self._logger = logger
        self._level = logger.level
        logger.addFilter(self)
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)

    def filter(self, record: logging.LogRecord) -> bool:
        for reader in tuple(self.readers):
            reader.read(record)
        return record.levelno >= self._wanted

    @property
    def _wanted(self) -> int:
        if self._level != logging.NOTSET or self._logger.parent is None:
            return self._level
        return self._logger.parent.getEffectiveLevel()

    def remove(self) -> None:
        self._logger.removeFilter(self)
        if self._logger.level == logging.INFO:  # else the program has set another one in the meantime
            self._logger.setLevel(self._level)


_taps: dict[str, _Tap] = {}
_lock = threading.Lock()


def _watch(name: str, reader: ExecutorLogs) -> None:
    with _lock:
        if name not in _taps:
            _taps[name] = _Tap(logging.getLogger(name))
        _taps[name].readers.append(reader)


def _unwatch(name: str, reader: ExecutorLogs) -> None:
    with _lock:
        tap = _taps[name]
        tap.readers.remove(reader)
        if not tap.readers:
            _taps.pop(name).remove()
