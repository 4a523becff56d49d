"""Carries out the orders that applications have placed in their transactions, in the process that leads.

    pending ──► done       the kernel has carried it out
       ├──────► refused    the kernel has refused it, for example because the job is unknown: `problem` says so
       └──────► expired    a kernel that leads has found it after its time

An order is pending until its answer is written, so a kernel that is killed in between leaves it to the next one. That
one does it again, and the key of the order, which is its id or one of the application's, leads to the run or to the
change of the job that is in the log already. Answers name the term of the lease, as appends do: a kernel that leads no
longer answers nothing.

Orders are carried out one after the other, because one may need what another one does before it; triggers that follow
each other are one list, unless the kernel refuses one of them. Orders for a job whose queue is full stay pending, and
do not hold up those for other jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from typing import Any

import msgspec

from gnomon.backoff import Backoff
from gnomon.domain.orders import Answer, Order, OrderError
from gnomon.domain.run_order import RunOrder
from gnomon.errors import GnomonError, StoreError
from gnomon.logs import get_logger
from gnomon.orders.order_errors import written_error
from gnomon_postgres.orders.placed_orders import OrderCall, OutcomeState, actor_of
from gnomon_postgres.server import Server
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.ports.lease_row import Term

log = get_logger("gnomon.postgres")

MOST_AT_ONCE = 200
"""Orders that are read, carried out and answered in one step."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Time between two tries while the queue of a job is full."""
KEPT = timedelta(days=30)
"""Time for which an order can be found after its answer."""
IDLE_S, LONGEST_S = 0.2, 10.0
"""Seconds between two looks for orders: where no notices arrive, and where they do."""
HELD_UP_S = 0.5
"""The same where the lease is not trusted, or the store refuses events."""
CLEAN_S, MOST_DELETED = 300.0, 10_000
"""Seconds between two deletions of older orders, and how many each deletes."""

_OF_RUN = frozenset(RunOrder.__struct_fields__)
_PENDING = """
    SELECT id, call, job_id, CAST(arguments AS text), placed_by, placed_by = session_user,
        coalesce(expires < clock_timestamp(), false)
    FROM {schema}.transactional_orders
    WHERE state = 'pending' AND (job_id IS NULL OR job_id <> ALL(%s)) AND id <> ALL(%s) ORDER BY number LIMIT %s"""
_ANSWER = """
    WITH term AS MATERIALIZED (SELECT 1 FROM {schema}.lease WHERE owner = %s AND epoch = %s FOR KEY SHARE)
    UPDATE {schema}.transactional_orders AS o SET state = given.state, answered = clock_timestamp(),
        execution_id = given.execution_id, error = given.error, problem = given.problem
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS given (id, state, execution_id, error, problem)
    WHERE o.id = given.id AND o.state = 'pending' AND EXISTS (SELECT FROM term)"""
_DELETE = """
    DELETE FROM {schema}.transactional_orders WHERE id IN (
        SELECT id FROM {schema}.transactional_orders
        WHERE state <> 'pending' AND answered < clock_timestamp() - %s LIMIT %s
    )"""


class _Pending(msgspec.Struct, frozen=True):
    """An order that has no answer yet; `is_own` if the role of the kernel itself has placed it."""

    id: str
    call: OrderCall
    job_id: str | None
    arguments: str
    placed_by: str
    is_own: bool
    is_late: bool


class _Outcome(msgspec.Struct, frozen=True):
    """What is written about an order; as a tuple, the order of the columns."""

    id: str
    state: OutcomeState
    execution_id: str | None = None
    error: str | None = None
    problem: str | None = None


class _Call(msgspec.Struct, frozen=True):
    """A call of KernelApi; `waits` if it is to be repeated while a queue has no room."""

    name: str
    arguments: dict[str, Any]
    waits: bool

    @property
    def order(self) -> Order:
        return Order(self.name, msgspec.Raw(msgspec.json.encode(self.arguments)))

    @property
    def fits_a_list(self) -> bool:
        """Whether the call can be one of a list. What an application has written may be of any type."""
        of_all = self.arguments.get("actor"), self.arguments.get("when_full")
        fields = self.arguments.keys() <= _OF_RUN | {"actor", "when_full"}
        return self.name == "trigger" and fields and all(isinstance(value, str) for value in of_all)


class _Run(msgspec.Struct, frozen=True):
    id: str


class _Triggered(msgspec.Struct, frozen=True):
    execution: _Run


class TransactionalReceiver:
    """Passes pending orders to the handler and writes their outcomes; `term` returns that of the lease if it counts."""

    def __init__(
        self, server: Server, term: Callable[[], Term | None], handler: Callable[[Order], Awaitable[Answer]]
    ) -> None:
        self._server = server
        self._term = term
        self._handler = handler
        self._full: dict[str, tuple[float, Backoff]] = {}
        self._is_held_up = False
        self._clean_at = 0.0

    async def run(self, feed: ChangeFeed) -> None:
        """Carry out orders until cancelled; `feed` reports those that are placed.

        While the outcomes of some are written, the next ones are carried out.
        """
        async with asyncio.TaskGroup() as tasks:
            writing: asyncio.Task[None] | None = None
            written: list[_Outcome] = []
            while True:
                seen = feed.turns
                try:
                    term, outcomes = await self._carry_out_next(written)
                except StoreError as exc:
                    self._hold_up(exc)
                    term, outcomes = None, []
                if writing is not None:
                    await writing
                writing, written = None, outcomes
                if term is not None and outcomes:
                    writing = tasks.create_task(self._write_or_hold_up(term, outcomes))
                else:
                    await self._wait(feed, seen)

    async def _write_or_hold_up(self, term: Term, outcomes: list[_Outcome]) -> None:
        try:
            await self._write(term, outcomes)
        except StoreError as exc:  # then these orders are carried out again, with the same keys
            self._hold_up(exc)

    def _hold_up(self, exc: StoreError) -> None:
        log.debug("orders of transactions cannot be carried out now", problem=str(exc))
        self._is_held_up = True

    async def _wait(self, feed: ChangeFeed, seen: int) -> None:
        """Wait for a notice since those that were seen before the last look, or pause where none arrive."""
        with feed.used():
            limits = [self.retry_s, HELD_UP_S if self._is_held_up else None, LONGEST_S if feed.stream else IDLE_S]
            limit_s = min(limit for limit in limits if limit is not None)
            if self._is_held_up or not feed.stream:
                await asyncio.sleep(limit_s)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await feed.turn(seen)

    async def carry_out_some(self) -> int:
        """Carry out the orders that come next, and return how many have been answered; StoreError."""
        term, outcomes = await self._carry_out_next([])
        return await self._write(term, outcomes) if term is not None and outcomes else 0

    async def _carry_out_next(self, written: list[_Outcome]) -> tuple[Term | None, list[_Outcome]]:
        """Carry out the orders that come next, and return the outcomes; those of others are being written."""
        self._is_held_up = (term := self._term()) is None
        if term is None:
            return None, []
        await self._clean()
        now = asyncio.get_running_loop().time()
        full = [job_id for job_id, (retry_at, _) in self._full.items() if retry_at > now]
        async with self._server.reading() as connection:
            rows = await connection.fetch(_PENDING, (full, [one.id for one in written], MOST_AT_ONCE))
        outcomes: list[_Outcome] = []
        for step in _in_steps([_Pending(*row) for row in rows]):
            outcomes += await self._carry_out_guarded(step)
        return term, outcomes

    async def _write(self, term: Term, outcomes: list[_Outcome]) -> int:
        """Write outcomes, if the term is still that of the log; return how many were written."""
        columns = [list(column) for column in zip(*map(msgspec.structs.astuple, outcomes), strict=True)]
        async with self._server.writing() as connection:
            return await connection.execute(_ANSWER, (term.owner, term.epoch, *columns))

    @property
    def retry_s(self) -> float | None:
        """Seconds until an order should be tried again for which a queue had no room; None where there is none."""
        if not self._full:
            return None
        return max(min(at for at, _ in self._full.values()) - asyncio.get_running_loop().time(), 0.0)

    async def _carry_out_guarded(self, step: list[_Pending]) -> list[_Outcome]:
        """Return the outcomes of orders; one that cannot be read or answered is refused, and holds up no other."""
        try:
            return await self._carry_out_together(step)
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001 - written_error logs what nobody expected
            if len(step) == 1:
                return [_refused(step[0], written_error(exc))]
        return [outcome for pending in step for outcome in await self._carry_out_guarded([pending])]

    async def _carry_out_together(self, step: list[_Pending]) -> list[_Outcome]:
        """Return the outcomes of orders, without those that have to wait."""
        on_time = [pending for pending in step if not pending.is_late]
        calls = [_call_of(pending) for pending in on_time]
        answers = await self._answers_to(calls)
        outcomes = [_Outcome(pending.id, "expired") for pending in step if pending.is_late]
        full: set[str] = set()
        tried: set[str] = set()
        for pending, call, answer in zip(on_time, calls, answers, strict=True):
            kinds = _kinds_of(answer)
            if "StoreError" in kinds:  # it is away, or this kernel leads no longer
                self._is_held_up = True
                continue
            if "UnknownExecutionError" in kinds and self._full:  # an order that still waits may make that run
                continue
            if call.waits and pending.job_id is not None:
                (full if "QueueFullError" in kinds else tried).add(pending.job_id)
                if "QueueFullError" in kinds:
                    continue
            outcomes.append(_outcome_of(pending, answer))
        self._note_full(full, tried - full)
        return outcomes

    async def _answers_to(self, calls: list[_Call]) -> list[Answer]:
        """Carry out calls that may be carried out together, and return their answers in order."""
        answers: dict[int, Answer] = {}
        lists: dict[tuple[Any, Any], list[int]] = {}
        for number, call in enumerate(calls):
            if call.fits_a_list:
                lists.setdefault((call.arguments["actor"], call.arguments["when_full"]), []).append(number)
        for numbers in lists.values():
            answers |= zip(numbers, await self._answers_to_list([calls[number] for number in numbers]), strict=False)
        left = [number for number in range(len(calls)) if number not in answers]
        async with asyncio.TaskGroup() as tasks:
            work = {number: tasks.create_task(self._answer_to(calls[number])) for number in left}
        answers |= {number: task.result() for number, task in work.items()}
        return [answers[number] for number in range(len(calls))]

    async def _answer_to(self, call: _Call) -> Answer:
        return await self._handler(call.order)

    async def _answers_to_list(self, calls: list[_Call]) -> list[Answer]:
        """Return the answers to triggers as one list, which takes one commit; none where one of them is refused."""
        if len(calls) == 1:
            return []
        first = calls[0].arguments
        orders = [{name: call.arguments[name] for name in _OF_RUN & call.arguments.keys()} for call in calls]
        arguments = {"orders": orders, "actor": first["actor"], "when_full": first["when_full"]}
        answer = await self._handler(Order("trigger_many", msgspec.Raw(msgspec.json.encode(arguments))))
        return (
            []
            if answer.error is not None
            else list(map(Answer, msgspec.json.decode(answer.result, type=list[msgspec.Raw])))
        )

    def _note_full(self, full: set[str], roomy: set[str]) -> None:
        for job_id in roomy:
            self._full.pop(job_id, None)
        now = asyncio.get_running_loop().time()
        for job_id in full:
            _, backoff = self._full.get(job_id, (0.0, Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)))
            self._full[job_id] = now + backoff.next(), backoff

    async def _clean(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._clean_at:
            return
        async with self._server.writing() as connection:
            deleted = await connection.execute(_DELETE, (KEPT, MOST_DELETED))
        self._clean_at = now if deleted == MOST_DELETED else now + CLEAN_S


async def count_pending(server: Server) -> int:
    """Return how many orders have no answer yet."""
    async with server.reading() as connection:
        found = await connection.fetch_one("SELECT count(*) FROM {schema}.transactional_orders WHERE state = 'pending'")
    return int(found[0]) if found is not None else 0


def _in_steps(pending: list[_Pending]) -> Iterator[list[_Pending]]:
    """Cut orders into those that may be carried out together: triggers that follow each other."""
    for call, group in groupby(pending, key=lambda one: one.call):
        if call == "trigger":
            yield list(group)
        else:
            yield from ([one] for one in group)


def _call_of(pending: _Pending) -> _Call:
    """Return the call of KernelApi that an order is. The kernel must not wait: it would hold up other orders."""
    try:
        arguments: dict[str, Any] = msgspec.json.decode(pending.arguments)
    except (msgspec.MsgspecError, RecursionError) as exc:  # such as of the number 1e400, which the server accepts
        raise GnomonError(f"the arguments of the order cannot be read: {exc}") from exc
    arguments["actor"] = actor_of(arguments.get("actor"), pending.placed_by)
    if pending.call == "trigger":
        arguments = {"resume": False, "when_full": "wait"} | arguments | {"job_id": pending.job_id}
    if pending.call == "order_job":
        arguments["trusted"] = pending.is_own
    if pending.call != "cancel" and arguments.get("idempotency_key") is None:
        arguments["idempotency_key"] = pending.id
    waits = arguments.get("when_full") == "wait"
    if waits:
        arguments["when_full"] = "raise"
    return _Call(pending.call, arguments, waits)


def _kinds_of(answer: Answer) -> set[str]:
    """Return the names of the error's class and of those above it."""
    return {kind.rpartition(".")[2] for kind in answer.error.kinds} if answer.error is not None else set()


def _outcome_of(pending: _Pending, answer: Answer) -> _Outcome:
    if answer.error is not None:
        return _refused(pending, answer.error)
    run = None
    if pending.call == "trigger":
        run = msgspec.json.decode(answer.result, type=_Triggered).execution.id
    elif pending.call == "cancel":
        run = msgspec.json.decode(answer.result, type=_Run).id
    return _Outcome(pending.id, "done", run)


def _refused(pending: _Pending, error: OrderError) -> _Outcome:
    kind = error.kinds[0].rpartition(".")[2]
    problem = error.message.replace("\0", "\\0")  # which a text of the server cannot hold
    log.warning(
        "an order of a transaction was refused",
        order=pending.id,
        call=pending.call,
        job=pending.job_id,
        placed_by=pending.placed_by,
        problem=problem,
    )
    return _Outcome(pending.id, "refused", error=kind, problem=problem)
