"""A kernel as a work queue: full queues, lists of orders, and callers that wait for the ends of their runs."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gnomon import (
    Event,
    Execution,
    GnomonError,
    IdempotencyKeyError,
    Job,
    JobResumed,
    JobState,
    Kernel,
    Missed,
    QueueFullError,
    RunOrder,
    RunOrdersError,
    Scheduled,
    Triggered,
    UnknownExecutionError,
    UnknownJobError,
    hookimpl,
)
from gnomon.domain.records import ActionQuery
from gnomon.engine import ended_runs, run_commands
from gnomon.testing import EventList, RecordingStore, check_store, make_kernel

Make = Callable[..., Kernel]


class Work:
    """A job with one run at a time, whose bodies end when the test says so."""

    def __init__(self, **policies: Any) -> None:
        self.started: list[Any] = []
        self._slots = asyncio.Semaphore(0)
        self.job = Job(id="work", func=self.body, **{"queue_limit": 2, **policies})

    async def body(self, n: Any = None) -> Any:
        self.started.append(n)
        await self._slots.acquire()
        return n

    def finish(self, count: int = 1) -> None:
        for _ in range(count):
            self._slots.release()


@pytest.fixture
def work() -> Work:
    return Work()


async def fill(kernel: Kernel, count: int = 3) -> list[Triggered]:
    """Trigger one run that starts, and two that wait."""
    return [await kernel.trigger("work", kwargs={"n": n}) for n in range(count)]


def waiting_callers(kernel: Kernel, *numbers: int) -> list[asyncio.Task[Triggered]]:
    return [
        asyncio.create_task(kernel.trigger("work", kwargs={"n": n}, when_full="wait"), name=f"caller {n}")
        for n in numbers
    ]


async def turns(count: int = 20) -> None:
    """Run everything that can happen without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- a full queue


async def test_a_full_queue_refuses_a_trigger_and_records_nothing(
    gnomon_kernel: Make, gnomon_events: EventList, work: Work
) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        before = len(gnomon_events)
        with pytest.raises(QueueFullError, match='when_full="wait"') as refused:
            await kernel.trigger("work", kwargs={"n": 3}, actor="ann")

        assert (refused.value.job_id, refused.value.waiting, refused.value.limit) == ("work", 2, 2)
        assert len(gnomon_events) == before
        assert (await kernel.actions(ActionQuery(actor="ann"))).total == 0

        work.finish()
        await kernel.wait((await kernel.job("work")).running[0])
        assert (await kernel.trigger("work", kwargs={"n": 3})).is_new
        work.finish(3)


async def test_a_trigger_can_be_recorded_as_missed(gnomon_kernel: Make, gnomon_events: EventList, work: Work) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        missed = await kernel.trigger("work", when_full="miss", actor="ann")

    assert (missed.execution.status, missed.execution.reason, missed.is_new) == ("missed", "capacity", True)
    (event,) = gnomon_events.of(Missed)
    assert (event.is_manual, event.actor) == (True, "ann")
    assert event.detail == "2 runs of the job wait, and its queue_limit is 2"


async def test_the_limit_is_that_of_the_kernel_for_a_job_without_one(gnomon_kernel: Make) -> None:
    work = Work(queue_limit=None)
    async with gnomon_kernel(work.job, queue_limit=1) as kernel:
        await fill(kernel, 2)
        with pytest.raises(QueueFullError, match="its queue_limit is 1"):
            await kernel.trigger("work")


async def test_a_job_without_a_queue_runs_only_what_can_start_at_once(gnomon_kernel: Make) -> None:
    work = Work(queue_limit=0, max_instances=2, overlap="allow")
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel, 2)
        with pytest.raises(QueueFullError, match="cannot start at once need room in the queue"):
            await kernel.trigger("work")
        (caller,) = waiting_callers(kernel, 2)
        await turns()
        assert not caller.done()
        work.finish()
        assert (await caller).execution.status == "running"


async def test_a_kernel_without_free_slots_fills_the_queue_of_a_job(gnomon_kernel: Make) -> None:
    work = Work(overlap="allow")
    async with gnomon_kernel(work.job, max_running=1) as kernel:
        await fill(kernel)
        with pytest.raises(QueueFullError):
            await kernel.trigger("work")


async def test_every_trigger_of_many_callers_is_accepted_or_refused(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    work = Work(queue_limit=None)
    counts = {"accepted": 0, "refused": 0}
    left = iter(range(2_000))

    async def call() -> None:
        for _ in left:
            try:
                await kernel.trigger("work")
            except QueueFullError:
                counts["refused"] += 1
            else:
                counts["accepted"] += 1

    async with gnomon_kernel(work.job, max_running=400) as kernel:
        await asyncio.gather(*(call() for _ in range(500)))
        work.finish(2_000)

    assert counts == {"accepted": 1_001, "refused": 999}
    assert len(gnomon_events.of(Scheduled)) == 1_001
    assert gnomon_events.of(Missed) == []


async def test_an_unknown_word_for_a_full_queue_is_refused(gnomon_kernel: Make, work: Work) -> None:
    async with gnomon_kernel(work.job) as kernel:
        with pytest.raises(GnomonError, match="'raise', 'wait', 'miss', got 'drop'"):
            await kernel.trigger("work", when_full="drop")  # type: ignore[arg-type]


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(GnomonError, match="queue_limit must be 0 or more, got -1"):
        Work(queue_limit=-1)


# --- callers that wait for room


async def test_callers_wait_for_room_in_the_order_in_which_they_came(gnomon_kernel: Make, work: Work) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        callers = waiting_callers(kernel, 3, 4, 5)
        await turns()
        assert not any(caller.done() for caller in callers)

        work.finish()
        await callers[0]
        assert [caller.done() for caller in callers] == [True, False, False]
        with pytest.raises(QueueFullError):
            await kernel.trigger("work")  # the callers were there before

        work.finish(5)
        accepted = await asyncio.gather(*callers)
        await kernel.wait_many(one.execution.id for one in accepted)

    assert work.started == [0, 1, 2, 3, 4, 5]


async def test_a_caller_that_gives_up_leaves_the_line(
    gnomon_kernel: Make, gnomon_events: EventList, work: Work
) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        impatient, patient = waiting_callers(kernel, 3, 4)
        await turns()
        impatient.cancel()
        await asyncio.wait([impatient])
        work.finish()
        accepted = await patient

        assert impatient.cancelled()
        assert accepted.execution.kwargs == {"n": 4}
        assert [event.kwargs["n"] for event in gnomon_events.of(Scheduled)] == [0, 1, 2, 4]


async def test_a_caller_that_gives_up_with_its_place_passes_it_on(
    gnomon_kernel: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        room = kernel._leader._launcher.room
        async with asyncio.timeout(60):
            first, second = waiting_callers(kernel, 3, 4)
            await turns()
            waiting, offer = room._lines["work"][0], room.offer

            def offer_and_cancel() -> None:
                offer()
                if waiting.done() and not first.done():
                    first.cancel()  # it has its place, and has not woken up

            monkeypatch.setattr(room, "offer", offer_and_cancel)
            work.finish()
            assert (await second).execution.kwargs == {"n": 4}
            await asyncio.wait([first])

        assert first.cancelled()
        assert not room._held
        assert not room._lines


async def test_callers_that_wait_are_refused_when_the_kernel_stops(gnomon_kernel: Make, work: Work) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        (caller,) = waiting_callers(kernel, 3)
        await turns()

    with pytest.raises(GnomonError, match="not accepted: the kernel stops"):
        await caller


async def test_callers_that_wait_learn_that_the_job_was_removed(gnomon_kernel: Make, work: Work) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        (caller,) = waiting_callers(kernel, 3)
        await turns()
        await kernel.apply_jobs([])
        with pytest.raises(UnknownJobError):
            await caller


async def test_a_caller_that_waits_does_not_hold_up_other_requests_with_keys(gnomon_kernel: Make, work: Work) -> None:
    async def other() -> None: ...

    async with gnomon_kernel(work.job, other) as kernel:
        await fill(kernel)
        waiting = [asyncio.create_task(kernel.trigger("work", idempotency_key="a", when_full="wait")) for _ in range(2)]
        await turns()
        assert (await kernel.trigger("other", idempotency_key="b")).is_new
        work.finish(4)
        accepted = await asyncio.gather(*waiting)

    assert len({one.execution.id for one in accepted}) == 1
    assert sorted(one.is_new for one in accepted) == [False, True]


async def test_a_repeated_request_is_answered_although_the_queue_is_full(gnomon_kernel: Make, work: Work) -> None:
    async with gnomon_kernel(work.job) as kernel:
        first = await kernel.trigger("work", idempotency_key="a")
        await fill(kernel, 2)
        again = await kernel.trigger("work", idempotency_key="a")

    assert (again.execution.id, again.is_new) == (first.execution.id, False)


async def test_a_paused_job_with_a_full_queue_stays_paused(
    gnomon_kernel: Make, gnomon_events: EventList, work: Work
) -> None:
    async with gnomon_kernel(work.job) as kernel:
        await fill(kernel)
        await kernel.pause("work")
        with pytest.raises(QueueFullError):
            await kernel.trigger("work")

        assert (await kernel.job("work")).state.paused
        assert gnomon_events.of(JobResumed) == []


async def test_runs_that_were_accepted_before_wait_whatever_the_limit_is_now(work: Work) -> None:
    store = RecordingStore()
    async with make_kernel(work.job, store=store) as kernel:
        await fill(kernel)

    before = len(store.recorded.of(Missed))
    smaller = Work(queue_limit=0)
    async with make_kernel(smaller.job, store=store) as kernel:
        smaller.finish(3)
        waiting = [one.stream for one in store.recorded.of(Scheduled)][1:]
        ended = await kernel.wait_many(waiting)
        await check_store(store)

    assert [one.status for one in ended] == ["success", "success"]
    assert len(store.recorded.of(Missed)) == before


# --- lists of orders


class CommitStore(RecordingStore):
    """Counts the orders in each append."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[int] = []

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        self.commits.append(sum(isinstance(event, Scheduled) for event in events))
        await super().append(events, executions, jobs)


def orders(*numbers: Any, **options: Any) -> list[RunOrder]:
    return [RunOrder("work", {"n": n}, **options) for n in numbers]


async def test_a_list_of_orders_is_accepted_in_one_commit_and_in_order() -> None:
    work, store = Work(queue_limit=None), CommitStore()
    async with make_kernel(work.job, store=store) as kernel:
        accepted = await kernel.trigger_many(orders(*range(300)), actor="ann")
        work.finish(300)
        ended = await kernel.wait_many([one.execution.id for one in accepted])

    assert [one.kwargs["n"] for one in ended] == work.started == list(range(300))
    assert [one.return_value for one in ended] == list(range(300))
    assert {one.actor for one in ended} == {"ann"}
    assert [commit for commit in store.commits if commit] == [300]


async def test_nothing_of_a_list_is_recorded_where_one_order_is_not_valid(
    gnomon_kernel: Make, gnomon_events: EventList, work: Work
) -> None:
    async with gnomon_kernel(work.job) as kernel:
        before = gnomon_events.of(Scheduled)
        bad = [RunOrder("work", {"m": 1}), RunOrder("wrok"), RunOrder("work", idempotency_key="\n")]
        with pytest.raises(RunOrdersError) as refused:
            await kernel.trigger_many([*orders(0), *bad, *orders(1)])

    assert sorted(refused.value.problems) == [1, 2, 3]
    assert isinstance(refused.value.problems[2], UnknownJobError)
    assert str(refused.value).startswith("3 of 5 orders are not valid, so none was accepted: order 1: ")
    assert "did you mean 'work'?" in str(refused.value)
    assert gnomon_events.of(Scheduled) == before == []


async def test_a_list_without_room_for_all_is_refused_as_a_whole(
    gnomon_kernel: Make, gnomon_events: EventList, work: Work
) -> None:
    async with gnomon_kernel(work.job) as kernel:
        with pytest.raises(QueueFullError, match="none of the 4 orders was accepted"):
            await kernel.trigger_many(orders(0, 1, 2, 3))
        assert gnomon_events.of(Scheduled) == []

        assert len(await kernel.trigger_many(orders(0, 1, 2))) == 3
        missed = await kernel.trigger_many(orders(3, 4), when_full="miss")

    assert [one.execution.status for one in missed] == ["missed", "missed"]


async def test_a_list_that_waits_is_accepted_as_its_queues_get_room(gnomon_kernel: Make, work: Work) -> None:
    ran: list[int] = []
    all_others = asyncio.Event()

    async def other(n: int) -> None:
        ran.append(n)
        if len(ran) == 8:
            all_others.set()

    mixed = [one for n in range(8) for one in (RunOrder("work", {"n": n}), RunOrder("other", {"n": n}))]
    other_job = Job(id="other", func=other, overlap="queue")
    async with gnomon_kernel(work.job, other_job) as kernel:
        calling = asyncio.create_task(kernel.trigger_many(mixed, when_full="wait"))
        await all_others.wait()  # orders of another job wait for nothing
        assert ran == list(range(8))
        assert not calling.done()
        work.finish(8)
        accepted = await calling
        ended = await kernel.wait_many([one.execution.id for one in accepted])

    assert [(one.job_id, one.kwargs["n"]) for one in ended] == [(one.job_id, one.kwargs["n"]) for one in mixed]
    assert work.started == list(range(8))


async def test_a_list_that_is_sent_again_makes_no_second_runs(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    work = Work(queue_limit=10)
    keyed = [RunOrder("work", {"n": n}, idempotency_key=f"key-{n}") for n in range(3)]
    async with gnomon_kernel(work.job) as kernel:
        first = await kernel.trigger_many(keyed)
        more = [*keyed, *orders(3, idempotency_key="key-3"), *orders(3, idempotency_key="key-3")]
        again = await kernel.trigger_many(more)
        with pytest.raises(IdempotencyKeyError, match="was used for another request"):
            await kernel.trigger_many(orders(4, idempotency_key="key-0"))
        with pytest.raises(RunOrdersError, match="order 1: the idempotency key 'key-5' is that of another order"):
            await kernel.trigger_many([*orders(5, idempotency_key="key-5"), *orders(6, idempotency_key="key-5")])

    assert [one.execution.id for one in again[:3]] == [one.execution.id for one in first]
    assert [one.is_new for one in again] == [False, False, False, True, False]
    assert again[3].execution.id == again[4].execution.id
    assert len(gnomon_events.of(Scheduled)) == 4


async def test_guards_see_each_job_of_a_list_once_and_their_vetoes_take_no_place(gnomon_kernel: Make) -> None:
    asked: list[str] = []

    class Guard:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            asked.append(job.id)
            return "closed" if job.id == "shut" else None

    async def shut() -> None: ...

    work = Work()
    listed = [RunOrder("shut"), *orders(0), RunOrder("shut"), RunOrder("shut", force=True), *orders(1, 2)]
    async with gnomon_kernel(work.job, Job(id="shut", func=shut, queue_limit=0), plugins=[Guard()]) as kernel:
        accepted = await kernel.trigger_many(listed)

    assert sorted(asked) == ["shut", "work"]
    found = [(one.execution.job_id, one.execution.reason) for one in accepted]
    assert found == [
        ("shut", "guard"), ("work", None), ("shut", "guard"), ("shut", None), ("work", None), ("work", None),
    ]  # fmt: skip


async def test_lists_have_a_limit_and_may_be_empty(
    gnomon_kernel: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_commands, "MOST_ORDERS", 2)
    async with gnomon_kernel(work.job) as kernel:
        assert await kernel.trigger_many([]) == []
        assert await kernel.wait_many([]) == []
        with pytest.raises(GnomonError, match="3 orders are too many for one list: send 2 at a time"):
            await kernel.trigger_many(orders(0, 1, 2))


# --- waiting for ends


class Unreadable(RecordingStore):
    async def execution(self, execution_id: str) -> Execution | None:
        raise AssertionError("the store was read")


async def test_the_end_of_a_run_that_has_ended_is_not_read_from_the_store() -> None:
    async def quick(n: int) -> dict[str, int]:
        return {"n": n}

    async with make_kernel(quick, store=Unreadable()) as kernel:
        ids = [(await kernel.trigger("quick", kwargs={"n": n})).execution.id for n in range(3)]
        while any(kernel._leader._journal.ended.get(one) is None for one in ids):  # noqa: ASYNC110 - the bodies end at once
            await asyncio.sleep(0)
        first = await kernel.wait(ids[0])
        first.return_value["n"] = "changed by the caller"
        ended = await kernel.wait_many(ids)

    assert [one.return_value for one in ended] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_the_end_of_an_older_run_is_read_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quick() -> str:
        return "x" * 1_000

    monkeypatch.setattr(ended_runs, "MOST_BYTES", 5_000)
    store = RecordingStore()
    async with make_kernel(quick, store=store) as kernel:
        ids = [(await kernel.trigger("quick")).execution.id for _ in range(10)]
        ended = await kernel.wait_many(ids)
        assert [kernel._leader._journal.ended.get(one) is not None for one in ids] == [False] * 8 + [True] * 2
        assert [one.status for one in await kernel.wait_many(ids)] == ["success"] * 10
        with pytest.raises(UnknownExecutionError):
            await kernel.wait_many([*ids, "f" * 24])
    async with make_kernel(quick, store=store) as kernel:
        assert await kernel.wait_many(ids) == ended
