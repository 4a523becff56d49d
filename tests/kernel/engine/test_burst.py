"""Far more jobs due at one instant than may run at once."""

from collections import Counter
from datetime import timedelta

import pytest

from fault_runs import rounds
from gnomon import ExecutionQuery, Job, Kernel
from gnomon.engine.timetable import FIRST_CHUNK_JOBS
from gnomon.stores.memory import MemoryStore
from gnomon.testing import VirtualClock

JOBS = rounds(short=10_000, long=50_000)


@pytest.mark.any_python
@pytest.mark.timeout(200)  # the long form takes 6 s on a machine that does nothing else
async def test_of_thousands_of_jobs_due_at_one_instant_all_run_once_and_none_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gnomon.testing.clock.LIMIT_S", 180.0)
    clock, ran = VirtualClock(), Counter[str]()

    async def body(name: str) -> None:
        ran[name] += 1
        await clock.sleep(0.001)

    due = clock.now() + timedelta(hours=1)
    jobs = [Job(id=f"j{number}", func=body, at=due, kwargs={"name": f"j{number}"}) for number in range(JOBS)]
    async with Kernel(jobs=jobs, clock=clock) as kernel:
        clock.is_idle = lambda: kernel.is_idle

        await clock.advance(timedelta(hours=2))

        succeeded = (await kernel.executions(ExecutionQuery(status=("success",), limit=1))).total
        everything = (await kernel.executions(ExecutionQuery(limit=1))).total
    assert set(ran.values()) == {1}
    assert (len(ran), succeeded, everything) == (JOBS, JOBS, JOBS)


async def test_the_first_bodies_of_a_burst_begin_before_anything_else_of_it_is_recorded() -> None:
    clock, store, heads = VirtualClock(), MemoryStore(), list[int]()

    async def body() -> None:
        heads.append(await store.head())

    due = clock.now() + timedelta(hours=1)
    async with Kernel(
        store=store, jobs=[Job(id=f"j{n}", func=body, at=due) for n in range(500)], clock=clock
    ) as kernel:
        clock.is_idle = lambda: kernel.is_idle
        before = await store.head()

        await clock.advance(timedelta(hours=2))

    scheduled_and_started = 2 * FIRST_CHUNK_JOBS
    assert heads[:FIRST_CHUNK_JOBS] == [before + scheduled_and_started] * FIRST_CHUNK_JOBS
    assert len(heads) == 500
