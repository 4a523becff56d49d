"""Jobs that are ordered with keys, over HTTP or from another process: checked whole, then carried out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from gnomon.api import JobOrdered, JobView
from gnomon.domain.events import JobEvent, job_stream
from gnomon.domain.given_values import check_key, expect_act_texts
from gnomon.domain.job_order import JobOrder
from gnomon.engine.added_jobs import taken
from gnomon.engine.job_commands import JobCommands
from gnomon.engine.job_recorder import Act, Holding
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.refused_acts import REFUSALS
from gnomon.errors import (
    FunctionNotAllowedError,
    IdempotencyKeyError,
    JobConflictError,
    JobKeysError,
)
from gnomon.jobs.merge_patch import patched_definition
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Store

ACTIONS = {"add": "add", "replace": "change", "change": "change", "remove": "remove"}
"""The words of the history for the kinds of orders."""
MOST_ATTEMPTS = 5
"""How often a change is computed again because another order came in between."""


class JobOrders(JobCommands):
    """The part of KernelApi that takes orders about jobs with their keys; see there."""

    _order_lock: asyncio.Lock

    @on_kernel_loop
    async def order_job(
        self,
        order: JobOrder,
        *,
        trusted: bool = False,
        idempotency_key: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> JobOrdered:
        expect_act_texts({"owner": order.owner})
        act = Act(actor, reason)
        try:
            async with self._first_time(order, idempotency_key, act) as (repeated, act):
                return repeated or await self._carry_out(order, act, trusted=trusted)
        except (*REFUSALS, FunctionNotAllowedError) as exc:
            if actor is not None:
                await self.note_refused(ACTIONS[order.how], actor, exc, order.job_id)
            raise

    @asynccontextmanager
    async def _first_time(
        self, order: JobOrder, key: str | None, act: Act
    ) -> AsyncIterator[tuple[JobOrdered | None, Act]]:
        """Yield the result of the first order with an idempotency key, or None; one order with a key at a time.

        The events of the job have a digest of the key and of the order, so a restart forgets nothing.
        """
        if key is None:
            yield None, act
            return
        digest = digest_of(msgspec.structs.asdict(order))
        async with self._order_lock:
            await self._durable()
            event = await find_order(self._store, order.job_id, key, act.actor, digest)
            if event is not None:
                yield JobOrdered(event.version, event.type == "job_added", self._view_of(order.job_id)), act
                return
            yield None, act._replace(order=f"{digest_of([key, act.actor])}:{digest}")

    def _view_of(self, job_id: str) -> JobView | None:
        registered = self._jobs.get(job_id)
        return self._view(registered) if registered is not None else None

    async def _carry_out(self, order: JobOrder, act: Act, *, trusted: bool) -> JobOrdered:
        if order.how == "remove":
            return await self._remove(order, act)
        for _ in range(MOST_ATTEMPTS):
            found = await self._put(order, act, trusted=trusted)
            if found is not None:
                return found
        raise JobConflictError(order.job_id, 0, self._version(order.job_id))

    async def _remove(self, order: JobOrder, act: Act) -> JobOrdered:
        async with self._at_rest([]):
            self._added_jobs.expect_changeable(order.job_id, order.expect_version)
            self._added_jobs.remove(order.job_id, act)
            version = self._version(order.job_id)
        return JobOrdered(version, is_new=False, view=None)

    async def _put(self, order: JobOrder, act: Act, *, trusted: bool) -> JobOrdered | None:
        """Add, replace or change a job; None where it was changed in the meantime."""
        seen = self._expect(order)
        registered = await self._checked(order, seen, trusted=trusted)
        async with self._at_rest([registered]):
            now = self._expect(order)
            if now is not seen:
                return None
            if now is None:
                self._added_jobs.add([registered], act, Holding(order.owner))
            else:
                self._added_jobs.change(registered, act, order.owner)
            # The view of now: a job that is due may be gone when its order is durable.
            return JobOrdered(self._version(order.job_id), seen is None, self._view_of(order.job_id))

    def _expect(self, order: JobOrder) -> RegisteredJob | None:
        """Return the job that an order would replace, None for a new one; errors as in KernelApi."""
        known = self._jobs.get(order.job_id)
        if known is None:
            if order.how == "change":
                self._jobs.expect(order.job_id)
            if order.expect_version:
                raise JobConflictError(order.job_id, order.expect_version, 0)
            return None
        if order.how == "add":
            raise taken(known, "replace it")
        return self._added_jobs.expect_changeable(order.job_id, order.expect_version)

    async def _checked(
        self, order: JobOrder, known: RegisteredJob | None, *, trusted: bool, beside: Collection[str] = ()
    ) -> RegisteredJob:
        """Return the job that an order describes; JobKeysError, FunctionNotAllowedError.

        `beside` are the ids of jobs that are added with it.
        """
        present = known.definition if known is not None else None
        keys: Mapping[str, Any] = {"id": order.job_id, **order.keys}
        if order.how == "change" and present is not None:
            patch = self._previewer.rules(trusted=trusted).keys.with_options(order.keys)
            keys = patched_definition(present, patch)
        problems = [
            (key, detail)
            for key, detail in (
                ("id", f"is {keys.get('id')!r}, expected {order.job_id!r}: the id of a job stays"),
                ("paused", "cannot be changed: pause or resume the job"),
            )
            if (key == "id" and keys.get("id") != order.job_id)
            or (key == "paused" and order.how == "change" and "paused" in order.keys)
        ]
        draft = await self._previewer.draft(
            keys, present, trusted=trusted, is_whole=order.how == "change", beside=beside
        )
        problems += [(problem.key, problem.detail) for problem in draft.problems]
        if draft.refusal is not None and len(problems) == 1:
            raise draft.refusal
        if problems or draft.registered is None:
            raise JobKeysError(order.job_id, problems)
        draft.registered.origin = "api"
        return draft.registered

    def _version(self, job_id: str) -> int:
        state = self._journal.jobs.get(job_id)
        return state.version if state is not None else 0


async def find_order(store: Store, job_id: str, key: str, actor: str | None, digest: str) -> JobEvent | None:
    """Return the event of an order about a job that had the same idempotency key, None where there was none.

    IdempotencyKeyError for a key that is not valid, or that was used for another order.
    """
    check_key(key)
    mark = digest_of([key, actor])
    for event in reversed(await store.stream(job_stream(job_id))):
        if isinstance(event, JobEvent) and event.order is not None and event.order.startswith(mark):
            if event.order != f"{mark}:{digest}":
                raise IdempotencyKeyError(
                    f"the idempotency key {key!r} was used for another order about the job {job_id!r}; "
                    "choose another key for another order, and repeat an order unchanged"
                )
            return event
    return None


def digest_of(value: Any) -> str:
    """Return a digest of JSON data."""
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=12).hexdigest()
