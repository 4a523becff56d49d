"""The contracts of the ports as tests: StoreContract, OrderChannelContract, RunnerContract and RemoteRunnerContract.

That of a store is in this module: subclass StoreContract in a test module, and provide your store as a fixture.

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self, tmp_path):
            async with MyStore(tmp_path / "log") as store:
                yield store

        def another(self, store):
            return MyStore(store.path)

The tests are coroutines: set `asyncio_mode = "auto"` for pytest-asyncio.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon.domain import events, execution
from gnomon.domain.records import ActionQuery, Checkpoint, ExecutionQuery, JobScope, LogLine
from gnomon.errors import ConflictError, StoreError, StoreInUseError
from gnomon.ports import Store
from gnomon.testing.action_contract import ActionContract
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    every_type,
    extend,
    failed,
    job_added,
    job_states,
    missed,
    numbered,
    running,
    scheduled,
    succeeded,
)
from gnomon.testing.job_retention_contract import JobRetentionContract
from gnomon.testing.kernel_contract import KernelContract
from gnomon.testing.list_contract import ListContract, total
from gnomon.testing.log_contract import LogContract
from gnomon.testing.order_channel_contract import OrderChannelContract
from gnomon.testing.query_contract import QueryContract
from gnomon.testing.remote_runner_contract import RemoteRunnerContract
from gnomon.testing.restore_contract import RestoreContract
from gnomon.testing.role_contract import RoleContract
from gnomon.testing.runner_contract import RunnerContract

__all__ = ["OrderChannelContract", "RemoteRunnerContract", "RunnerContract", "StoreContract"]

HOUR = timedelta(hours=1)
ODD_TEXT = "naïve 日本語 🦑 \u202e rtl \u0000 nul \r\n\t \\ \" ' ; -- % _ \x7f"


class StoreContract(
    LogContract,
    ListContract,
    QueryContract,
    ActionContract,
    KernelContract,
    JobRetentionContract,
    RestoreContract,
    RoleContract,
):
    """The obligations of the Store port. The flags disable those that a kind of store cannot have."""

    durable = True
    """Whether another store that opens the same log later finds what was appended."""

    exclusive = True
    """Whether a second writing store on the same log is refused."""

    readable_beside = True
    """Whether another store can open the same log read-only while the first one writes."""

    @pytest.fixture
    async def store(self) -> Any:
        """Provide an open store with an empty log."""
        pytest.fail(f"{type(self).__name__} must override the fixture `store`: yield an open store with an empty log")

    def another(self, store: Store) -> Store:  # noqa: ARG002 - for subclasses
        """Return a second store on the same log as `store`, not yet open."""
        pytest.fail(
            f"{type(self).__name__} must override `another`, or set durable, exclusive, readable_beside to False"
        )

    # Views

    async def test_a_view_is_returned_with_every_field(self, store: Store) -> None:
        batch = await append(store, *every_type())

        for stream in {event.stream for event in batch if isinstance(event, events.ExecutionEvent)}:
            assert await store.execution(stream) == execution.fold(e for e in batch if e.stream == stream)

    async def test_a_view_replaces_the_older_one(self, store: Store) -> None:
        history = succeeded()
        await append(store, history[:1])
        await append(store, history[1:2])

        await append(store, history[2:])

        assert await store.execution(history[0].stream) == execution.fold(history)
        assert (await store.executions(ExecutionQuery())).total == 1

    async def test_changing_what_was_read_changes_nothing_in_the_store(self, store: Store) -> None:
        await append(store, job_added(), running())
        read = (await store.executions(ExecutionQuery())).items[0]
        states = await store.jobs()

        read.status, states[0].paused = "failed", True

        assert (await store.executions(ExecutionQuery())).items[0].status == "running"
        assert not (await store.jobs())[0].paused

    async def test_special_characters_and_values_are_preserved(self, store: Store) -> None:
        kwargs: dict[str, Any] = {ODD_TEXT: [ODD_TEXT, None, True, 1.5, -(2**62), {"": []}]}
        history = failed("A.b-c_d:e", error=ODD_TEXT, kwargs=kwargs, actor=ODD_TEXT, job_name=ODD_TEXT)

        batch = await append(store, history)

        assert await store.read() == batch
        assert await store.execution(history[0].stream) == execution.fold(history)
        assert (await store.executions(ExecutionQuery(job_id="A.b-c_d:e", text="🦑"))).total == 1

    async def test_what_no_id_and_no_label_can_be_is_not_found(self, store: Store) -> None:
        (run,) = {event.stream for event in await append(store, succeeded())}

        for text in (f"{run}\0", "\0", "job:sync\0", "x" * 100_000):
            assert await store.execution(text) is None
            assert await store.executions_by_id([text, run]) == {run: await store.execution(run)}
            assert (await store.stream(text), await store.log(text), await store.jobs([text])) == ([], [], [])
            scope = JobScope(("\0*",), frozenset({text}))
            for query in (
                ExecutionQuery(job_id=text),
                ExecutionQuery(labels=(f"a:{text}",)),
                ExecutionQuery(within=scope),
            ):
                assert (await store.executions(query)).total == 0
            for asked in (ActionQuery(job_id=text), ActionQuery(action=text), ActionQuery(actor=text)):
                assert (await store.actions(asked)).total == 0
            assert (await store.executions(ExecutionQuery(text=text[:200]))).total == 0
            always = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
            assert await store.job_events(text, *always) == []
            assert await store.checkpoint(text) is None
            assert not await store.statistics(text)
            with pytest.raises(ValueError, match="cursor"):
                await store.executions(ExecutionQuery(cursor=text))

    async def test_a_traceback_of_a_mebibyte_is_preserved(self, store: Store) -> None:
        history = extend(running(), events.Failed, reason="exception", traceback="0123456789abcde\n" * 65536)

        await append(store, history)

        view = await store.execution(history[0].stream)
        assert view is not None
        assert view.traceback == "0123456789abcde\n" * 65536

    async def test_executions_are_returned_by_id(self, store: Store) -> None:
        histories = [running("a"), running("b"), succeeded("c")]
        batch = await append(store, *histories)
        ids = [history[0].stream for history in histories]

        found = await store.executions_by_id([*ids, "0" * 24])

        assert found == {one: execution.fold(event for event in batch if event.stream == one) for one in ids}
        assert await store.executions_by_id([]) == {}

    # Jobs

    async def test_job_states_are_returned_by_id(self, store: Store) -> None:
        removed = extend(job_added("b", paused=True, kwargs={"x": [1]}), events.JobRemoved)

        batch = await append(store, removed, job_added("a"), scheduled("a"))

        assert await store.jobs() == job_states(batch)
        assert [(state.job_id, state.removed) for state in await store.jobs()] == [("a", False), ("b", True)]

    async def test_states_of_some_jobs_and_of_those_that_are_there_are_returned(self, store: Store) -> None:
        again = extend(
            extend(job_added("c"), events.JobRemoved), events.JobAdded, definition={"id": "c", "func": "m:f"}
        )
        batch = await append(store, extend(job_added("b"), events.JobRemoved), job_added("a"), scheduled("a"), again)
        states = {state.job_id: state for state in job_states(batch)}

        assert await store.jobs(removed=False) == [states["a"], states["c"]]
        assert await store.jobs(["b", "a", "unknown"]) == [states["a"], states["b"]]
        assert await store.jobs({"b", "c"}, removed=False) == [states["c"]]
        assert await store.jobs([]) == []

    async def test_job_events_are_those_of_the_job_and_of_its_runs_without_progress(self, store: Store) -> None:
        reported = extend(running("sync", NOON + HOUR), events.Progress, percent=1.0)
        late = job_added("sync", NOON)
        await append(store, late, scheduled("other", NOON + HOUR), reported, scheduled("sync", NOON + 2 * HOUR))

        found = await store.job_events("sync", NOON, NOON + 2 * HOUR)

        assert [(event.position, event.type) for event in found] == [(1, "job_added"), (3, "scheduled"), (4, "started")]
        assert await store.job_events("sync", NOON + SECOND, NOON + HOUR) == []

    # Checkpoints

    async def test_a_checkpoint_is_preserved_and_moves_only_forward(self, store: Store) -> None:
        await store.save_checkpoint("stats", Checkpoint(5, b"\x00five"))
        await store.save_checkpoint("stats", Checkpoint(3, b"three"))
        await store.save_checkpoint("web", Checkpoint(9))

        assert await store.checkpoint("stats") == Checkpoint(5, b"\x00five")
        assert await store.checkpoint("web") == Checkpoint(9, None)

        await store.save_checkpoint("stats", Checkpoint(5, b"again"))

        assert await store.checkpoint("stats") == Checkpoint(5, b"again")

    # Log lines

    async def test_log_lines_are_returned_in_order_and_in_pages(self, store: Store) -> None:
        lines = [LogLine(n, NOON + n * SECOND, "info", f"line {n} {ODD_TEXT}", "app") for n in range(1, 8)]

        await store.append_log("a" * 24, lines[3:])
        await store.append_log("a" * 24, lines[:3])
        await store.append_log("b" * 24, lines[:1])

        assert await store.log("a" * 24) == lines
        assert await store.log("a" * 24, after=2, limit=3) == lines[2:5]
        assert await store.log("c" * 24) == []

    async def test_a_log_line_replaces_the_one_with_its_number(self, store: Store) -> None:
        await store.append_log("a" * 24, [LogLine(1, NOON, "info", "first")])

        await store.append_log("a" * 24, [LogLine(1, NOON, "info", "second")])

        assert [line.text for line in await store.log("a" * 24)] == ["second"]

    # Pruning

    async def test_pruning_deletes_runs_that_ended_before_and_keeps_the_rest(self, store: Store) -> None:
        old, new, going, waiting = succeeded("old"), failed("new", NOON + HOUR), running("going"), scheduled("waiting")
        batch = await append(store, job_added("old"), old, new, going, waiting, missed("gone"))
        await store.append_log(old[0].stream, [LogLine(1, NOON, "info", "old")])
        await store.append_log(new[0].stream, [LogLine(1, NOON, "info", "new")])

        assert await store.prune(NOON + HOUR) == 2

        forgotten = {event.stream for event in batch if event.job_id in {"old", "gone"}} - {"job:old"}
        assert await store.read() == [event for event in batch if event.stream not in forgotten]
        assert [event.type for event in await store.stream("job:old")] == ["job_added"]
        assert await store.execution(old[0].stream) is None
        assert await store.stream(old[0].stream) == []
        assert await store.log(old[0].stream) == []
        assert len(await store.log(new[0].stream)) == 1
        assert await store.prune(NOON + HOUR) == 0

    async def test_a_late_result_postpones_the_pruning(self, store: Store) -> None:
        late = extend(failed(), events.LateResult, after=2 * HOUR, outcome="succeeded")
        await append(store, late[:3])
        await append(store, late[3:])

        assert await store.prune(NOON + HOUR) == 0
        assert await store.prune(NOON + 3 * HOUR) == 1

    async def test_pruning_keeps_totals_right(self, store: Store) -> None:
        await append(store, *(succeeded("sync", NOON + n * SECOND, is_manual=n % 2 == 0) for n in range(250)))

        assert await store.prune(NOON + 202 * SECOND) == 200

        assert await total(store) == await total(store, status=("success",)) == 50
        assert await total(store, job_id="sync", is_manual=True) == 25
        assert await total(store, since=NOON) == 50

    async def test_positions_are_never_assigned_again(self, store: Store) -> None:
        await append(store, scheduled("stays"), succeeded())
        await store.prune(NOON + HOUR)

        assert await store.head() == 4
        with pytest.raises(ConflictError):
            await store.append(numbered(scheduled("late"), after=3), [], [])
        assert (await append(store, scheduled("next")))[0].position == 5
        assert [event.position for event in await store.read()] == [1, 5]

    async def test_appends_continue_during_a_prune(self, store: Store) -> None:
        await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(300)))

        pruning = asyncio.ensure_future(store.prune(NOON + HOUR))
        for n in range(5):
            await append(store, scheduled("sync", NOON + HOUR + n * SECOND))

        assert await pruning == 300
        assert await total(store) == 5
        assert await store.head() == 905

    # Lifetime

    async def test_a_closed_store_refuses_everything_and_closes_again(self, store: Store) -> None:
        await append(store, succeeded())

        await store.close()
        await store.close()

        calls = [
            store.head(),
            store.append(numbered(scheduled("x"), after=3), [], []),
            store.read(),
            store.stream("x"),
            store.execution("x"),
            store.executions(ExecutionQuery()),
            store.jobs(),
            store.actions(ActionQuery()),
            store.job_events("x", NOON, NOON),
            store.checkpoint("x"),
            store.save_checkpoint("x", Checkpoint(1)),
            store.append_log("x", []),
            store.log("x"),
            store.prune(NOON),
        ]
        for refused in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(refused, StoreError), refused

    async def test_another_store_finds_everything_that_was_appended(self, store: Store) -> None:
        if not self.durable:
            pytest.skip("this kind of store is not durable")
        batch = await append(store, *every_type(), succeeded("pruned", NOON - HOUR))
        await store.save_checkpoint("stats", Checkpoint(7, b"view"))
        await store.append_log("a" * 24, [LogLine(1, NOON, "info", "kept")])
        await store.prune(NOON)
        read, views, states = await store.read(), await store.executions(ExecutionQuery()), await store.jobs()
        actions = await store.actions(ActionQuery())
        await store.close()

        async with self.another(store) as again:
            assert await again.head() == len(batch)
            assert await again.read() == read
            assert await again.executions(ExecutionQuery()) == views
            assert await again.jobs() == states
            assert await again.actions(ActionQuery()) == actions
            assert await again.checkpoint("stats") == Checkpoint(7, b"view")
            assert [line.text for line in await again.log("a" * 24)] == ["kept"]
            assert (await append(again, scheduled("next")))[0].position == len(batch) + 1

    async def test_a_second_writer_is_refused_until_the_first_has_closed(self, store: Store) -> None:
        if not self.exclusive:
            pytest.skip("this kind of store cannot be opened twice")
        second = self.another(store)

        with pytest.raises(StoreInUseError):
            await second.open()
        await append(store, scheduled())
        await store.close()

        async with self.another(store) as third:
            assert await third.head() == 1

    async def test_a_reader_beside_the_writer_sees_what_is_appended_and_writes_nothing(self, store: Store) -> None:
        if not self.readable_beside:
            pytest.skip("this kind of store cannot be opened twice")
        reader = self.another(store)
        await reader.open(read_only=True)
        try:
            await append(store, succeeded())

            assert len(await reader.read()) == 3
            with pytest.raises(StoreError):
                await append(reader, scheduled("other"))
            with pytest.raises(StoreError):
                await reader.prune(NOON + HOUR)
            assert await store.head() == 3
        finally:
            await reader.close()
