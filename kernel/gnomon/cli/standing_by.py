"""A standby of `gnomon run`: it waits until the log is free, and then leads with the config as it is at that moment.

    refused by the store ──► waiting ──► the log is free ──► the config is read again ──► leading
                                ▲                                                           │
                                └───────────────── another standby was faster ◄─────────────┘

A take-over is not a deployment: while a standby waits, the leader may have been reloaded or replaced with a newer
config, which must not be undone by an older one. A config that is not valid any more ends the standby with its
problems, as it would end a start.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial

from gnomon.deployment.assembly import Deployment, assemble
from gnomon.deployment.config import load_config
from gnomon.errors import StoreInUseError
from gnomon.logs import get_logger

log = get_logger("gnomon.cli")

Prepare = Callable[[Deployment], None]


async def lead_or_stand_by(
    lead: Callable[[Deployment], Awaitable[None]], deployment: Deployment, prepare: Prepare | None
) -> None:
    """Run a kernel by `lead`; with `prepare`, wait while the log belongs to another kernel, and lead afterwards.

    `prepare` adds to a new deployment what the one of the start has.
    """
    known = ""
    while True:
        try:
            return await lead(deployment)
        except StoreInUseError as exc:
            if prepare is None:
                raise
            leader = str(exc).partition(": ")[0]
            say = log.info if leader != known else log.debug  # a server cannot always tell that its log is free
            known = leader
            deployment = await _wait_to_lead(deployment, leader, say)
            prepare(deployment)


async def _wait_to_lead(deployment: Deployment, leader: str, say: Callable[..., None]) -> Deployment:
    ignored = partial(log.info, "a standby reads its config when it takes over")
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ignored)
    say("standing by: waiting for the log of another kernel", leader=leader)
    began = time.monotonic()
    await deployment.store.wait_until_free()
    say("taking over: the log is free, the config is read again", waited_s=round(time.monotonic() - began, 1))
    config = deployment.config
    return assemble(load_config(config.file, for_runs=True) if config.source is not None else config)
