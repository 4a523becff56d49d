"""`GET /scheduler/jobs?fields=…`: parts of many jobs, with the newest runs of each from one query of the store."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import ExecutionQuery, Job
from gnomon.stores.memory import MemoryStore
from gnomon_sqlite.store import SqliteStore


async def tick(n: int = 0) -> None:
    if n % 2:
        raise ValueError(n)


class CountingStore(MemoryStore):
    """Counts the lists of executions that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[ExecutionQuery] = []

    async def executions(self, query: ExecutionQuery) -> Any:
        self.lists.append(query)
        return await super().executions(query)


async def run(ask: Any, job_id: str, times: int) -> list[str]:
    ids = []
    for n in range(times):
        triggered = await ask.kernel.trigger(job_id, kwargs={"n": n})
        ids.append(triggered.execution.id)
        await ask.kernel.wait(triggered.execution.id)
    return ids


@pytest.mark.parametrize("is_durable", [False, True])
async def test_each_job_has_its_newest_runs(serve: Any, tmp_path: Any, is_durable: bool) -> None:
    store = SqliteStore(tmp_path / "log.db") if is_durable else MemoryStore()
    jobs = [Job(id=name, func=tick, tags=["few"] if name != "busy" else []) for name in ("busy", "quiet", "rare")]
    async with serve(*jobs, kernel={"store": store}) as ask:
        rare, busy = await run(ask, "rare", 1), await run(ask, "busy", 5)
        few = (await ask("GET", "/scheduler/jobs?fields=recent&recent=2")).json
        tagged = (await ask("GET", "/scheduler/jobs?fields=recent,name&tag=few")).json
        named = (await ask("GET", "/scheduler/jobs?fields=recent&recent=50&id=busy")).json

    newest = sorted(busy, reverse=True)  # all at one time of the virtual clock, so their ids order them
    assert [job["id"] for job in few] == ["busy", "quiet", "rare"]
    assert [[one["_id"] for one in job["recent"]] for job in few] == [newest[:2], [], rare]
    assert {one["status"] for job in named for one in job["recent"]} == {"success", "failed"}
    assert [list(job) for job in tagged] == [["id", "recent", "name"]] * 2
    assert [[one["_id"] for one in job["recent"]] for job in named] == [newest]


async def test_many_jobs_are_one_query_of_the_store(serve: Any) -> None:
    store = CountingStore()
    async with serve(*(Job(id=f"job-{n}", func=tick) for n in range(30)), kernel={"store": store}) as ask:
        store.lists.clear()
        await ask("GET", "/scheduler/jobs?fields=recent")
        for_recent = len(store.lists)
        await ask("GET", "/scheduler/jobs")

    assert (for_recent, len(store.lists)) == (1, 2)


async def test_an_unknown_field_is_refused_by_name(serve: Any) -> None:
    async with serve(Job(id="one", func=tick)) as ask:
        answer = await ask("GET", "/scheduler/jobs?fields=recent,color")

    assert answer.status == 400
    assert "no job has the field 'color'" in answer.json["detail"] + str(answer.json["errors"])
