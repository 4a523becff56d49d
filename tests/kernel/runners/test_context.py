"""Which reports of a body become events, and how they are merged."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon import Context, Execution
from gnomon.domain.progress import MAX_STEPS, MORE_STEPS
from gnomon.runners.log_buffer import LARGEST_COUNT
from gnomon.runners.orders import Answer, BodyOrder

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Recorded(list[dict[str, Any]]):
    """A sink that keeps the fields of each event."""

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:
        self.append(fields)

    def flush_later(self, context: Context) -> None: ...

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        raise NotImplementedError


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def context(recorded: Recorded) -> Context:
    """A context whose clock stands still: it may record one event that is not immediate."""
    execution = Execution(id="x", job_id="job", status="running", scheduled_time=NOW, timestamp=NOW, updated_at=NOW)
    return Context(execution, recorded, monotonic=lambda: 0.0)


def test_steps_beyond_the_limit_are_recorded_at_the_rate(context: Context, recorded: Recorded) -> None:
    for number in range(10 * MAX_STEPS):
        context.step(f"item {number}")
    context.flush()

    assert len(recorded) == MAX_STEPS + 1
    assert recorded[-1] == {"step": f"item {10 * MAX_STEPS - 1}"}


def test_a_merged_step_starts_its_own_count(context: Context, recorded: Recorded) -> None:
    for number in range(MAX_STEPS):
        context.step(f"item {number}")
    context.progress(message="one", processed_items=7, total_items=9, current_item="a")
    context.step("another")
    context.flush()

    assert recorded[-1] == {"message": "one", "step": "another"}


def test_skipped_steps_are_merged(context: Context, recorded: Recorded) -> None:
    for _ in range(MAX_STEPS):
        context.skip("a")
    context.skip("b")
    context.skip("c")
    context.flush()

    assert recorded[-1] == {"skipped": ["b", "c"]}


def test_declared_steps_are_bounded(context: Context, recorded: Recorded) -> None:
    context.steps(*[f"step {number}" for number in range(2 * MAX_STEPS)])

    (declared,) = [event["steps"] for event in recorded]
    assert (len(declared), declared[-1].name, declared[-1].weight) == (MAX_STEPS + 1, MORE_STEPS, MAX_STEPS)


def test_counts_are_what_every_store_can_hold(context: Context, recorded: Recorded) -> None:
    context.progress(processed_items=10**400, total_items=-(10**400))

    assert recorded == [{"processed_items": LARGEST_COUNT, "total_items": -LARGEST_COUNT}]


def test_names_that_are_not_unicode_are_escaped(context: Context, recorded: Recorded) -> None:
    context.step("\udcff")
    context.skip("\udcff")

    assert recorded == [{"step": "\\udcff"}, {"skipped": ["\\udcff"]}]
