"""A dead man's switch: pings to a service that alerts when they stop, which no kernel that is gone can do itself."""

from __future__ import annotations

import asyncio

import aiohttp

from gnomon import DeliveryDelayedError, DeliveryRefusedError, KernelApi, check_answer
from gnomon.backoff import Backoff
from gnomon.logs import get_logger
from gnomon.outbox.attempts import describe_failure
from gnomon.outbox.pauses import pause
from gnomon.runners.masking import Mask
from gnomon_alerts.delivery.config import Heartbeat
from gnomon_alerts.delivery.senders import secrets_in

log = get_logger("gnomon.alerts")

FIRST_RETRY_S = 2.0
LONGEST_DETAIL = 2_000


class Pings:
    """Pings the service while a kernel leads: success, or failure while its health is degraded."""

    def __init__(self, heartbeat: Heartbeat, kernel: KernelApi) -> None:
        self.problem: str | None = None
        self.heartbeat = heartbeat
        self._kernel = kernel
        self._mask = Mask(secrets_in(heartbeat.url))

    async def run(self) -> None:
        """Ping until the task is cancelled. A ping that fails is repeated before the next one is due."""
        interval_s = self.heartbeat.interval.total_seconds()
        backoff = Backoff(min(FIRST_RETRY_S, interval_s), interval_s, jitter=0.2)
        while True:
            problem = await self._ping()
            if problem is not None and problem != self.problem:
                log.warning("the heartbeat is not accepted", problem=problem)
            self.problem = problem and f"the heartbeat is not accepted: {problem}"
            if problem is None:
                backoff.reset()
            await pause(self._kernel, interval_s if problem is None else backoff.next(), asyncio.Event())

    def _is_own(self, problem: str) -> bool:
        return self.problem is not None and problem.endswith(self.problem) and "channel " not in problem

    async def _ping(self) -> str | None:
        health = self._kernel.health()
        # Its own failures do not count: they would make the service believe that the kernel is degraded.
        others = [text for text in health.problems.values() if not self._is_own(text)]
        is_failure = self.heartbeat.fail and health.state != "healthy" and bool(others or health.store_problem)
        url = _address(self.heartbeat.url.reveal(), is_failure=is_failure)
        text = self._mask.hide(health.problem or "")[:LONGEST_DETAIL] if is_failure else ""
        limit = aiohttp.ClientTimeout(total=self.heartbeat.timeout.total_seconds())
        try:
            async with (
                aiohttp.ClientSession(trust_env=True, timeout=limit) as session,
                session.post(url, data=text.encode(), headers={"User-Agent": "gnomon-alerts"}) as answer,
            ):
                check_answer(answer.status)
        except (DeliveryRefusedError, DeliveryDelayedError) as exc:
            return str(exc)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            return self._mask.hide(describe_failure(exc, limit.total or 0.0))
        return None


def _address(url: str, *, is_failure: bool) -> str:
    if not is_failure:
        return url
    base, mark, query = url.partition("?")
    return f"{base.rstrip('/')}/fail{mark}{query}"
