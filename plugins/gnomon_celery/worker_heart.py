"""The heartbeat of a worker, and the watch over its consumer.

A worker may stop consuming while its process lives on without an error, after its connection to the broker was lost.
Therefore the heartbeat stands for the consumer's own loop: a timer of that loop ticks, and a thread writes the
heartbeat only while it does. A loop that is blocked by the body of a solo pool counts as well.

    ticking, and it consumes                                             heartbeat "online"
    not ticking for LOOP_PATIENCE_S                                      no heartbeat: after three the worker is gone
    nothing received although it is free and its queues have messages,   the process ends with EXIT_DEAF once its bodies
    for `deaf_after`                                                     have ended, so that a supervisor restarts it
"""

from __future__ import annotations

import logging
import math
import os
import platform
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from celery import Celery, bootsteps, signals
from celery.worker import state

from gnomon_celery.channel import BEAT, WORKER_KEPT_S, worker_key, workers_key
from gnomon_celery.code_versions import code_version, worker_versions
from gnomon_celery.config import CeleryConfig
from gnomon_celery.messages import PROTOCOL, WorkerInfo, addressed, function_of
from gnomon_celery.redis_client import ERRORS, connect, run_script
from gnomon_celery.worker_channel import WorkerChannel

log = logging.getLogger("gnomon.celery")

TICK_S = 1.0
LOOP_PATIENCE_S = 5.0
NOTED_S = 10.0
"""How long the version of a function's code is not read again: each time takes a file."""
EXIT_DEAF = 75
"""The exit code of a worker that has stopped consuming: EX_TEMPFAIL, a supervisor starts it again."""


class Heart:
    """Writes the heartbeats of the worker of this process, from its start to its end."""

    def __init__(self, config: CeleryConfig, channel: Callable[[], WorkerChannel]) -> None:
        self._config = config
        self._channel = channel
        self._client = connect(config.channel_url, config.timeout.total_seconds())
        self._consumer: Any = None
        self._started_at = datetime.now(UTC)
        self._ticked_at = 0.0
        self._is_stopping = threading.Event()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._versions: dict[str, str] = {}
        self._noted: dict[str, float] = {}
        self._is_heard = True
        self._is_ending = False
        self.deaf_after: float | None = None
        """Seconds after which a worker that does not consume ends; None: never."""
        self._received = 0
        self._heard_at = time.monotonic()

    def tick(self) -> None:
        """Note that the consumer's loop turns; called by a timer of that loop."""
        self._ticked_at = time.monotonic()

    def note_code(self, assignment: str) -> None:
        """Show the version of the distribution whose function runs from now on."""
        func, now = function_of(assignment), time.monotonic()
        if now - self._noted.get(func, -math.inf) < NOTED_S:
            return
        self._noted[func] = now
        if (code := code_version(func)) is not None:
            name, _, version = code.rpartition(" ")
            self._versions[name] = version

    def attach(self, consumer: Any) -> None:
        """Beat for a consumer that has connected, the first time or again."""
        self._consumer = consumer
        self._heard_at = time.monotonic()
        self.tick()
        if self._thread is None:
            signals.worker_shutting_down.connect(self._stopping, weak=False)
            signals.worker_shutdown.connect(self._over, weak=False)
            self._thread = threading.Thread(target=self._work, name="gnomon-heart", daemon=True)
            self._thread.start()

    def _stopping(self, **_: Any) -> None:
        self._is_stopping.set()

    def _over(self, **_: Any) -> None:
        """Remove the worker from the list: it has ended in order."""
        self._is_over.set()
        name = self._consumer.hostname
        try:
            self._client.zrem(workers_key(self._config.prefix), name)
            self._client.delete(worker_key(self._config.prefix, name))
        except ERRORS as exc:
            log.warning("the worker could not be taken off the list: %s", type(exc).__name__)

    def _work(self) -> None:
        interval = self._config.heartbeat.total_seconds()
        pause = 0.0
        while not self._is_over.wait(pause):
            if self._is_stopping.is_set() or self._is_turning:
                self._beat()
            if self.deaf_after is not None and not self._is_stopping.is_set():
                try:
                    self._listen(self._consumer.app, self.deaf_after)
                except Exception as exc:  # noqa: BLE001 - the broker is away, which its own drivers report in many ways
                    self._heard_at = time.monotonic()
                    log.debug("the queues cannot be looked at: %s", exc)
            pause = interval

    @property
    def _is_turning(self) -> bool:
        return self._is_ticking or self._is_in_solo_body

    @property
    def _is_ticking(self) -> bool:
        return time.monotonic() - self._ticked_at < LOOP_PATIENCE_S

    @property
    def _is_in_solo_body(self) -> bool:
        return self._pool_name == "solo" and self._channel().is_busy

    @property
    def _pool_name(self) -> str:
        module = type(self._consumer.pool).__module__.rpartition(".")[2]
        return "threads" if module == "thread" else module

    def _beat(self) -> None:
        prefix, info = self._config.prefix, self._info()
        try:
            run_script(self._client, BEAT, [workers_key(prefix)], [info.name, WORKER_KEPT_S])
            self._client.set(worker_key(prefix, info.name), msgspec.json.encode(info), ex=WORKER_KEPT_S)
        except ERRORS as exc:
            if self._is_heard:
                problem = self._config.hide(f"{type(exc).__name__}: {exc}")
                log.warning("the channel, Redis at %s, cannot be reached (%s)", self._config.channel_address, problem)
            self._is_heard = False
        else:
            self._is_heard = True

    def _info(self) -> WorkerInfo:
        consumer = self._consumer
        return WorkerInfo(
            name=consumer.hostname,
            node=platform.node(),
            pid=os.getpid(),
            pool=self._pool_name,
            concurrency=consumer.pool.num_processes or 1,
            queues=sorted(consumer.app.amqp.queues.consume_from),
            active=sorted(request.id for request in list(state.active_requests)),
            processed=state.all_total_count[0],
            started_at=self._started_at,
            versions={**self._versions, **worker_versions(), "protocol": str(PROTOCOL)},
            state="stopping" if self._is_stopping.is_set() else "online",
        )

    # --- a consumer that has stopped consuming ---

    def _listen(self, app: Celery, deaf_after: float) -> None:
        now = time.monotonic()
        received, self._received = self._received, state.all_total_count[0]
        # What a loop that no longer turns says of its processes is old: it does not count as busy.
        is_busy = self._is_in_solo_body or (self._is_ticking and not self._is_free())
        if self._received != received or is_busy or not _waiting(app):
            self._heard_at = now
        elif now - self._heard_at >= deaf_after:
            self._end_deaf(now - self._heard_at)

    def _is_free(self) -> bool:
        return len(state.reserved_requests) < (self._consumer.pool.num_processes or 1)

    def _running_bodies(self) -> int:
        """Return how many bodies run in the processes of this worker, as those say themselves."""
        requests = [addressed(request.kwargs["assignment"]) for request in list(state.active_requests)]
        return sum(self._channel().state_of(channel, run)[1] for channel, run in requests)

    def _end_deaf(self, silent_for: float) -> None:
        if busy := self._running_bodies():
            if not self._is_ending:
                log.critical("this worker has stopped consuming; it ends when its %d bodies have ended", busy)
            self._is_ending = True
            return
        log.critical(
            "this worker has received nothing for %.0f s although its queues have messages and it is free: it has "
            "stopped consuming, and exits with code %d so that it is started again",
            silent_for,
            EXIT_DEAF,
        )
        logging.shutdown()
        os._exit(EXIT_DEAF)


class HeartStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Attaches the heart to the consumer, whenever that has connected."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    heart: Heart

    @classmethod
    def of(cls, heart: Heart) -> type[HeartStep]:
        """Return the step for a heart: Celery makes the object."""
        return type("HeartStep", (cls,), {"heart": heart, "name": "gnomon-heart"})

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        self.heart.attach(consumer)
        self._timer = consumer.timer.call_repeatedly(TICK_S, self.heart.tick)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 - the signature is Celery's
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _waiting(app: Celery) -> int:
    """Return the number of messages that wait in the queues of this worker, over a separate connection."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        return sum(
            channel.queue_declare(queue=name, passive=True).message_count for name in app.amqp.queues.consume_from
        )
