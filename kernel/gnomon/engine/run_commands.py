"""The commands of KernelApi that order runs, and wait for their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import msgspec

from gnomon.api import Triggered
from gnomon.domain.execution import Execution, manual_execution_id
from gnomon.domain.given_values import check_key, expect_order
from gnomon.domain.labels import label_problem
from gnomon.domain.own_copies import own_view
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.domain.secret_references import escaped
from gnomon.engine.components import KernelComponents
from gnomon.engine.debounces import key_of
from gnomon.engine.idempotency import check_repeated, request_digest, reused_key
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.refused_acts import refusable
from gnomon.engine.trigger_chain import link_to
from gnomon.errors import (
    ArgumentError,
    GnomonError,
    IdempotencyKeyError,
    JobError,
    QueueFullError,
    RunOrdersError,
    queue_is_full,
)
from gnomon.jobs.body import check_arguments
from gnomon.jobs.callables import reference
from gnomon.jobs.job import Job
from gnomon.jobs.overrides import check_overrides
from gnomon.jobs.registered import RegisteredJob, own_arguments
from gnomon.json_depth import is_too_deep

MOST_ORDERS = 10_000
"""Orders of one list: they are accepted in one step of the event loop, which takes about 30 µs for each."""
SLICE_ORDERS = 500
"""Orders that are checked before other tasks may run; a check takes about 30 µs, too."""


class Accepted(msgspec.Struct):
    """The run of an order: the live view, which changes."""

    execution: Execution
    resumed: bool = False
    is_new: bool = True
    joined: bool = False


class Checked(msgspec.Struct):
    """An order that was checked: its arguments merged into those of the job, and the id of its run.

    `link` has the facts about the run that asks for this one, if a run does. `window` is what this order and another
    one must share to be one run, where the job has `debounce`.
    """

    order: RunOrder
    kwargs: dict[str, Any]
    labels: dict[str, str]
    identity: str
    digest: str | None
    window: bytes | None = None
    link: dict[str, Any] = {}


class RunCommands(KernelComponents):
    """The part of KernelApi that orders runs and waits for them; see there for each method."""

    _idempotency_lock: asyncio.Lock

    @on_kernel_loop
    @refusable("trigger")
    async def trigger(  # noqa: PLR0913 - one parameter for each option of a run
        self,
        job_id: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        force: bool = False,
        resume: bool = True,
        actor: str | None = None,
        idempotency_key: str | None = None,
        when_full: WhenFull = "raise",
        triggered_by: str | None = None,
    ) -> Triggered:
        order = self._check(RunOrder(job_id, kwargs or {}, force, resume, idempotency_key, labels or {}), actor)
        order.link = await link_to(self._find, triggered_by, job_id)
        (triggered,) = await self._accept_all([order], actor, when_full)
        return triggered

    @on_kernel_loop
    @refusable("trigger")
    async def trigger_many(
        self, orders: Sequence[RunOrder], *, actor: str | None = None, when_full: WhenFull = "raise"
    ) -> list[Triggered]:
        if len(orders) > MOST_ORDERS:
            raise GnomonError(f"{len(orders):,} orders are too many for one list: send {MOST_ORDERS:,} at a time")
        checked: list[Checked] = []
        problems: dict[int, GnomonError] = {}
        first: dict[str, Checked] = {}
        for number, order in enumerate(orders):
            if number % SLICE_ORDERS == SLICE_ORDERS - 1:
                await asyncio.sleep(0)
            try:
                expect_order(order)
                checked.append(one := self._check(order, actor))
                _check_same(one, first.setdefault(one.identity, one))
            except GnomonError as exc:
                problems[number] = exc
        if problems:
            raise RunOrdersError(problems, len(orders))
        return await self._accept_all(checked, actor, when_full)

    async def _own_end_of(self, execution_id: str) -> Execution:
        view = self._journal.live.get(execution_id) or self._journal.ended.get(execution_id)
        if view is None:
            view = await self._get(execution_id)
            while not view.is_over:  # this kernel does not run it
                await self._journal.changed(execution_id)
                view = await self._get(execution_id)
            return view
        while not view.is_over:
            await self._journal.changed(execution_id)
        return own_view(view)

    # --- checking ---

    def _check(self, order: RunOrder, actor: str | None) -> Checked:
        job_id, key = order.job_id, order.idempotency_key
        merged = _merge(self._jobs[job_id], order.kwargs, self._arguments_limit)
        labels = _merge_labels(self._jobs[job_id].job, order.labels)
        digest = None
        if key is not None:
            check_key(key)
            digest = request_digest(job_id, order.kwargs, force=order.force, resume=order.resume, labels=order.labels)
        window = None
        if self._jobs[job_id].job.debounce is not None:
            window = key_of(merged, labels, force=order.force)
        return Checked(order, merged, labels, manual_execution_id(job_id, self.clock.now(), key, actor), digest, window)

    # --- accepting ---

    async def _accept_all(self, checked: list[Checked], actor: str | None, when_full: WhenFull) -> list[Triggered]:
        """Accept orders in one commit; those that wait for room in a queue in as many commits as that takes."""
        accepted: dict[str, Accepted] = {}
        left = list({one.identity: one for one in reversed(checked)}.values())[::-1]  # the first of each id
        held: str | None = None
        async with AsyncExitStack() as place:
            while left := await self._accept(left, actor, when_full, accepted, held):
                await place.aclose()
                held = left[0].order.job_id
                await place.enter_async_context(self._launcher.room.place(held))
        await self._durable()
        answers, seen = [], set()
        for one in checked:
            run = accepted[one.identity]
            is_repeated = one.identity in seen
            seen.add(one.identity)
            answers.append(
                Triggered(
                    own_view(run.execution), run.resumed and not is_repeated, run.is_new and not is_repeated, run.joined
                )
            )
        return answers

    async def _accept(
        self,
        orders: list[Checked],
        actor: str | None,
        when_full: WhenFull,
        accepted: dict[str, Accepted],
        held: str | None,
    ) -> list[Checked]:
        """Accept the orders that there is room for, in one commit, and return those that must wait.

        `held` is the job in whose queue the caller holds a place.
        """
        async with AsyncExitStack() as turn:
            if any(one.order.idempotency_key is not None for one in orders):
                await turn.enter_async_context(self._idempotency_lock)  # two at once would both find no first run
                for identity, known in (await self._known(orders)).items():
                    accepted[identity] = Accepted(known, is_new=False)
                orders = [one for one in orders if one.identity not in accepted]
            now = self.clock.now()
            vetoes = await self._launcher.vetoes((self._job(one) for one in orders if not one.order.force), now)
            await self._timetable.idle()
            # Nothing is awaited from here on: what has room now is accepted.
            refused = {
                one.identity: veto
                for one in orders
                if not one.order.force and (veto := vetoes.get((one.order.job_id, now))) is not None
            }
            repeats: list[tuple[Checked, Checked]] = []
            if any(one.window is not None for one in orders):
                orders, repeats = self._join(orders, refused, accepted, actor)
            fitting, left = self._split(orders, refused, held, raises=when_full == "raise")
            for one in fitting:
                accepted[one.identity] = self._record(one, now, actor, refused.get(one.identity))
            if when_full == "miss":
                for one in left:
                    accepted[one.identity] = self._record_miss(one, now, actor)
                left = []
            for one, first in repeats:
                if (run := accepted.get(first.identity)) is not None:
                    accepted[one.identity] = self._joined(one, run.execution, actor)
                else:
                    left.append(one)
        return left

    def _join(
        self, orders: list[Checked], refused: Mapping[str, str], accepted: dict[str, Accepted], actor: str | None
    ) -> tuple[list[Checked], list[tuple[Checked, Checked]]]:
        """Join orders of jobs with `debounce` to the runs that wait; return the others, and those that repeat one."""
        others: list[Checked] = []
        repeats: list[tuple[Checked, Checked]] = []
        first: dict[tuple[str, bytes], Checked] = {}
        for one in orders:
            if one.window is None or one.identity in refused:
                others.append(one)
                continue
            if (waiting := self._launcher.debounces.waiting_run(one.order.job_id, one.window)) is not None:
                accepted[one.identity] = self._joined(one, waiting, actor)
            elif (before := first.setdefault((one.order.job_id, one.window), one)) is not one:
                repeats.append((one, before))
            else:
                others.append(one)
        return others, repeats

    def _joined(self, one: Checked, execution: Execution, actor: str | None) -> Accepted:
        resumed = one.order.resume and self._registry.resume(execution.job_id, actor, "the job was triggered by hand")
        if one.order.idempotency_key is not None:
            self._launcher.debounces.note_request(one.identity, one.digest, execution.id)
        return Accepted(execution, resumed, is_new=False, joined=True)

    async def _known(self, orders: list[Checked]) -> dict[str, Execution]:
        """Return the runs of earlier requests with the same keys, by identity.

        IdempotencyKeyError where one of them was another request.
        """
        known: dict[str, Execution] = {}
        asked: list[Checked] = []
        for one in orders:
            if (key := one.order.idempotency_key) is None:
                continue
            if (joined := self._launcher.debounces.request(one.identity)) is None:
                asked.append(one)
                continue
            run, digest = joined
            known[one.identity] = its_run = await self._get(run)
            if digest != one.digest:
                raise reused_key(key, one.order.job_id, its_run)
        found = await self._find_all([one.identity for one in asked])
        if found:
            await self._durable()
        for one in asked:
            if (key := one.order.idempotency_key) is not None and (run_of_key := found.get(one.identity)) is not None:
                history = await self._store.stream(one.identity)
                check_repeated(key, one.order.job_id, one.digest, run_of_key, history)
        return known | found

    def _split(
        self, orders: list[Checked], refused: Mapping[str, str], held: str | None, *, raises: bool
    ) -> tuple[list[Checked], list[Checked]]:
        """Return the orders that there is room for, and the others; with `raises`, QueueFullError if there are any."""
        places: dict[str, float] = {}
        fitting, left = [], []
        for one in orders:
            job = self._job(one)
            if job.id not in places:
                places[job.id] = self._launcher.room.places(job, own=1 if held == job.id else 0)
            if one.identity in refused:  # what a guard refuses takes no place
                fitting.append(one)
            elif places[job.id] >= 1:
                places[job.id] -= 1
                fitting.append(one)
            elif raises:
                waiting, limit = self._admission.queue_of(job)
                raise QueueFullError(job.id, waiting, limit, len(orders))
            else:
                left.append(one)
        return fitting, left

    def _record(self, one: Checked, now: datetime, actor: str | None, veto: str | None) -> Accepted:
        job = self._job(one)
        resumed = one.order.resume and self._registry.resume(job.id, actor, "the job was triggered by hand")
        facts: dict[str, Any] = {"args": job.args, "kwargs": one.kwargs, "labels": one.labels, "actor": actor}
        facts |= {"request_digest": one.digest, "force": one.order.force, **one.link}
        if one.window is None or job.debounce is None:
            return Accepted(self._launcher.trigger(job, one.identity, now, veto, **facts), resumed)
        facts["not_before"] = now + job.debounce
        execution = self._launcher.trigger(job, one.identity, now, veto, **facts)
        if veto is None:
            self._launcher.debounces.note_run(execution, one.window)
        return Accepted(execution, resumed)

    def _record_miss(self, one: Checked, now: datetime, actor: str | None) -> Accepted:
        job = self._job(one)
        detail = queue_is_full(*self._admission.queue_of(job))
        facts = {"labels": one.labels, "actor": actor, "request_digest": one.digest, **one.link}
        return Accepted(self._launcher.miss_trigger(job, one.identity, now, "capacity", detail, **facts))

    def _job(self, one: Checked) -> Job:
        """Return the job of an order as it is now; UnknownJobError where it was removed in the meantime."""
        return self._jobs[one.order.job_id].job


def _check_same(one: Checked, first: Checked) -> None:
    """Raise IdempotencyKeyError where two orders of a list have the same key, and are not the same."""
    if one.digest != first.digest:
        raise IdempotencyKeyError(
            f"the idempotency key {one.order.idempotency_key!r} is that of another order of this list; choose another "
            "key for another order"
        )


def _merge_labels(job: Job, labels: Mapping[str, str]) -> dict[str, str]:
    """Merge the labels of one run into those of its job; JobError for labels that are not valid."""
    merged = {**job.labels, **labels}
    if labels and (problem := label_problem(merged)) is not None:
        raise JobError(f"job {job.id!r}: {problem}")
    return merged


def _merge(registered: RegisteredJob, kwargs: Mapping[str, Any], arguments_limit: int) -> dict[str, Any]:
    """Merge the arguments of one run into those of its job.

    OverrideError where the job does not accept one, JobError where they do not fit or are not JSON. A mapping that
    looks like a reference to a secret is escaped: only the definition of a job may refer to one.
    """
    job, types = registered.job, registered.body.types
    if registered.problem is not None:
        raise JobError(f"job {job.id!r} cannot run: {registered.problem}")
    if types is not None:
        kwargs = types.kept([], dict(kwargs))[1]
    check_overrides(job.id, registered.body.overrides, job.kwargs, kwargs)
    if is_too_deep(kwargs):
        own_arguments(msgspec.structs.replace(job, kwargs={**job.kwargs, **kwargs}), arguments_limit)
    given = {
        key: value if key in job.kwargs and value == job.kwargs[key] else escaped(value)
        for key, value in kwargs.items()
    }
    merged = msgspec.structs.replace(job, kwargs={**job.kwargs, **given})
    _, own = own_arguments(merged, arguments_limit)
    check_arguments(merged, registered.body)
    if types is not None:
        for place, problem in types.problems([], {key: own[key] for key in kwargs}):
            raise ArgumentError(job.id, place, reference(registered.body.func), problem)
    return own
