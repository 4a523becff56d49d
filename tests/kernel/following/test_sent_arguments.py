"""Arguments that a follower sends arrive as they would in the kernel that leads, or are refused with its words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gnomon import GnomonError, Job, Kernel, RunOrder
from gnomon_sqlite.store import SqliteStore

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
a_job: Any = Job  # accepts more than its annotations say


def anything(x: object = None) -> list[str]:
    return [type(x).__name__, repr(x)]


def typed(day: date | None = None, wait: timedelta | None = None, ids: set[int] = frozenset()) -> list[str]:  # type: ignore[assignment]
    return [repr(day), repr(wait), repr(sorted(ids))]


class Both(NamedTuple):
    leader: Kernel
    follower: Kernel


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    log = tmp_path / "log.db"
    jobs = [Job(id="anything", func=anything), Job(id="typed", func=typed)]
    async with (
        Kernel(store=SqliteStore(log), jobs=jobs) as leader,
        Kernel(store=SqliteStore(log), role="follower") as follower,
    ):
        yield Both(leader, follower)


async def outcome(kernel: Kernel, job_id: str, kwargs: dict[Any, Any]) -> object:
    """Return the result of a run with these arguments, or the error that refuses them."""
    try:
        triggered = await kernel.trigger(job_id, kwargs=kwargs)
    except GnomonError as exc:
        return type(exc), str(exc)
    return (await kernel.wait(triggered.execution.id)).return_value


ODD: list[Any] = [
    float("nan"),
    float("-inf"),
    {"deep": [float("nan")]},
    NOON,
    NOON.date(),
    timedelta(seconds=1),
    b"abc",
    Decimal(1),
    {1: 2},
    {1, 2},
    (1, (2,)),
    object,
    "\ud800",
    Path("x"),
    {"a": [1, 2.5, None, True, "é"]},
    2**70,
]


@pytest.mark.parametrize("value", ODD, ids=repr)
async def test_a_run_has_the_arguments_that_it_would_have_from_the_leader(both: Both, value: Any) -> None:
    expected = await outcome(both.leader, "anything", {"x": value})

    assert await outcome(both.follower, "anything", {"x": value}) == expected


async def test_values_that_an_annotation_reads_back_cross(both: Both) -> None:
    given = {"day": NOON.date(), "wait": timedelta(seconds=1.5), "ids": {3, 1}}
    expected = await outcome(both.leader, "typed", given)

    assert await outcome(both.follower, "typed", given) == expected
    assert expected == ["datetime.date(2026, 12, 1)", "datetime.timedelta(seconds=1, microseconds=500000)", "[1, 3]"]


async def test_a_list_of_runs_names_those_whose_arguments_would_change(both: Both) -> None:
    orders = [
        RunOrder("anything", {"x": 1}),
        RunOrder("anything", {"x": NOON}),
        RunOrder("typed", {"day": NOON.date()}),
    ]
    refused = []
    for kernel in both:
        with pytest.raises(GnomonError) as caught:
            await kernel.trigger_many(orders)
        refused.append((type(caught.value), str(caught.value)))

    assert refused[0] == refused[1]
    assert "1 of 3" in refused[0][1]


@pytest.mark.parametrize("value", [*ODD[:10], "text"], ids=repr)
@pytest.mark.parametrize("func", [anything, f"{__name__}:anything"], ids=["function", "name"])
async def test_a_job_has_the_arguments_that_it_would_have_from_the_leader(both: Both, func: Any, value: Any) -> None:
    async def added(kernel: Kernel) -> object:
        try:
            await kernel.add_job(a_job(id="new", func=func, kwargs={"x": value}))
        except GnomonError as exc:
            return type(exc), str(exc)
        definition = (await kernel.job("new")).state.definition
        await kernel.remove_job("new")
        return definition

    expected = await added(both.leader)

    assert await added(both.follower) == expected


async def test_a_changed_job_has_the_arguments_that_it_would_have_from_the_leader(both: Both) -> None:
    await both.leader.add_job(Job(id="new", func=typed))
    await both.follower.change_job("new", kwargs={"ids": {2, 1}})
    assert (await both.leader.job("new")).state.definition["kwargs"] == {"ids": [1, 2]}
    refused = []
    for kernel in both:
        with pytest.raises(GnomonError) as caught:
            await kernel.change_job("new", func=anything, kwargs={"x": NOON})
        refused.append((type(caught.value), str(caught.value)))

    assert refused[0] == refused[1]


async def test_a_function_that_this_process_cannot_read_gets_only_what_json_has(both: Both) -> None:
    with pytest.raises(GnomonError, match="would be read back from the log as"):
        await both.follower.add_job(a_job(id="new", func="no_such_module:work", kwargs={"x": NOON}))


async def test_labels_are_refused_with_the_words_of_the_leader(both: Both) -> None:
    labels: Any = {"tenant": 7}
    refused = []
    for kernel in both:
        with pytest.raises(GnomonError) as caught:
            await kernel.trigger("anything", labels=labels)
        refused.append((type(caught.value), str(caught.value)))

    assert refused[0] == refused[1]
    assert "the label 'tenant' has the value 7" in refused[0][1]
