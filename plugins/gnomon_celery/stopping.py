"""Stops runs: takes them out of their queues, asks bodies to stop, and ends the processes of those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gnomon.backoff import Backoff
from gnomon.logs import get_logger
from gnomon.runners.base import Outcome
from gnomon_celery.channel import CANCEL, WITHDRAW, WITHDRAWN, process_of, worker_of
from gnomon_celery.messages import KILL
from gnomon_celery.problems import detail
from gnomon_celery.reader import FIRST_PAUSE_S, LONGEST_PAUSE_S
from gnomon_celery.remote_run import RemoteRun
from gnomon_celery.roster import PREFORK
from gnomon_celery.term import Term

log = get_logger("gnomon.celery")


async def withdraw(remote: RemoteRun, term: Term) -> None:
    """Claim a run, so that no worker begins it; nothing changes where a worker was faster."""
    if await _is_withdrawn(remote, term):
        remote.end(Outcome(0.0, cancelled=True))


async def give_up(remote: RemoteRun, term: Term) -> None:
    """End a run as lost that would have to be sent again, and cannot be; nothing changes where a worker was faster."""
    if await _is_withdrawn(remote, term):
        remote.lose(
            "its message is gone, and it cannot be sent again: no worker could import the function that its job has now"
        )


async def _is_withdrawn(remote: RemoteRun, term: Term) -> bool:
    message = remote.message
    if not message.may_be_sent and not remote.run.is_adopted:
        message.is_dropped = True
        if not message.may_be_sent:  # read again: a thread may have begun to send it just now
            return True
    script: Any = term.redis.register_script(WITHDRAW)
    claim = (await script(keys=[term.channel.claim(remote.id)], args=[term.claim_ttl])).decode()
    if claim != WITHDRAWN:
        log.debug("a run was to be withdrawn, and has begun", run=remote.id, worker=worker_of(claim))
    return bool(claim == WITHDRAWN)


async def stop(remote: RemoteRun, term: Term) -> None:
    """Keep a body from beginning, or request that it stops, with more force after each `cancel_grace`."""
    if not remote.has_begun:
        await withdraw(remote, term)
    if remote.is_over:
        return
    script: Any = term.redis.register_script(CANCEL)
    await script(keys=[term.channel.cancel], args=[remote.id, term.result_ttl])
    act = _terminate  # interrupts the body, which can clean up
    while not await _ends_within(remote, remote.run.cancel_grace):
        if not await _has_process(remote, term):
            return
        await act(remote, term)
        act = _kill


async def until_done(
    remote: RemoteRun, term: Callable[[], Term | None], act: Callable[[RemoteRun, Term], Awaitable[None]]
) -> None:
    """Do something about a run; try again while a server is away, until the run or the term is over."""
    backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
    while not remote.is_over and (present := term()) is not None:
        try:
            await act(remote, present)
        except Exception as exc:  # noqa: BLE001 - drivers of brokers raise what they like
            log.debug("a run could not be stopped yet", run=remote.id, problem=detail(exc, present.config))
            await _ends_within(remote, backoff.next())
        else:
            return


async def _has_process(remote: RemoteRun, term: Term) -> bool:
    """Whether the worker of a run has a process for it that can be ended."""
    pool = next((one.info.pool for one in await term.workers() if one.info.name == remote.worker), None)
    if pool is not None and pool not in PREFORK:
        log.warning("a body does not stop, and only the pool 'prefork' can end it", run=remote.id, pool=pool)
        return False
    return True


async def _terminate(remote: RemoteRun, term: Term) -> None:
    where = [remote.worker] if remote.worker else None
    await term.sender.ask(
        lambda app: app.control.revoke(remote.id, terminate=True, signal="SIGTERM", destination=where)
    )


async def _kill(remote: RemoteRun, term: Term) -> None:
    claim: Any = await term.redis.get(term.channel.claim(remote.id))
    process_id = process_of(claim.decode()) if claim is not None else None
    if process_id is not None and remote.worker:
        arguments, where = {"process_id": process_id}, [remote.worker]
        await term.sender.ask(lambda app: app.control.broadcast(KILL, arguments=arguments, destination=where))


async def _ends_within(remote: RemoteRun, seconds: float) -> bool:
    await asyncio.wait([remote.ended], timeout=seconds)
    return remote.is_over
