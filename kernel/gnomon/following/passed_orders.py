"""The commands of KernelApi in a kernel that follows: each is an order to the kernel that leads.

An order with an idempotency key is given again to the next leader where the answer was lost; one without a key gets a
random one if its method has that parameter. Any other order is given once: whether it was carried out is not known
where its answer was lost, and `OrderLostError` says so.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from gnomon.api import KernelApi, Triggered
from gnomon.domain.given_values import expect_order, refuse_positional
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.engine.log_queries import on_kernel_loop
from gnomon.engine.past_queries import PastQueries
from gnomon.errors import GnomonError, JobError, OrderLostError, RunOrdersError
from gnomon.following.log_tail import LogTail
from gnomon.following.sent_arguments import SentArguments
from gnomon.jobs.diff import JobsDiff
from gnomon.jobs.durable import check_durable
from gnomon.jobs.job import Job
from gnomon.jobs.plain_functions import job_of
from gnomon.jobs.registered import RegisteredJob
from gnomon.orders.submitting import submit_call
from gnomon.ports import OrderChannel

P = ParamSpec("P")
R = TypeVar("R")
JobLike = Job | RegisteredJob | Callable[..., Any] | str

ORDER_LIMIT_S = 10.0
"""Seconds that an order waits for a kernel that leads: a take-over takes one on SQLite, and a lease on MongoDB."""


def _passed(
    method: Callable[Concatenate[KernelApi, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[PassedOrders, P], Coroutine[Any, Any, R]]:
    """Return a method that gives its call as an order."""

    @functools.wraps(method)
    async def call(self: PassedOrders, /, *args: P.args, **kwargs: P.kwargs) -> R:
        answer: R = await self._order(method.__name__, *args, **kwargs)
        return answer

    return on_kernel_loop(call)


class PassedOrders(PastQueries):
    """The part of a follower that passes orders on; see KernelApi for each method."""

    _channel: OrderChannel
    _sent: SentArguments
    _tail: LogTail

    pause = _passed(KernelApi.pause)
    resume = _passed(KernelApi.resume)
    describe = _passed(KernelApi.describe)
    skip = _passed(KernelApi.skip)
    backfill = _passed(KernelApi.backfill)
    stop_backfill = _passed(KernelApi.stop_backfill)
    pause_jobs = _passed(KernelApi.pause_jobs)
    resume_jobs = _passed(KernelApi.resume_jobs)
    cancel_runs = _passed(KernelApi.cancel_runs)
    hold = _passed(KernelApi.hold)
    release = _passed(KernelApi.release)
    cancel = _passed(KernelApi.cancel)
    fail = _passed(KernelApi.fail)
    warn = _passed(KernelApi.warn)
    hide = _passed(KernelApi.hide)
    remove_job = _passed(KernelApi.remove_job)
    save_checkpoint = _passed(KernelApi.save_checkpoint)
    claim = _passed(KernelApi.claim)
    record_fact = _passed(KernelApi.record_fact)
    step_down = _passed(KernelApi.step_down)
    report_member = _passed(KernelApi.report_member)
    remove_member = _passed(KernelApi.remove_member)
    live_runs = _passed(KernelApi.live_runs)
    workers = _passed(KernelApi.workers)
    sample = _passed(KernelApi.sample)
    preview_job = _passed(KernelApi.preview_job)
    order_job = _passed(KernelApi.order_job)
    order_jobs = _passed(KernelApi.order_jobs)
    trigger = _passed(KernelApi.trigger)

    @on_kernel_loop
    async def trigger_many(
        self, orders: Sequence[RunOrder], *, actor: str | None = None, when_full: WhenFull = "raise"
    ) -> list[Triggered]:
        keyed: list[RunOrder] = []
        problems: dict[int, GnomonError] = {}
        for number, order in enumerate(orders):
            expect_order(order)
            key = order.idempotency_key if order.idempotency_key is not None else secrets.token_hex(12)
            try:
                kwargs = await self._sent.of_run(order.job_id, order.kwargs)
                keyed.append(msgspec.structs.replace(order, kwargs=kwargs, idempotency_key=key))
            except GnomonError as exc:
                problems[number] = exc
        if problems:
            raise RunOrdersError(problems, len(orders))
        answer: list[Triggered] = await self._repeated("trigger_many", keyed, actor=actor, when_full=when_full)
        return answer

    @on_kernel_loop
    async def add_job(
        self,
        job: JobLike,
        /,
        *positional: object,
        replace: bool = False,
        expect_version: int | None = None,
        temporary: bool = False,
        owner: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
        **keys: Any,
    ) -> Job:
        refuse_positional(positional)
        written = self._written(job, keys, temporary=temporary)
        options = {"replace": replace, "expect_version": expect_version}
        answer: Job = await self._order("add_job", written, **options, owner=owner, actor=actor, reason=reason)
        return answer

    @on_kernel_loop
    async def add_jobs(
        self,
        jobs: Iterable[JobLike],
        /,
        *,
        replace: bool = False,
        temporary: bool = False,
        owner: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[Job]:
        written = [self._written(job, {}, temporary=temporary) for job in jobs]
        answer: list[Job] = await self._order(
            "add_jobs", written, replace=replace, owner=owner, actor=actor, reason=reason
        )
        return answer

    @on_kernel_loop
    async def change_job(
        self,
        job_id: str,
        /,
        *,
        expect_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
        **changes: Any,
    ) -> Job:
        options = {"expect_version": expect_version, "actor": actor, "reason": reason}
        changes = await self._sent.of_change(job_id, changes)
        answer: Job = await self._order("change_job", job_id, **options, **changes)
        return answer

    @on_kernel_loop
    async def apply_jobs(
        self,
        jobs: Iterable[JobLike],
        *,
        owner: str | None = None,
        revision: int | str | None = None,  # noqa: ARG002 - that of the jobs which only the kernel that leads replaces
        actor: str | None = None,
        reason: str | None = None,
    ) -> JobsDiff:
        if owner is None:
            raise GnomonError(
                "this kernel follows another one, so it cannot replace the jobs that that one has defined: "
                "reload the kernel that leads, or pass `owner` for jobs that were added at run time"
            )
        written = [self._written(job, {}, temporary=False) for job in jobs]
        answer: JobsDiff = await self._order("apply_jobs", written, owner=owner, actor=actor, reason=reason)
        return answer

    async def _order(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Submit an order, again where that cannot carry it out twice."""
        if name == "trigger":
            job_id: Any = args[0] if args else kwargs.get("job_id")
            kwargs["kwargs"] = await self._sent.of_run(job_id, kwargs.get("kwargs"))
        has_key = name in {"trigger", "order_job", "order_jobs"}
        if has_key and kwargs.get("idempotency_key") is None:
            kwargs["idempotency_key"] = secrets.token_hex(12)
        if has_key or name in _HARMLESS:
            return await self._repeated(name, *args, **kwargs)
        return await self._submit(name, *args, limit_s=ORDER_LIMIT_S, **kwargs)

    async def _repeated(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ORDER_LIMIT_S
        while True:
            left = max(deadline - loop.time(), 0.0)
            try:
                return await self._submit(name, *args, limit_s=left, **kwargs)
            except OrderLostError:
                if loop.time() >= deadline:
                    raise

    async def _submit(self, name: str, /, *args: Any, limit_s: float, **kwargs: Any) -> Any:
        answer = await submit_call(self._channel, name, *args, limit_s=limit_s, **kwargs)
        self._tail.wake()  # what the order has done is in the log
        return answer

    def _written(self, job: JobLike, keys: dict[str, Any], *, temporary: bool) -> dict[str, Any]:
        """Return the definition of a job as it is sent; JobError for one that only this process could run."""
        declared = job_of(job.job if isinstance(job, RegisteredJob) else job, keys)
        if temporary:
            raise JobError(
                f"job {declared.id!r}: a temporary job ends with its kernel, and this process follows the kernel that "
                "would have it: leave out temporary=True, or add it in the process that leads"
            )
        check_durable(declared)
        return self._sent.of_job(declared).definition()


_HARMLESS = frozenset({"live_runs", "preview_job", "sample", "save_checkpoint", "workers"})
"""Calls that may be carried out twice."""
