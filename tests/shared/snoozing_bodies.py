"""Bodies that snooze, which a child process or a restarted kernel imports."""

import asyncio

from gnomon import Context, current


def snoozes_in_a_process(ctx: Context) -> None:
    try:
        ctx.snooze("1h", "in a process")
    except Exception as exc:
        raise AssertionError from exc


async def snoozes_async_in_a_process() -> None:
    await asyncio.sleep(0)
    current().snooze("1h", "async in a process")


def snoozes_once(ctx: Context) -> None:
    if not ctx.snoozes:
        ctx.snooze("10m")
