"""The channel of one process of a worker: a thread that posts what runs report and reads what is asked of them.

    task thread        claims its run itself, runs the body, and posts its end itself, unless the other thread is at it
    channel thread     in one round trip: posts a batch, renews the heartbeats, reads which runs are to stop

Each process has its own: a child of a prefork pool inherits neither the thread nor the connections of its parent. While
Redis is away, the thread tries again with growing pauses, and no task returns: a worker that is shut down waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from gnomon_celery.channel import BEGIN, CANCEL_CHECK_S, POST, Channel, claim_value
from gnomon_celery.hosted_run import HostedRun, Poster
from gnomon_celery.messages import Begun, Ended, WorkerMessage, answer_decoder
from gnomon_celery.redis_client import ERRORS, connect, run_script

log = logging.getLogger("gnomon.celery")

ANSWER_CHECK_S = 0.05
"""How often answers are looked for while an order waits."""
LONGEST_PAUSE_S = 2.0
"""Seconds between two attempts while Redis is away, at most."""
SHORTEST_PAUSE_S = 0.1
RESULT_TTL_S = 7 * 24 * 3600


class Notice(msgspec.Struct, frozen=True):
    """A message about a run that another process executed, with its channel."""

    channel: Channel
    message: WorkerMessage


class WorkerChannel(Poster):
    """Posts the messages of all runs of this process."""

    def __init__(self, url: str, timeout: float, *, is_pool_child: bool = False) -> None:
        self._client = connect(url, timeout)
        self.is_pool_child = is_pool_child
        self._condition = threading.Condition()
        self._posting = threading.RLock()
        self._runs: dict[str, HostedRun] = {}
        self._notices: list[Notice] = []
        self._due = math.inf
        self._pause = 0.0
        self._thread: threading.Thread | None = None

    def begin(self, run: HostedRun, begun: Begun) -> str | None:
        """Claim a run for its token; return None, or the claim of another message that has it.

        Returns when Redis has answered, however long it is away: the task is taken, so nothing else would run it.
        """
        channel, assignment, pause = run.channel, run.assignment, 0.0
        claim = claim_value(run.token, begun.worker)
        keys = [channel.claim(run.id), channel.stream, channel.alive]
        arguments: list[str | bytes | int] = [
            claim,
            assignment.claim_ttl,
            run.id,
            msgspec.json.encode([begun]),
            assignment.result_ttl,
        ]
        while True:
            try:
                answer = run_script(self._client, BEGIN, keys, arguments)
            except ERRORS as exc:
                if not pause:
                    log.warning("run %s waits: the channel cannot be reached (%s)", run.id, type(exc).__name__)
                pause = _longer(pause)
                time.sleep(pause)
                continue
            if answer != 1:
                return bytes(answer).decode(errors="replace")
            with self._condition:
                self._runs[run.token] = run
            self.wake(CANCEL_CHECK_S)
            return None

    def post_end(self, run: HostedRun) -> None:
        """Post what a run has reported and how it ended; returns before it is posted where that is to wait.

        To hand it to the other thread would cost a short body more than everything else does.
        """
        try:
            if self._posting.acquire(blocking=False) and not run.delivered.is_set():
                self._post_all([run], [])
        finally:
            with contextlib.suppress(RuntimeError):  # not acquired: a signal may interrupt this between any two steps
                self._posting.release()
            if not run.delivered.is_set():
                self.wake(0.0)

    def notify(self, notice: Notice) -> None:
        """Post a message about a run of another process."""
        with self._condition:
            self._notices.append(notice)
        self.wake(0.0)

    def state_of(self, channel: Channel, execution_id: str) -> tuple[str | None, bool]:
        """Return the claim of a run, or None, and whether it has begun and not ended; raises what Redis raises."""
        found = self._client.get(channel.claim(execution_id))
        is_running = self._client.zscore(channel.alive, execution_id) is not None
        return found.decode(errors="replace") if isinstance(found, bytes) else None, is_running

    def wake(self, within: float) -> None:
        """Post what has been reported within so many seconds."""
        due = time.monotonic() + within
        with self._condition:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="gnomon-channel", daemon=True)
                self._thread.start()
            if due < self._due:
                self._due = due
                self._condition.notify()

    @property
    def is_busy(self) -> bool:
        """Whether this process has runs."""
        return bool(self._runs)

    # --- the thread ---

    def _work(self) -> None:
        while True:
            with self._condition:
                while (rest := self._due - time.monotonic()) > 0:
                    self._condition.wait(None if rest == math.inf else rest)
                self._due = math.inf
            is_posted = False
            try:
                with self._posting:
                    is_posted = self._post_due()
            except Exception:  # one strange run must not keep the results of the others
                log.exception("the channel of this process has a problem, and tries again")
            self._schedule(is_posted=is_posted)

    def _post_due(self) -> bool:
        with self._condition:
            runs, notices = list(self._runs.values()), self._notices
        for run in runs:
            run.enforce_limits(can_kill=self.is_pool_child)
        return self._post_all(runs, notices)

    def _schedule(self, *, is_posted: bool) -> None:
        if is_posted:
            if self._pause:
                log.warning("the channel can be reached again")
            self._pause = 0.0
        else:
            self._pause = _longer(self._pause)
            time.sleep(self._pause)  # wakes in the meantime would only knock at a closed door
        with self._condition:
            runs, has_notices = list(self._runs.values()), bool(self._notices)
        if has_notices or not is_posted:
            self.wake(0.0)
        elif any(run.orders.unanswered for run in runs):
            self.wake(ANSWER_CHECK_S)
        elif runs:
            self.wake(min(CANCEL_CHECK_S, *(run.assignment.heartbeat / 2 for run in runs)))

    def _post_all(self, runs: list[HostedRun], notices: list[Notice]) -> bool:
        by_channel: dict[Channel, tuple[list[HostedRun], list[Notice]]] = defaultdict(lambda: ([], []))
        for run in runs:
            by_channel[run.channel][0].append(run)
        for notice in notices:
            by_channel[notice.channel][1].append(notice)
        for channel, (its_runs, its_notices) in by_channel.items():
            try:
                self._post(channel, its_runs, its_notices)
            except ERRORS as exc:
                if not self._pause:
                    problem = f"{type(exc).__name__}: {exc}" if isinstance(exc, ERRORS[0]) else type(exc).__name__
                    log.warning("the channel cannot be reached, so reports and results wait (%s)", problem)
                return False
        return True

    def _post(self, channel: Channel, runs: list[HostedRun], notices: list[Notice]) -> None:
        collected = [(run, run.collect()) for run in runs]
        batch = [message for _, messages in collected for message in messages]
        batch += [notice.message for notice in notices]
        over = [run for run, messages in collected if messages and isinstance(messages[-1], Ended)]
        ended = [run.id for run in over] + [notice.message.id for notice in notices]
        running = [run.id for run in runs if run not in over]
        encoded: bytes | str = msgspec.json.encode(batch) if batch else ""
        keys = [channel.stream, channel.alive, channel.cancel, channel.look]
        ttl = max((run.assignment.result_ttl for run in runs), default=RESULT_TTL_S)
        stopping, looks = run_script(self._client, POST, keys, [encoded, ttl, len(running), *running, *ended])
        if any(run.must_die for run in over):
            os.kill(os.getpid(), signal.SIGKILL)
        for run in runs:
            run.posted()
        with self._condition:
            self._notices = [notice for notice in self._notices if notice not in notices]
            for run in over:
                self._runs.pop(run.token, None)
        self._pass_on(stopping, looks, [run for run in runs if run not in over])

    def _pass_on(self, stopping: Sequence[bytes], looks: Sequence[bytes], runs: list[HostedRun]) -> None:
        to_stop = {one.decode() for one in stopping}
        tokens = dict(zip((one.decode() for one in looks[::2]), looks[1::2], strict=True))
        for run in runs:
            if run.id in to_stop:
                run.stop()
            if (token := tokens.get(run.id)) is not None:
                run.look(token.decode())
            for number in run.orders.unanswered:
                key = run.channel.answer(run.id, number)
                if isinstance(found := self._client.lindex(key, 0), bytes):
                    run.answered(answer_decoder.decode(found))
                    self._client.delete(key)  # not in one step with the reading: the reply to that may be lost


def _longer(pause: float) -> float:
    return min(max(pause * 2, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
