"""The Celery application of a worker: the task `gnomon.run`, and what a worker needs around it.

Pools, routing, autoscaling and shutdown are Celery's own. Added are the task, a request class that reports children
which died, and the heartbeat of the worker.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from billiard.process import current_process
from celery import Celery, signals

from gnomon_celery.body_run import run_assignment
from gnomon_celery.celery_app import make_app
from gnomon_celery.code_versions import code_version
from gnomon_celery.config import CeleryConfig
from gnomon_celery.lost_children import LostChildren
from gnomon_celery.messages import TASK
from gnomon_celery.worker_channel import WorkerChannel
from gnomon_celery.worker_control import offer_kill
from gnomon_celery.worker_heart import Heart, HeartStep


def make_worker_app(config: CeleryConfig, *, deaf_after: float | None = None) -> Celery:
    """Return the application with which workers are started; no connection is opened before one is.

    A worker that does not consume for `deaf_after` seconds although its queues have messages ends; None: it does not.
    """
    app = make_app(config)
    # A body may take hours: a task that a busy process had fetched in advance would wait for it beside idle ones.
    app.conf.worker_prefetch_multiplier = 1
    app.conf.broker_connection_max_retries = None  # else a worker gives up after an hour without its broker
    # By default, a process that is not up within 4 s is killed, and so are those that follow it on a busy machine.
    app.conf.worker_proc_alive_timeout = 60.0
    channels = ProcessChannels(config)
    heart = Heart(config, channels.current)
    heart.deaf_after = deaf_after
    lost = LostChildren(channels.current, heart.note_code)

    @app.task(name=TASK, bind=True, Request=lost.request_class(), max_retries=None, shared=False)  # type: ignore[untyped-decorator]
    def run(task: Any, assignment: str) -> None:
        """Run the body of a job of Gnomon."""
        run_assignment(assignment, task.request.hostname, channels.current())

    app.steps["consumer"].add(HeartStep.of(heart))
    signals.after_setup_logger.connect(keep_lines_of_bodies, weak=False, dispatch_uid="gnomon")
    signals.after_setup_task_logger.connect(keep_lines_of_bodies, weak=False, dispatch_uid="gnomon")
    signals.worker_process_init.connect(end_without_parent, weak=False, dispatch_uid="gnomon")
    offer_kill()
    code_version(TASK)  # reads the distributions once, for all processes of a pool
    return app


class ProcessChannels:
    """The channel of each process: a child of a pool has memory of its parent's, and makes its own."""

    def __init__(self, config: CeleryConfig) -> None:
        self._config = config
        self._channels: dict[int, WorkerChannel] = {}

    def current(self) -> WorkerChannel:
        """Return the channel of this process; it connects on first use."""
        process_id = os.getpid()
        if (found := self._channels.get(process_id)) is not None:
            return found
        is_child = current_process().name != "MainProcess"
        timeout = self._config.timeout.total_seconds()
        return self._channels.setdefault(
            process_id, WorkerChannel(self._config.channel_url, timeout, is_pool_child=is_child)
        )


def end_without_parent(**_: Any) -> None:
    """End a child of a pool whose parent is gone already.

    Celery has just asked the system to end the child with its parent, which is too late if the parent was killed in
    between: the child would wait for bodies for ever. The pool `solo` has no child, and sends the signal as well.
    """
    parent = current_process()._parent_pid  # noqa: SLF001 - billiard has no public name for it
    if parent is not None and os.getppid() != parent:
        os._exit(os.EX_UNAVAILABLE)


def keep_lines_of_bodies(logger: logging.Logger, loglevel: int | None, **_: Any) -> None:
    """Keep lines from INFO on for the logs of runs, whatever the level of the worker's own log is."""
    level = loglevel or logging.WARNING
    for handler in logger.handlers:
        handler.setLevel(max(handler.level, level))
    logger.setLevel(min(level, logging.INFO))
