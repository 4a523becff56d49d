"""Bodies that ask something of their kernel; in a module that a child process can import."""

import math
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

from gnomon import Context, GnomonError, Job, JobError, current, job


@job
def target(number: int = 0) -> int:
    return number


async def asks_async(ctx: Context, number: int = 7) -> str:
    return (await ctx.trigger("target", number=number)).execution.id


def asks_in_thread(ctx: Context, number: int = 7) -> str:
    return str(ctx.trigger(target, number=number).execution.id)


def asks_in_process(number: int = 7) -> str:
    return str(current().trigger("target", number=number).execution.id)


async def asks_async_in_process(number: int = 7) -> str:
    return (await current().trigger("target", number=number)).execution.id


def adds_in_process() -> str:
    return str(current().add_job(target, id="added", kwargs={"number": 3}, every="1h").id)


def plain() -> str:
    return "plain"


def adds_a_plain_function_in_process() -> str:
    return str(current().add_job(plain).id)


def adds_in_thread(ctx: Context) -> str:
    return str(ctx.add_job(Job(id="added", func="ordering_bodies:target", kwargs={"number": 3}), every="1h").id)


async def adds_async(ctx: Context) -> str:
    return (await ctx.add_job(target, id="added", kwargs={"number": 3}, every="1h")).id


def adds_for_a_tenant() -> str:
    current().add_job(target, id="owned", owner="tenant-7", every="1h")
    current().add_job(target, id="owned", owner="tenant-7", replace=True, expect_version=1, every="2h")
    return _refusal(actor="ann") + "\n" + _refusal(actor="ann", reason="mine")


async def adds_for_a_tenant_async() -> str:
    await current().add_job(target, id="owned", owner="tenant-7", every="1h")
    await current().add_job(target, id="owned", owner="tenant-7", replace=True, expect_version=1, every="2h")
    return _refusal(actor="ann") + "\n" + _refusal(actor="ann", reason="mine")


def _refusal(**signature: Any) -> str:
    try:
        current().add_job(target, id="signed", **signature)
    except JobError as exc:
        return str(exc)
    return "accepted"


def sends_what_is_not_json() -> None:
    current().trigger("target", number=object())


def anything(value: Any = None) -> str:
    return repr(value)


def typed(
    day: date | None = None, names: set[int] | None = None, raw: bytes = b"", at: Decimal | str = "", kind: str = ""
) -> str:
    return repr([value for value in (day, names, raw, at, kind) if value])


def asks_with_strange_values() -> list[str]:
    ctx, found = current(), []
    for value in (math.nan, (1, 2), {1}, b"ab", {1: 2}, date(2026, 1, 2), 10**400, "\ud800", {"a": [1, None]}):
        found.append(_tried(ctx.trigger, "anything", value=value))
        found.append(_tried(ctx.add_job, anything, id="new", kwargs={"value": value}, replace=True))
    given: list[dict[str, Any]] = [{"day": date(2026, 1, 2)}, {"names": {2, 1}}, {"raw": b"ab"}]
    given += [{"at": Decimal("1.50")}, {"at": b"ab"}, {"kind": b"ab"}, {"day": 7}]
    found += [_tried(ctx.trigger, "typed", **kwargs) for kwargs in given]
    found.append(_tried(ctx.add_job, typed, id="new", kwargs=given[0], replace=True))
    refused: list[dict[str, Any]] = [{"every": 10**400}, {"tags": ["\ud800"]}]
    return found + [_tried(ctx.add_job, anything, id="new", replace=True, **keys) for keys in refused]


def _tried(order: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    try:
        order(*args, **kwargs)
    except GnomonError as exc:
        return re.sub("^job '[a-z]+': |^job: ", "", str(exc))
    return "accepted"


def asks_in_a_fork() -> str:
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            current().trigger("target")
        except GnomonError as exc:
            os.write(writing, str(exc).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def asks_from_threads() -> list[str]:
    ctx = current()
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: str(ctx.trigger("target", number=number).execution.id), range(40)))
