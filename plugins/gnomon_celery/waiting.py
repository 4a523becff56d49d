"""Attends to runs that have not begun: shows why, and sends again those whose messages were lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from gnomon.logs import get_logger
from gnomon_celery.channel import worker_of
from gnomon_celery.connection import AWAY
from gnomon_celery.remote_run import RemoteRun
from gnomon_celery.roster import Listed, queue_lengths, takers
from gnomon_celery.term import Term

log = get_logger("gnomon.celery")

ATTEND_PAUSE_S = 1.0
"""The pause between two looks at the runs that have not begun."""
SHOWN_AFTER_S = 3.0
"""How long a run waits before it is shown why: what passes by itself needs no record."""


class WaitingRuns:
    """The runs of a term that have not begun. `channel_problem` returns why workers are not heard of, or None."""

    def __init__(
        self,
        term: Term,
        runs: Callable[[], Collection[RemoteRun]],
        send: Callable[[RemoteRun], None],
        channel_problem: Callable[[], str | None],
    ) -> None:
        self._term = term
        self._runs = runs
        self._send = send
        self._channel_problem = channel_problem
        self._counted_at = 0.0

    async def attend(self) -> None:
        """Attend to them until cancelled."""
        while True:
            await asyncio.sleep(ATTEND_PAUSE_S)
            now = time.monotonic()
            waiting = [one for one in self._runs() if not (one.has_begun or one.is_over)]
            waiting = [one for one in waiting if now - one.waits_since > SHOWN_AFTER_S]
            if not waiting:
                continue
            workers: list[Listed] | None = None
            if self._channel_problem() is None:
                try:
                    workers = await self._term.workers()
                    await self._find_lost([one for one in waiting if one.is_sent], workers, now)
                except AWAY:
                    workers = None  # the reader shows it
            counts = takers(workers) if workers is not None else None
            for remote in waiting:
                remote.show_wait(self.obstacle(remote, counts))

    def obstacle(self, remote: RemoteRun, takers_of: Counter[str] | None = None) -> str | None:
        """Return why a run does not begin, as far as is known."""
        if not remote.is_sent and self._term.sender.problem is not None:
            return self._term.sender.problem
        if (problem := self._channel_problem()) is not None:
            return problem
        if remote.is_sent and takers_of is not None and not takers_of[remote.message.queue]:
            return f"no worker takes tasks from queue {remote.message.queue!r}"
        return None

    async def _find_lost(self, sent: list[RemoteRun], workers: list[Listed], now: float) -> None:
        """Send a run again whose claim would run out, or whose message is gone.

        A broker that keeps its queues in memory loses them with its process. A message is gone where its queue is empty
        although a worker that takes from it has a free process. A second message is harmless in any case.
        """
        term = self._term
        for remote in sent:
            if now - remote.sent_at > term.claim_ttl / 2:
                self._send(remote)
        free = {queue for one in workers if one.has_room for queue in one.info.queues}
        old = [one for one in sent if now - one.sent_at > term.silent_after and one.message.queue in free]
        if not old or now - self._counted_at < term.heartbeat:
            return
        self._counted_at = now
        queues = {one.message.queue for one in old}
        try:
            lengths = await term.sender.ask(lambda app: queue_lengths(app, queues))
        except Exception:  # noqa: BLE001 - drivers of brokers raise what they like; it is counted again
            return
        old = [one for one in old if lengths[one.message.queue] == 0]
        claims: Any = await term.redis.mget([term.channel.claim(one.id) for one in old]) if old else []
        for remote, claim in zip(old, claims, strict=True):
            if remote.has_begun or remote.is_over:
                continue
            if claim is None:
                log.warning("the message of a run is in no queue, sent again", run=remote.id)
                self._send(remote)
            elif (worker := worker_of(claim.decode())) is not None:  # its `begun` is lost: its heartbeats tell the rest
                remote.note_begun(worker, datetime.now(UTC))
