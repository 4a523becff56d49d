"""The progress of a process whose kernel leads, is deposed, follows another process, and leads again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gnomon import Job, Kernel
from gnomon.conversion import convert
from gnomon.engine.leader import Leader
from gnomon_redis import RedisPlugin
from gnomon_redis.progress_record import decode
from leading_process import LeadingProcess, WaitingStore, depose, until

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]
QUICK, REST = Job(id="quick", func="time:time"), Job(id="rest", func="asyncio:sleep", args=[3600])


async def test_every_run_has_its_record_whichever_process_led(
    server: Any, redis: Any, eventually: Eventually, tmp_path: Path
) -> None:
    store, config = WaitingStore(tmp_path / "log.db"), {"url": server.url}
    plugin = RedisPlugin(convert(config, RedisPlugin.Config, "redis"))

    async def has_record(run_id: str, status: str, reason: str | None = None) -> None:
        async def is_there() -> bool:
            text = await redis.get(f"progress:{run_id}")
            record = decode(text) if text else None
            return record is not None and (record.status, record.reason) == (status, reason)

        await eventually(is_there)

    async def run_one() -> str:
        run = (await kernel.trigger("quick")).execution
        assert (await kernel.wait(run.id)).status == "success"
        await has_record(run.id, "success")
        return run.id

    async with Kernel(store=store, jobs=[QUICK, REST], plugins={"redis": plugin}) as kernel:
        runs = [await run_one()]
        left = (await kernel.trigger("rest")).execution
        await has_record(left.id, "running")

        await depose(kernel, store)
        plugins = {"redis": {"class": "gnomon_redis:RedisPlugin", "config": config}}
        definitions = [job.definition() for job in (QUICK, REST)]
        other = LeadingProcess(tmp_path / "log.db", jobs=definitions, plugins=plugins)
        await has_record(left.id, "failed", "lost")
        runs.append(await run_one())
        rest = (await kernel.trigger("rest")).execution
        await has_record(rest.id, "running")
        other.close()

        store.may_lead.set()
        await until(lambda: isinstance(kernel.part, Leader) and not kernel.health().is_starting)
        await has_record(rest.id, "failed", "lost")
        runs.append(await run_one())
        assert plugin.problem is None
        for run in runs:
            await has_record(run, "success")
