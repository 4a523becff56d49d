"""Groups of jobs in a running kernel: slots, rates on the kernel's clock, restarts, and what people see of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Duration, Job, JobError, Kernel, Missed, Started
from gnomon.analysis.explain import explain
from gnomon.errors import ConfigError
from gnomon.testing import EventList, VirtualClock

Make = Callable[..., Kernel]
MINUTE = timedelta(minutes=1)


def jobs(clock: VirtualClock, *names: str, seconds: float = 600, **keys: Any) -> list[Job]:
    async def body() -> None:
        await clock.sleep(seconds)

    return [Job(id=name, func=body, **{"cron": "0 * * * *", "group": "warehouse"} | keys) for name in names]


def starts(events: EventList) -> list[tuple[str, int]]:
    first = events.of(Started)[0].at
    return [(event.job_id, round((event.at - first).total_seconds())) for event in events.of(Started)]


async def test_of_jobs_that_are_due_at_once_as_many_run_as_their_group_allows(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(*jobs(gnomon_clock, "a", "b", "c"), groups={"warehouse": 2}) as kernel:
        await gnomon_clock.advance(60 * MINUTE)
        (group,) = kernel.health().groups
        assert (len(group.running), group.waiting) == (2, 1)
        assert (await kernel.job("c")).waiting != []

        await gnomon_clock.advance(30 * MINUTE)

    assert starts(gnomon_events) == [("a", 0), ("b", 0), ("c", 600)]


async def test_explain_names_the_runs_that_take_the_slots_of_the_group(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    async with gnomon_kernel(*jobs(gnomon_clock, "a", "b", "c"), groups={"warehouse": 2}) as kernel:
        await gnomon_clock.advance(60 * MINUTE)
        taken = [(await kernel.job(name)).running[0] for name in "ab"]
        found = await explain(kernel._store, "c", None, gnomon_clock.now())
        text = " ".join(found.sentences)
        assert "It waits for a slot of group warehouse: 2 of 2 taken by run " in text
        assert all(f"run {run} of job {name}" in text for run, name in zip(taken, "ab", strict=True))

        await gnomon_clock.advance(30 * MINUTE)
        found = await explain(kernel._store, "c", None, gnomon_clock.now())
        assert "It waited 10 m 00 s for a slot of group warehouse. That was run " in " ".join(found.sentences)


async def test_a_rate_spreads_the_starts_over_the_kernels_clock(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    many = jobs(gnomon_clock, *"abcde", group="api", seconds=1)
    async with gnomon_kernel(*many, groups={"api": {"rate": "2/m"}}) as kernel:
        await gnomon_clock.advance(60 * MINUTE)
        found = await explain(kernel._store, "e", None, gnomon_clock.now())
        assert "It waits for the rate of group api: 2 starts in 1m have been used." in found.sentences
        await gnomon_clock.advance(10 * MINUTE)
        found = await explain(kernel._store, "e", None, gnomon_clock.now())
        assert "It waited 2 m 00 s for the rate of group api: 2 starts in 1m." in found.sentences

    assert starts(gnomon_events) == [("a", 0), ("b", 0), ("c", 60), ("d", 60), ("e", 120)]


async def test_a_rate_counts_the_starts_before_a_restart(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    once = jobs(gnomon_clock, "a", "b", group="api", seconds=1, cron=None)
    groups = {"api": {"rate": "1/m"}}
    async with gnomon_kernel(*once, groups=groups) as kernel:
        await kernel.trigger("a")
        await gnomon_clock.advance(timedelta(seconds=20))
    async with gnomon_kernel(*once, groups=groups) as kernel:
        await kernel.trigger("b")
        await gnomon_clock.advance(2 * MINUTE)

    assert starts(gnomon_events) == [("a", 0), ("b", 60)]


async def test_a_rate_is_not_fooled_by_a_wall_clock_that_is_set(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    once = jobs(gnomon_clock, "a", "b", group="api", seconds=1, cron=None)
    async with gnomon_kernel(*once, groups={"api": {"rate": "1/m"}}) as kernel:
        await kernel.trigger("a")
        await gnomon_clock.jump(timedelta(hours=5))
        identity = (await kernel.trigger("b")).execution.id
        await gnomon_clock.advance(timedelta(seconds=30))
        assert (await kernel.execution(identity)).status == "scheduled"
        await gnomon_clock.advance(timedelta(seconds=31))
        assert (await kernel.execution(identity)).status == "success"


async def test_waiting_for_a_group_ends_with_the_grace(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    pair = jobs(gnomon_clock, "a", "b", grace=Duration(minutes=5))
    async with gnomon_kernel(*pair, groups={"warehouse": 1}):
        await gnomon_clock.advance(80 * MINUTE)

    (missed,) = gnomon_events.of(Missed)
    assert (missed.job_id, missed.reason) == ("b", "capacity")
    assert missed.detail == "it waited for a slot of group warehouse for longer than its grace of 5m"


async def test_a_job_of_a_group_that_is_not_defined_is_refused_with_the_group_that_was_meant(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    (wrong,) = jobs(gnomon_clock, "a", group="warehous")
    with pytest.raises(JobError, match="the group 'warehous' is not defined; did you mean 'warehouse'"):
        gnomon_kernel(wrong, groups={"warehouse": 1})
    async with gnomon_kernel(groups={"warehouse": 1}) as kernel:
        with pytest.raises(JobError, match="the group 'warehous' is not defined"):
            await kernel.add_job(wrong, temporary=True)
        assert await kernel.jobs() == []


def test_limits_that_cannot_be_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        Kernel(groups={"a": 0, "b": {"rate": "x"}, "a b": 1})

    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["groups.a", "groups.b", "groups.a b"]
