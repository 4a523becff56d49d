"""Labels: those of a job and of a trigger, on every kind of run, and in lists."""

from collections.abc import Callable

import pytest

from gnomon import Duration, ExecutionQuery, Job, JobError, Kernel, Missed, Retry, Scheduled
from gnomon.errors import IdempotencyKeyError
from gnomon.hookspecs import hookimpl
from gnomon.testing import EventList, VirtualClock

Make = Callable[..., Kernel]


async def fails() -> None:
    raise ValueError("as told")


JOB = Job(id="sync", func=fails, every=Duration(hours=1), labels={"team": "data", "tenant": "0"})


async def listed(kernel: Kernel, *labels: str) -> list[dict[str, str]]:
    return [view.labels for view in (await kernel.executions(ExecutionQuery(labels=labels))).items]


async def test_a_fire_has_the_labels_of_its_job_and_a_trigger_adds_and_replaces_some(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    async with gnomon_kernel(JOB) as kernel:
        await gnomon_clock.advance(Duration(hours=1))
        await gnomon_clock.advance(Duration(seconds=1))  # runs of one instant are listed in the order of their ids
        triggered = await kernel.trigger("sync", labels={"tenant": "7", "file": "a:b=c"})
        await kernel.wait(triggered.execution.id)

        by_hand = {"team": "data", "tenant": "7", "file": "a:b=c"}
        assert triggered.execution.labels == by_hand
        assert await listed(kernel, "team:data") == [by_hand, JOB.labels]
        assert await listed(kernel, "tenant:7", "team:data") == [by_hand]
        assert await listed(kernel, "file:a:b=c") == [by_hand]
        assert await listed(kernel, "file:a") == []


async def test_retries_keep_the_labels_of_the_first_attempt(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    job = Job(id="sync", func=fails, retry=Retry(attempts=3, delay=Duration(seconds=1)))
    async with gnomon_kernel(job) as kernel:
        await kernel.trigger("sync", labels={"tenant": "7"})
        await gnomon_clock.advance(Duration(minutes=1))

    assert [event.labels for event in gnomon_events.of(Scheduled)] == [{"tenant": "7"}] * 3


async def test_runs_that_do_not_take_place_have_labels_too(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    class Closed:
        @hookimpl
        def guard(self, job: Job) -> str:
            return f"{job.id} is closed"

    async with gnomon_kernel(JOB, plugins=[Closed()]) as kernel:
        await gnomon_clock.advance(Duration(hours=1))
        await kernel.trigger("sync", labels={"tenant": "7"})
        assert len(await listed(kernel, "team:data")) == 2

    assert [event.labels["tenant"] for event in gnomon_events.of(Missed)] == ["0", "7"]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"a b": "x"}, "the label 'a b' is not valid"),
        ({"a:b": "x"}, "the label 'a:b' is not valid"),
        ({"": "x"}, "the label '' is not valid"),
        ({"tenant": ""}, "has the value ''"),
        ({"tenant": 7}, "has the value 7: expected a text"),
        ({"tenant": "a,b"}, "without commas"),
        ({"tenant": "a\nb"}, "printable"),
        ({"tenant": "x" * 129}, "1 to 128"),
        ({f"l{n}": "x" for n in range(17)}, "17 labels are too many: a run may have 16"),
    ],
)
async def test_labels_that_cannot_be_filtered_are_refused(
    gnomon_kernel: Make, labels: dict[str, str], problem: str
) -> None:
    with pytest.raises(JobError, match=problem):
        Job(id="sync", func=fails, labels=labels)
    async with gnomon_kernel(Job(id="sync", func=fails)) as kernel:
        with pytest.raises(JobError, match=problem):
            await kernel.trigger("sync", labels=labels)


async def test_a_key_of_a_request_covers_its_labels(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(JOB) as kernel:
        first = await kernel.trigger("sync", labels={"tenant": "7"}, idempotency_key="k")
        again = await kernel.trigger("sync", labels={"tenant": "7"}, idempotency_key="k")
        assert (again.execution.id, again.is_new) == (first.execution.id, False)
        with pytest.raises(IdempotencyKeyError):
            await kernel.trigger("sync", labels={"tenant": "8"}, idempotency_key="k")
