"""Many jobs that are added at once by their keys: all are checked, then all are recorded in one commit, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from gnomon.api import JobOrdered
from gnomon.domain.bulk_acts import MOST_AT_ONCE
from gnomon.domain.job_order import JobOrder
from gnomon.engine.job_orders import JobOrders, digest_of, find_order
from gnomon.engine.job_recorder import Act, Holding
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.refused_acts import REFUSALS
from gnomon.errors import GnomonError, JobExistsError, JobKeysError, JobOrdersError
from gnomon.jobs.registered import RegisteredJob
from gnomon.safe_text import safe_repr

SHOWN = 80
"""Characters of what stands in the place of a job's keys."""


class JobLists(JobOrders):
    """The part of KernelApi that adds many jobs by their keys; see there."""

    @on_kernel_loop
    async def order_jobs(
        self,
        jobs: Sequence[Mapping[str, Any]],
        *,
        owner: str | None = None,
        trusted: bool = False,
        idempotency_key: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[JobOrdered]:
        try:
            orders = _orders_of(jobs, owner)
            async with self._first_list(orders, idempotency_key, Act(actor, reason)) as (is_repeated, act):
                if not is_repeated:
                    await self._add_list(orders, owner, act, trusted=trusted)
        except REFUSALS as exc:
            if actor is not None:
                await self.note_refused("add", actor, exc, _first_id(jobs, exc))
            raise
        return [
            JobOrdered(self._version(order.job_id), not is_repeated, self._view_of(order.job_id)) for order in orders
        ]

    @asynccontextmanager
    async def _first_list(self, orders: list[JobOrder], key: str | None, act: Act) -> AsyncIterator[tuple[bool, Act]]:
        """Yield whether the list was added before with this key; one order with a key at a time.

        Each job of a list has the digest of the whole list in the log, so a list that was changed is refused.
        """
        if key is None:
            yield False, act
            return
        digest = digest_of([msgspec.structs.asdict(order) for order in orders])
        async with self._order_lock:
            await self._durable()
            known = [one for one in orders if one is orders[0] or one.job_id in self._journal.jobs]
            for order in known:
                if await find_order(self._store, order.job_id, key, act.actor, digest) is not None:
                    yield True, act
                    return
            yield False, act._replace(order=f"{digest_of([key, act.actor])}:{digest}")

    async def _add_list(self, orders: list[JobOrder], owner: str | None, act: Act, *, trusted: bool) -> None:
        beside = frozenset(order.job_id for order in orders)
        wanted: list[RegisteredJob] = []
        problems: dict[int, GnomonError] = {}
        for number, order in enumerate(orders):
            try:
                self._expect(order)
                wanted.append(await self._checked(order, None, trusted=trusted, beside=beside))
                self._added_jobs.expect_fires(wanted[-1])
            except GnomonError as exc:
                problems[number] = exc
        if problems:
            raise JobOrdersError(problems, len(orders))
        async with self._at_rest(wanted):
            for number, order in enumerate(orders):  # another order may have come in between
                try:
                    self._expect(order)
                except GnomonError as exc:
                    problems[number] = exc
            if problems:
                raise JobOrdersError(problems, len(orders))
            self._added_jobs.add(wanted, act, Holding(owner))


def _orders_of(jobs: Sequence[Any], owner: str | None) -> list[JobOrder]:
    """Return one order for each job; JobOrdersError for those without keys, without an id or with that of another."""
    if not 0 < len(jobs) <= MOST_AT_ONCE:
        problem = f"expected 1 to {MOST_AT_ONCE:,} jobs in a list, got {len(jobs):,}"
        raise JobKeysError("", [("", problem)])
    orders: list[JobOrder] = []
    problems: dict[int, GnomonError] = {}
    first: dict[str, int] = {}
    for number, keys in enumerate(jobs):
        job_id = keys.get("id") if isinstance(keys, Mapping) else None
        if not isinstance(keys, Mapping):
            problems[number] = JobKeysError("", [("", f"expected the keys of a job, got {safe_repr(keys, SHOWN)}")])
        elif not isinstance(job_id, str):
            detail = "is missing" if job_id is None else f"expected text, got {safe_repr(job_id, SHOWN)}"
            problems[number] = JobKeysError("", [("id", detail)])
        elif first.setdefault(job_id, number) != number:
            what = f"two jobs of the list have the id {job_id!r}: that of [{first[job_id]}] must be another one"
            problems[number] = JobExistsError(job_id, what)
        else:
            orders.append(JobOrder(how="add", job_id=job_id, keys=dict(keys), owner=owner))
    if problems:
        raise JobOrdersError(problems, len(jobs))
    return orders


def _first_id(jobs: Sequence[Any], exc: GnomonError) -> object:
    """Return the id of the first job that was refused, for the history."""
    number = next(iter(exc.problems), 0) if isinstance(exc, JobOrdersError) else 0
    keys = jobs[number] if number < len(jobs) else None
    return keys.get("id") if isinstance(keys, Mapping) else None
