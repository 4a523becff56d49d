"""The contract for `restore`: a log of another store is written with its positions, also where events were pruned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gnomon.domain import events, execution
from gnomon.domain.events import Event
from gnomon.domain.records import ActionQuery, Checkpoint, ExecutionQuery
from gnomon.errors import ConflictError
from gnomon.ports import Store
from gnomon.testing.histories import (
    NOON,
    append,
    extend,
    job_added,
    job_states,
    kernel_history,
    numbered,
    running,
    scheduled,
    succeeded,
)

HOUR = timedelta(hours=1)


async def restore(store: Store, batch: Sequence[Event], head: int) -> None:
    """Write events with the views that follow from them."""
    streams = dict.fromkeys(event.stream for event in batch if isinstance(event, events.ExecutionEvent))
    views = [execution.fold(event for event in batch if event.stream == stream) for stream in streams]
    await store.restore(batch, views, job_states(batch), head)


def pruned(batch: Sequence[Event], *job_ids: str) -> list[Event]:
    """Return the events without those of the runs of some jobs."""
    return [event for event in batch if event.job_id not in job_ids or not isinstance(event, events.ExecutionEvent)]


class RestoreContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_a_log_with_gaps_keeps_its_positions_and_its_end(self, store: Store) -> None:
        whole = numbered(job_added("old"), succeeded("old"), kernel_history(), succeeded("new"), succeeded("old2"))
        kept = pruned(whole, "old", "old2")

        await restore(store, kept[:3], 6)
        await restore(store, kept[3:], len(whole))

        assert await store.read() == kept
        assert await store.read(1, 3) == kept[1:4]
        assert await store.head() == len(whole)
        assert [len(await store.stream(one)) for one in ("job:old", "kernel:" + "a" * 24, kept[-1].stream)] == [1, 3, 3]
        assert (await store.executions(ExecutionQuery())).total == 1
        assert [state.job_id for state in await store.jobs()] == ["old"]

    async def test_positions_that_were_left_out_are_never_assigned(self, store: Store) -> None:
        await restore(store, numbered(job_added(), after=6), 9)

        with pytest.raises(ConflictError):
            await store.append(numbered(scheduled("late"), after=8), [], [])
        with pytest.raises(ConflictError):
            await store.restore(numbered(scheduled("late"), after=8), [], [], 12)
        assert [event.position for event in await append(store, scheduled("next"))] == [10]
        assert [event.position for event in await store.read()] == [7, 10]

    async def test_a_stream_may_lack_versions_and_goes_on(self, store: Store) -> None:
        history = extend(running(), events.Progress, percent=50.0)
        whole = numbered(extend(history, events.Succeeded, execution_time=2.0))
        view = execution.fold(whole)

        await store.restore([*whole[:2], whole[3]], [view], [], 4)
        hidden = extend(whole, events.Hidden, actor="ann")[-1:]
        await append_hidden(store, hidden, view)

        assert [event.version for event in await store.stream(view.id)] == [1, 2, 4, 5]
        assert await store.execution(view.id) == view
        assert (await store.executions(ExecutionQuery())).total == 0
        assert (await store.executions(ExecutionQuery(hidden=True))).total == 1

    async def test_a_run_that_is_restored_in_parts_has_one_view(self, store: Store) -> None:
        whole = numbered(succeeded("sync"), job_added("sync"), after=4)

        await restore(store, whole[:2], 6)
        assert (await store.executions(ExecutionQuery())).items[0].status == "running"
        await store.restore(whole[2:], [execution.fold(whole[:3])], job_states(whole[3:]), 8)

        assert (await store.executions(ExecutionQuery())).total == 1
        assert await store.execution(whole[0].stream) == execution.fold(whole[:3])

    async def test_states_of_jobs_are_restored_without_events(self, store: Store) -> None:
        batch = numbered(job_added("a"), job_added("b"))
        states = job_states(batch)
        await store.restore(batch, [], states, 2)
        states[1].newest_fire = states[1].last_fire = NOON + HOUR

        await store.restore([], [], states[1:], 2)

        assert await store.jobs() == states
        assert await store.head() == 2

    async def test_a_restored_log_can_be_pruned_and_led(self, store: Store) -> None:
        old, new = succeeded("sync"), succeeded("sync", NOON + 2 * HOUR, actor="ann", is_manual=True)
        whole = numbered(job_added("sync"), old, scheduled("gone"), new)
        await restore(store, [event for event in whole if event.job_id == "sync"], len(whole))

        assert await store.prune(NOON + HOUR) == 1
        later = await append(store, succeeded("sync", NOON + 3 * HOUR))

        assert await store.read() == [whole[0], *whole[-3:], *later]
        assert (await store.executions(ExecutionQuery())).total == 2
        assert [act.actor for act in (await store.actions(ActionQuery())).items] == ["ann"]

    async def test_the_names_of_checkpoints_are_listed(self, store: Store) -> None:
        assert await store.checkpoint_names() in ([], None)
        for name in ("stats", "a:b", "web"):
            await store.save_checkpoint(name, Checkpoint(1, b"view"))

        assert await store.checkpoint_names() in (["a:b", "stats", "web"], None)


async def append_hidden(store: Store, hidden: list[Event], view: execution.Execution) -> None:
    """Append the fact that a run is hidden, behind the end of the log."""
    batch = numbered(hidden, after=await store.head())
    view.apply(batch[0])
    await store.append(batch, [view], [])
    await store.jobs()  # waits for the views
