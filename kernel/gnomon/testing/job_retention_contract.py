"""The contract for the retention of removed jobs: nothing of them stays, and nothing of the others is lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from gnomon.domain import events
from gnomon.domain.events import Event, job_stream
from gnomon.domain.records import ActionQuery
from gnomon.ports import Store
from gnomon.testing.histories import NOON, SECOND, append, extend, imported, job_added, running, scheduled, succeeded

HOUR = timedelta(hours=1)
LIMIT = NOON + HOUR


def removed_job(job_id: str, at: datetime = NOON) -> list[Event]:
    """Return the history of a job that was removed a second after it was added."""
    return extend(job_added(job_id, at), events.JobRemoved, actor="ann")


async def job_ids(store: Store) -> list[str]:
    """Return the ids of all jobs in the log."""
    return [state.job_id for state in await store.jobs()]


def without(log: Sequence[Event], *job_ids: str) -> list[Event]:
    """Return the events of other jobs."""
    return [event for event in log if event.job_id not in job_ids]


class JobRetentionContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_a_job_that_was_removed_before_is_deleted_with_its_last_run(self, store: Store) -> None:
        log = await append(store, removed_job("once"), succeeded("once"), job_added("stays"), succeeded("stays", LIMIT))

        assert await store.prune(LIMIT) == 1

        assert await job_ids(store) == ["stays"]
        assert await store.jobs(removed=False) == await store.jobs()
        assert await store.stream(job_stream("once")) == []
        assert await store.read() == without(log, "once")
        assert [act.job_id for act in (await store.actions(ActionQuery())).items] == []
        assert await store.head() == len(log)

    async def test_a_job_that_was_removed_later_is_kept(self, store: Store) -> None:
        log = await append(store, removed_job("late", LIMIT), extend(job_added("edge"), events.JobRemoved, after=HOUR))

        await store.prune(LIMIT)

        assert await job_ids(store) == ["edge", "late"]
        assert await store.read() == log

    async def test_a_job_stays_as_long_as_a_run_of_it(self, store: Store) -> None:
        log = await append(
            store,
            *(removed_job(job_id) for job_id in ("going", "waiting", "newer")),
            running("going"),
            scheduled("waiting"),
            succeeded("newer", LIMIT),
        )

        assert await store.prune(LIMIT) == 0
        assert await store.read() == log

        assert await store.prune(LIMIT + HOUR) == 1
        assert await job_ids(store) == ["going", "waiting"]

    async def test_a_job_whose_newest_fire_lies_ahead_is_kept_so_that_it_cannot_come_twice(self, store: Store) -> None:
        """The clock was set back after the fire: a job that is added again counts from it."""
        ahead = scheduled("ahead", NOON + 2 * HOUR)
        await append(store, removed_job("ahead"), extend(ahead, events.Cancelled, after=-2 * HOUR, actor="ann"))

        await store.prune(LIMIT)

        assert await job_ids(store) == ["ahead"]
        assert len(await store.stream(job_stream("ahead"))) == 2

    async def test_a_job_that_is_added_again_begins_as_a_new_one(self, store: Store) -> None:
        await append(store, removed_job("again"), succeeded("again"))
        await store.prune(LIMIT)

        added = await append(store, job_added("again", LIMIT), succeeded("again", LIMIT))

        (state,) = await store.jobs(removed=False)
        assert (state.version, state.newest_fire, state.removed_at) == (1, LIMIT, None)
        assert await store.stream(job_stream("again")) == added[:1]
        assert await store.prune(LIMIT + HOUR) == 1
        assert await job_ids(store) == ["again"]

    async def test_a_job_that_was_added_again_before_the_retention_is_kept_as_a_whole(self, store: Store) -> None:
        again = extend(removed_job("again"), events.JobAdded, definition={"id": "again", "func": "app:run"})
        log = await append(store, again, removed_job("gone"))

        await store.prune(LIMIT)

        assert await store.read() == without(log, "gone")
        assert [state.removed for state in await store.jobs()] == [False]

    async def test_hundreds_of_them_are_deleted(self, store: Store) -> None:
        jobs = [removed_job(f"once-{n}", NOON + n * SECOND) for n in range(250)]
        await append(store, *jobs, *(succeeded(f"once-{n}", NOON + n * SECOND) for n in range(250)), job_added("stays"))

        assert await store.prune(LIMIT) == 250

        assert await job_ids(store) == ["stays"]
        assert [event.job_id for event in await store.read()] == ["stays"]

    async def test_a_job_that_was_only_imported_goes_with_its_last_run(self, store: Store) -> None:
        await append(store, imported("elsewhere"), extend(job_added("new"), events.JobPaused, actor="ann"))

        await store.prune(NOON + timedelta(days=3))

        assert await job_ids(store) == ["new"]
