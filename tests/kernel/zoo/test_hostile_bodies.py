"""The hostile zoo: whatever a body does, its run ends, its neighbours are on time and the kernel stays healthy."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest

import hostile_bodies
import hostile_tasks
from gnomon import Event, Failed, Job, Kernel, Warned
from gnomon.testing import EventList, VirtualClock
from gnomon.testing.clock import START

RAISING = [f"raises_{name}" for name in hostile_bodies.RAISED] + ["raises_recursion_error"]
RETURNING = [f"returns_{name}" for name in hostile_bodies.RETURNED]
FAILING_TASKS = ["cancels_its_own_task"]
SUCCEEDING_TASKS = ["cancels_its_own_task_and_returns", "swallows_a_cancellation"]

FORMS = (("async", "async"), ("async", "later"), ("thread", "sync"), ("process", "sync"))
AWAITED = [f"{name}_{ending}" for name in hostile_tasks.AWAITED for ending in hostile_tasks.ENDINGS]
FORGOTTEN = [f"{name}_{ending}" for name in hostile_tasks.FORGOTTEN for ending in hostile_tasks.ENDINGS]
TASKS = [
    *(("async", name, "failed") for name in AWAITED),
    *(("process", name, "failed") for name in AWAITED),
    *(("async", name, "succeeded") for name in FORGOTTEN),
    *(("async", body.__name__, "failed") for body in hostile_tasks.REFUSED),
    ("async", "cancels_all_other_tasks", "succeeded"),
    ("async", "cancels_all_tasks_later", "failed"),  # its own among them
]
BODIES = [
    *((runner, f"{form}_{name}", "failed") for name in RAISING for runner, form in FORMS),
    *((runner, f"{form}_{name}", "succeeded") for name in RETURNING for runner, form in FORMS),
    *(("async", name, "failed") for name in FAILING_TASKS),
    *(("async", name, "succeeded") for name in SUCCEEDING_TASKS),
]
"""Runner, function, and how its run ends."""

DUE = START + timedelta(minutes=1)
LATER = START + timedelta(minutes=2)


def neighbour_before() -> str:
    return "done"


async def neighbour_after() -> str:
    return "done"


def ends(events: Iterable[Event]) -> dict[str, str]:
    return {
        event.job_id: event.type for event in events if event.type in {"succeeded", "failed", "cancelled", "missed"}
    }


@pytest.mark.parametrize(
    ("runner", "body", "end"), BODIES + TASKS, ids=[f"{runner}-{body}" for runner, body, _ in BODIES + TASKS]
)
async def test_a_hostile_body_ends_and_hurts_nothing(
    gnomon_kernel: Callable[..., Kernel],
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    runner: str,
    body: str,
    end: str,
) -> None:
    module = "hostile_tasks" if (runner, body, end) in TASKS else "hostile_bodies"
    jobs = [
        Job(id="a_before", func=neighbour_before, at=DUE),
        Job(id="b_async_before", func=neighbour_after, at=DUE),
        Job(id="hostile", func=f"{module}:{body}", at=DUE, runner=runner),
        Job(id="z_after", func=neighbour_after, at=DUE),
        Job(id="later", func=neighbour_after, at=LATER),
    ]
    async with gnomon_kernel(*jobs, max_running=4) as kernel:
        await gnomon_clock.advance_to(DUE)
        await gnomon_clock.until(lambda: len(ends(gnomon_events)) == 4)
        assert kernel.health().running == 0
        await gnomon_clock.advance_to(LATER)
        await gnomon_clock.until(lambda: len(ends(gnomon_events)) == 5)
        health = kernel.health()

    assert ends(gnomon_events) == {
        "a_before": "succeeded",
        "b_async_before": "succeeded",
        "hostile": end,
        "z_after": "succeeded",
        "later": "succeeded",
    }, [event.traceback for event in gnomon_events.of(Failed)]
    assert (health.state, health.problem) == ("healthy", None)
    while hostile_tasks.KEPT:
        assert isinstance(hostile_tasks.KEPT.pop().exception(), SystemExit | KeyboardInterrupt)
    if body in FORGOTTEN and not body.startswith("task_that_outlives"):
        (warned,) = gnomon_events.of(Warned, "hostile")
        assert warned.kind == "tried_to_exit"
