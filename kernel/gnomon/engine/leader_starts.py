"""Starts a leader, and begins again where its store goes away after it was opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from gnomon.engine.leader import Leader
from gnomon.errors import StoreUnavailableError
from gnomon.jobs.registered import RegisteredJob
from gnomon.logs import get_logger

log = get_logger("gnomon.engine.leader_starts")

MOST_STARTS = 3


async def start_leader(
    leader: Leader, make: Callable[[Iterable[RegisteredJob]], Leader], owner: asyncio.Task[Any] | None
) -> Leader:
    """Start a leader, and return it or the one that was made from its jobs instead.

    Opening the store waits for a server that is away, as long as its `patience` says. What a start reads afterwards
    does not: a server that is restarted in that moment would end the program.
    """
    for _ in range(MOST_STARTS - 1):
        try:
            await leader.start(owner)
        except StoreUnavailableError as exc:
            if not leader.log_id:
                raise
            log.warning("the store went away during the start, which begins again", problem=str(exc))
            seen = leader.seen_deployment
            leader = make(leader.defined_jobs)
            leader.seen_deployment = seen
        else:
            return leader
    await leader.start(owner)
    return leader
