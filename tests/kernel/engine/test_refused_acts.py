"""Acts of operators that were refused are in the history as failed, and a client in a loop does not fill the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from gnomon import GnomonError, Job, Kernel, RunOrder, StoreUnavailableError, UnknownJobError
from gnomon.domain.records import Action, ActionQuery
from gnomon.engine.refused_acts import MOST_OF_ACTOR, MOST_OF_ALL
from gnomon.testing import RecordingStore, VirtualClock, check_store, make_kernel

Make = Callable[..., Kernel]
Act = Callable[[Kernel, str], Awaitable[Any]]
UNKNOWN = "0123456789abcdef01234567"


async def quick(symbol: str = "600519") -> None: ...


async def refused(kernel: Kernel, **filters: Any) -> list[Action]:
    return (await kernel.actions(ActionQuery(status="failed", limit=200, **filters))).items


async def over(kernel: Kernel) -> str:
    run = (await kernel.trigger("quick")).execution.id
    return (await kernel.wait(run)).id


ACTS_ON_JOBS: dict[str, Act] = {
    "trigger": lambda kernel, job_id: kernel.trigger(job_id, actor="ann"),
    "pause": lambda kernel, job_id: kernel.pause(job_id, actor="ann", reason="holidays"),
    "resume": lambda kernel, job_id: kernel.resume(job_id, actor="ann"),
    "describe": lambda kernel, job_id: kernel.describe(job_id, note="x", actor="ann"),
    "remove": lambda kernel, job_id: kernel.remove_job(job_id, actor="ann"),
}
ACTS_ON_RUNS: dict[str, Act] = {
    "cancel": lambda kernel, run: kernel.cancel(run, actor="ann"),
    "mark_failed": lambda kernel, run: kernel.fail(run, "it hung", actor="ann"),
    "hide": lambda kernel, run: kernel.hide(run, actor="ann"),
}


@pytest.mark.parametrize("action", ACTS_ON_JOBS)
async def test_an_act_on_an_unknown_job_is_in_the_history_of_that_id(action: str) -> None:
    store = RecordingStore()
    async with make_kernel(quick, store=store) as kernel:
        with pytest.raises(GnomonError, match="unknown"):
            await ACTS_ON_JOBS[action](kernel, "unknown")
        (found,) = await refused(kernel, job_id="unknown")
        await check_store(store)

    assert (found.action, found.actor, found.job_id, found.execution_id) == (action, "ann", "unknown", None)
    assert "there is no job 'unknown'" in str(found.error_message)


@pytest.mark.parametrize("action", ACTS_ON_RUNS)
async def test_an_act_on_an_unknown_run_is_in_the_history(action: str) -> None:
    async with make_kernel(quick) as kernel:
        with pytest.raises(GnomonError):
            await ACTS_ON_RUNS[action](kernel, UNKNOWN)
        (found,) = await refused(kernel)

    assert (found.action, found.job_id, found.execution_id) == (action, "", UNKNOWN)


async def test_a_refused_list_is_in_the_history_of_its_first_job_that_is_not_valid() -> None:
    async with make_kernel(quick) as kernel:
        with pytest.raises(GnomonError, match="2 of 3 orders"):
            await kernel.trigger_many([RunOrder("quick"), RunOrder("unknown"), RunOrder("other")], actor="ann")
        (found,) = await refused(kernel)

    assert (found.action, found.job_id) == ("trigger", "unknown")
    assert "order 2: there is no job 'other'" in str(found.error_message)


@pytest.mark.parametrize("action", ["cancel", "mark_failed"])
async def test_an_act_on_a_run_that_is_over_is_in_the_history_of_its_job(action: str) -> None:
    async with make_kernel(quick) as kernel:
        run = await over(kernel)
        with pytest.raises(GnomonError, match="already ended"):
            await ACTS_ON_RUNS[action](kernel, run)
        (found,) = await refused(kernel, job_id="quick")

    assert (found.action, found.execution_id, "already ended" in str(found.error_message)) == (action, run, True)


async def test_hiding_a_run_that_goes_on_and_arguments_that_do_not_fit_are_in_the_history() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    async with make_kernel(quick, waits) as kernel:
        run = (await kernel.trigger("waits")).execution.id
        with pytest.raises(GnomonError):
            await kernel.hide(run, actor="ann")
        with pytest.raises(GnomonError):
            await kernel.trigger("quick", kwargs={"symbols": 1}, actor="bob")
        with pytest.raises(GnomonError):
            await kernel.add_job(Job(id="new", func="no.such:function"), actor="cid")
        found = [(one.actor, one.action, one.job_id) for one in await refused(kernel)]

    assert found == [("cid", "add", "new"), ("bob", "trigger", "quick"), ("ann", "hide", "waits")]


async def test_nobody_in_particular_and_code_are_not_in_the_history() -> None:
    async with make_kernel(quick) as kernel:
        for act in (kernel.trigger("unknown"), kernel.cancel(UNKNOWN), kernel.pause("unknown", actor="kernel")):
            with pytest.raises(GnomonError):
                await act
        found = await refused(kernel)

    assert found == []


async def test_a_client_in_a_loop_does_not_fill_the_log_and_is_counted() -> None:
    clock = VirtualClock()
    async with make_kernel(quick, clock=clock) as kernel:

        async def knock(actor: str, times: int) -> None:
            for _ in range(times):
                with pytest.raises(GnomonError):
                    await kernel.trigger("unknown", actor=actor)

        await knock("loop", 200)
        await knock("ann", 1)
        first_minute = await refused(kernel)
        await clock.advance(timedelta(minutes=1))
        await knock("loop", 1)
        newest = (await refused(kernel))[0]
        for number in range(20):
            await knock(f"one of {number}", 10)
        everything = await refused(kernel)

    assert [one.actor for one in first_minute].count("loop") == MOST_OF_ACTOR
    assert first_minute[0].actor == "ann"
    assert f"{200 - MOST_OF_ACTOR} more" in str(newest.error_message)
    assert len(everything) == MOST_OF_ACTOR + 1 + MOST_OF_ALL


async def test_long_texts_of_a_refused_act_are_cut() -> None:
    store = RecordingStore()
    async with make_kernel(quick, store=store) as kernel:
        with pytest.raises(GnomonError):
            await kernel.trigger("x" * 100_000, actor="ann")
        (found,) = await refused(kernel)

    assert len(found.job_id) <= 128
    assert len(str(found.error_message)) <= 600


async def test_what_no_log_can_hold_is_escaped_in_a_refused_act() -> None:
    async with make_kernel(quick, store=RecordingStore()) as kernel:
        with pytest.raises(UnknownJobError):
            await kernel.trigger("\ud800 \0", actor="ann")
        (found,) = await refused(kernel)

    assert found.job_id == "\\ud800 \\x00"


async def test_a_refusal_does_not_wait_for_a_store_that_is_away() -> None:
    class Away(RecordingStore):
        is_away = False

        async def append(self, *args: Any) -> None:
            if self.is_away:
                raise StoreUnavailableError("away")
            await super().append(*args)

    clock, store = VirtualClock(), Away()
    async with make_kernel(quick, clock=clock, store=store) as kernel:
        store.is_away = True
        with pytest.raises(GnomonError, match="there is no job"):
            await kernel.trigger("unknown", actor="ann")
        store.is_away = False
        await clock.advance(timedelta(seconds=10))  # so that the journal tries again
        await kernel.trigger("quick", actor="ann")
        found = [one.job_id for one in await refused(kernel)]

    assert found == ["unknown"]
