"""Carries out calls of KernelApi together: triggers of the same kind as one list, which takes one commit.

The kernel accepts all orders of a list or none. Those that it names are answered with their errors, and the others are
a list again. Where a queue has no room for all, or where it names none, each half of the list is tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from gnomon.domain.orders import Answer, Order
from gnomon_postgres.orders.order_calls import OF_RUN, Call, kinds_of

Handler: TypeAlias = Callable[[Order], Awaitable[Answer]]


async def answers_to(calls: Sequence[Call], handler: Handler) -> list[Answer]:
    """Carry out calls that may be carried out together, and return their answers in order.

    Those about one job are accepted in their order: in one list, or each alone, for which the kernel lets them queue.
    """
    answers: dict[int, Answer] = {}

    async def answer_list(numbers: list[int]) -> None:
        answers.update(zip(numbers, await _answers_to_list([calls[one] for one in numbers], handler), strict=True))

    async def answer(number: int) -> None:
        answers[number] = await handler(calls[number].order)

    lists, alone = _lists_of(calls)
    async with asyncio.TaskGroup() as tasks:
        for numbers in lists:
            tasks.create_task(answer_list(numbers))
        for number in alone:
            tasks.create_task(answer(number))
    return [answers[number] for number in range(len(calls))]


def _lists_of(calls: Sequence[Call]) -> tuple[list[list[int]], list[int]]:
    """Return the numbers of the calls that make lists, and of those that are carried out alone."""
    kinds_of_jobs: dict[Any, set[Any]] = {}
    for call in calls:
        kinds_of_jobs.setdefault(call.arguments.get("job_id"), set()).add(call.list_kind)
    lists: dict[Any, list[int]] = {}
    alone: list[int] = []
    for number, call in enumerate(calls):
        if call.list_kind is None or len(kinds_of_jobs[call.arguments["job_id"]]) > 1:
            alone.append(number)
        else:
            lists.setdefault(call.list_kind, []).append(number)
    return list(lists.values()), alone


async def _answers_to_list(calls: Sequence[Call], handler: Handler) -> list[Answer]:
    answer = await handler(_list_of(calls))
    if answer.error is None:
        return list(map(Answer, msgspec.json.decode(answer.result, type=list[msgspec.Raw])))
    if problems := answer.error.problems:
        return await _beside(calls, {number: Answer(error=problem) for number, problem in problems.items()}, handler)
    if len(calls) == 1 or "StoreError" in kinds_of(answer):  # then no other call can be carried out, either
        return [answer] * len(calls)
    return await _answers_to_parts(calls, answer, handler)


async def _answers_to_parts(calls: Sequence[Call], answer: Answer, handler: Handler) -> list[Answer]:
    """Return the answers to calls that were refused as one list: of those to the full job, or of each half."""
    is_full = "QueueFullError" in kinds_of(answer)
    if is_full and answer.error is not None:
        job_id = answer.error.attributes.get("job_id")
        of_job = [number for number, call in enumerate(calls) if call.arguments["job_id"] == job_id]
        if 0 < len(of_job) < len(calls):
            answers = await _answers_to_list([calls[number] for number in of_job], handler)
            return await _beside(calls, dict(zip(of_job, answers, strict=True)), handler)
    middle = len(calls) // 2
    first, second = await _answers_to_list(calls[:middle], handler), calls[middle:]
    known: dict[int, Answer] = {}
    if is_full and "QueueFullError" in kinds_of(first[-1]):  # then there is no room for those that wait, either
        known = {number: first[-1] for number, call in enumerate(second) if call.waits}
    return first + await _beside(second, known, handler)


async def _beside(calls: Sequence[Call], known: dict[int, Answer], handler: Handler) -> list[Answer]:
    """Return the answers that are known, and those to the other calls."""
    left = [call for number, call in enumerate(calls) if number not in known]
    others = iter(await _answers_to_list(left, handler) if left else [])
    return [known[number] if number in known else next(others) for number in range(len(calls))]


def _list_of(calls: Sequence[Call]) -> Order:
    orders = [{name: call.arguments[name] for name in OF_RUN & call.arguments.keys()} for call in calls]
    arguments = {name: calls[0].arguments[name] for name in ("actor", "when_full")}
    return Order("trigger_many", msgspec.Raw(msgspec.json.encode({"orders": orders, **arguments})))
