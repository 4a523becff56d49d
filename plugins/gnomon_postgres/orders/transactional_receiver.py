"""Carries out the orders that applications have placed in their transactions, in the process that leads.

    pending ──► done       the kernel has carried it out
       ├──────► refused    the kernel has refused it, for example because the job is unknown: `problem` says so
       └──────► expired    a kernel that leads has found it after its time

An order is pending until its answer is written, so a kernel that is killed in between leaves it to the next one. That
one does it again, and the key of the order, which is its id or one of the application's, leads to the run or to the
change of the job that is in the log already. Answers name the term of the lease, as appends do: a kernel that leads no
longer answers nothing.

Orders are carried out one after the other, because one may need what another one does before it. Those that follow each
other and need nothing of each other are carried out together (call_lists.py). Orders for a job whose queue is full stay
pending, and do not hold up those for other jobs (full_queues.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from gnomon.backoff import Backoff
from gnomon.errors import GnomonError, StoreError
from gnomon.logs import get_logger
from gnomon.orders.order_errors import written_error
from gnomon_postgres.orders.call_lists import Handler, answers_to
from gnomon_postgres.orders.full_queues import FullQueues
from gnomon_postgres.orders.look_pace import LookPace
from gnomon_postgres.orders.order_calls import Call, call_of, kinds_of, outcome_of, refused
from gnomon_postgres.orders.pending_orders import Outcome, PendingOrder, PendingOrders, may_be_more
from gnomon_postgres.server import Server
from gnomon_shared_log.change_feed import ChangeFeed, Turns
from gnomon_shared_log.ports.changes import Placed
from gnomon_shared_log.ports.lease_row import Term

log = get_logger("gnomon.postgres")

IDLE_S, LONGEST_S = 0.2, 2.0
"""Seconds between two looks for orders: where no notices arrive, and where they do, for orders that send none."""
HELD_UP_S = 0.5
"""The same where the lease is not trusted, or the store refuses events."""
FIRST_RETRY_S = 0.03
"""Seconds until outcomes are written again that could not be written."""
CLEAN_S = 300.0
"""Seconds between two deletions of older orders."""


class TransactionalReceiver:
    """Passes pending orders to the handler and writes their outcomes; `term` returns that of the lease if it counts."""

    def __init__(self, server: Server, term: Callable[[], Term | None], handler: Handler) -> None:
        self._orders = PendingOrders(server)
        self._term = term
        self._handler = handler
        self._full = FullQueues()
        self._pace = LookPace(self._orders)
        self._is_held_up = self._has_more = False
        self._clean_at = 0.0

    async def run(self, feed: ChangeFeed) -> None:
        """Carry out orders until cancelled; `feed` reports those that are placed.

        While the outcomes of some are written, the next ones are carried out.
        """
        placed = feed.turns_of(lambda change: change == Placed(in_transaction=True))
        written: list[Outcome] = []
        async with asyncio.TaskGroup() as tasks:
            writing: asyncio.Task[bool] | None = None
            while True:
                seen = placed.count
                term, outcomes = await self._carry_out_next(written)
                if writing is not None:
                    await writing
                writing, written = None, outcomes
                if term is not None and outcomes:
                    writing = tasks.create_task(self._write(outcomes, term))
                    if self._has_more or not feed.stream:
                        continue
                await self._wait(feed, placed, seen)

    async def _wait(self, feed: ChangeFeed, placed: Turns, seen: int) -> None:
        """Wait for a notice since those that were seen before the last look, or pause where none arrive."""
        with feed.used():
            pauses = [LONGEST_S if feed.stream else IDLE_S, self._full.retry_s, self._pace.look_s()]
            limit_s = HELD_UP_S if self._is_held_up else min(one for one in pauses if one is not None)
            if self._is_held_up or not feed.stream:
                await asyncio.sleep(limit_s)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await placed.after(seen)

    async def _carry_out_next(self, written: Sequence[Outcome]) -> tuple[Term | None, list[Outcome]]:
        """Carry out the orders that come next, and return the outcomes; those of others are being written."""
        self._is_held_up = (term := self._term()) is None
        outcomes: list[Outcome] = []
        if term is None:
            return None, outcomes
        try:
            await self._clean()
            pending = await self._next(written)
            self._has_more = may_be_more(pending)
            await self._pace.note(len(pending))
        except StoreError as exc:
            self._hold_up(exc)
            return None, outcomes
        for step in _in_steps(pending):
            outcomes += await self._carry_out_guarded(step)
        return term, outcomes

    async def _next(self, written: Sequence[Outcome]) -> list[PendingOrder]:
        retried = self._full.due()
        skipped = [*self._full.held, *(one.order.id for one in written)]
        pending = await self._orders.next(skipped, self._full.jobs, retried)
        self._full.note((), set(retried).difference(one.job_id for one in pending))
        return pending

    async def _write(self, outcomes: Sequence[Outcome], term: Term) -> bool:
        """Write outcomes, again and again while the server is away; False if the term is over, and nothing written."""
        backoff = Backoff(FIRST_RETRY_S, HELD_UP_S)
        while True:
            try:
                is_written = await self._orders.answer(outcomes, term)
            except StoreError as exc:
                self._hold_up(exc)
                await asyncio.sleep(backoff.next())
                continue
            if is_written:
                _log_refused(outcomes)
            return is_written

    def _hold_up(self, exc: StoreError) -> None:
        log.debug("orders of transactions cannot be carried out now", problem=str(exc))
        self._is_held_up = True

    async def _carry_out_guarded(self, step: Sequence[PendingOrder]) -> list[Outcome]:
        """Return the outcomes of orders; one that cannot be read or answered is refused, and holds up no other."""
        try:
            return await self._carry_out_together(step)
        except Exception as exc:  # noqa: BLE001 - written_error logs what nobody expected
            if len(step) == 1:
                return [refused(step[0], written_error(exc))]
        return [outcome for pending in step for outcome in await self._carry_out_guarded([pending])]

    async def _carry_out_together(self, step: Sequence[PendingOrder]) -> list[Outcome]:
        """Return the outcomes of orders, without those that have to wait."""
        outcomes: list[Outcome] = []
        readable: list[tuple[PendingOrder, Call]] = []
        for pending in step:
            if pending.is_late:
                outcomes.append(Outcome(pending, "expired"))
                continue
            try:
                readable.append((pending, call_of(pending)))
            except GnomonError as exc:
                outcomes.append(refused(pending, written_error(exc)))
        answers = await answers_to([call for _, call in readable], self._handler)
        full: set[str] = set()
        tried: set[str] = set()
        for (pending, call), answer in zip(readable, answers, strict=True):
            kinds = kinds_of(answer)
            if "StoreError" in kinds:  # it is away, or this kernel leads no longer
                self._is_held_up = True
            elif call.waits and pending.job_id is not None and "QueueFullError" in kinds:
                full.add(pending.job_id)
            elif not ("UnknownExecutionError" in kinds and self._full.hold(pending.id)):
                outcomes.append(outcome_of(pending, answer))
                tried.add(pending.job_id or "")
        self._full.note(full, tried - full)
        return outcomes

    async def _clean(self) -> None:
        if (now := time.monotonic()) >= self._clean_at:
            self._clean_at = now if await self._orders.delete_old() else now + CLEAN_S


def _in_steps(pending: Sequence[PendingOrder]) -> Iterator[list[PendingOrder]]:
    """Cut orders into those that may be carried out together: of one kind, and with one order about each job."""
    step: list[PendingOrder] = []
    jobs: set[str | None] = set()
    for one in pending:
        if step and (one.call != step[0].call or (one.call == "order_job" and one.job_id in jobs)):
            yield step
            step, jobs = [], set()
        step.append(one)
        jobs.add(one.job_id)
    if step:
        yield step


def _log_refused(outcomes: Sequence[Outcome]) -> None:
    """Log the orders that were refused: those of one job with the same error together."""
    groups: dict[tuple[Any, ...], list[Outcome]] = {}
    for one in outcomes:
        if one.state == "refused":
            groups.setdefault((one.order.call, one.order.job_id, one.order.placed_by, one.error), []).append(one)
    for (call, job_id, placed_by, _), found in groups.items():
        log.warning(
            "orders of transactions were refused",
            orders=len(found),
            order=found[0].order.id,
            call=call,
            job=job_id,
            placed_by=placed_by,
            problem=found[0].problem,
        )
