"""The contract for lists of executions: filters, order, pages and totals."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gnomon.domain import events, execution
from gnomon.domain.execution import Execution
from gnomon.domain.records import Bounds, ExecutionQuery, JobScope
from gnomon.domain.run_sorting import SORT_KEYS, RunSort
from gnomon.ports import Store
from gnomon.stores.newest_runs import newest_of_each_job
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    cancelled,
    extend,
    failed,
    missed,
    running,
    scheduled,
    succeeded,
)

HOUR = timedelta(hours=1)


class ListContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_filters_work_alone_and_combined(self, store: Store) -> None:
        views = await variety(store)

        for query in self._queries():
            page = await store.executions(msgspec.structs.replace(query, limit=200))
            expected = [view.id for view in views if _matches(view, query)]
            assert [view.id for view in page.items] == expected, query
            assert (page.total, page.next) == (len(expected), None), query

    async def test_pages_by_cursor_and_by_offset_are_the_same(self, store: Store) -> None:
        await variety(store)

        for query in self._queries()[::11]:  # each takes several calls, and the test above tries all filters
            whole = (await store.executions(msgspec.structs.replace(query, limit=200))).items
            cursor, by_cursor, by_offset = None, [], []
            for offset in range(0, len(whole) + 1, 4):
                page = await store.executions(msgspec.structs.replace(query, limit=4, cursor=cursor))
                by_cursor += page.items
                by_offset += (await store.executions(msgspec.structs.replace(query, limit=4, offset=offset))).items
                assert page.total == len(whole)
                if (cursor := page.next) is None:
                    break
            assert by_cursor == whole, query
            assert by_offset == whole, query

    async def test_a_list_is_sorted_by_each_column_in_both_directions(self, store: Store) -> None:
        views = await variety(store)

        for sort in (RunSort(key, descending) for key in SORT_KEYS for descending in (False, True)):
            for filters in ({}, {"status": ("failed", "running")}, {"job_id": "a0"}, {"late": Bounds(above=0.5)}):
                query = ExecutionQuery(sort=sort, limit=200, **filters)
                page = await store.executions(query)
                expected = _sorted([view for view in views if _matches(view, query)], sort)
                assert [view.id for view in page.items] == expected, query
                assert (page.total, page.next) == (len(expected), None), query

    async def test_actors_of_any_length_are_told_apart(self, store: Store) -> None:
        beginning = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
        actors = ["ann", beginning, f"{beginning}.", f"{beginning}\0", "a\0"]
        await append(store, *(succeeded("sync", NOON + n * SECOND, actor=actor) for n, actor in enumerate(actors)))

        for actor in actors:
            page = await store.executions(ExecutionQuery(actors=(actor,)))
            assert [view.actor for view in page.items] == [actor]

    async def test_pages_of_a_sorted_list_have_each_execution_once(self, store: Store) -> None:
        await variety(store)

        for key in SORT_KEYS:
            query = ExecutionQuery(sort=RunSort(key, descending=key != "late"), limit=200)
            whole = [view.id for view in (await store.executions(query)).items]
            cursor, by_cursor, by_offset = None, [], []
            for offset in range(0, len(whole) + 1, 8):
                page = await store.executions(msgspec.structs.replace(query, limit=8, cursor=cursor))
                by_cursor += [view.id for view in page.items]
                short = await store.executions(msgspec.structs.replace(query, limit=8, offset=offset))
                by_offset += [view.id for view in short.items]
                if (cursor := page.next) is None:
                    break
            assert by_cursor == whole, key
            assert by_offset == whole, key

    async def test_a_cursor_of_another_order_is_a_value_error(self, store: Store) -> None:
        await append(store, missed(), succeeded("b"))
        orders = [RunSort("started", descending=True), RunSort("late"), RunSort("job")]

        for sort in orders:
            cursor = (await store.executions(ExecutionQuery(sort=sort, limit=1))).next
            for other in (one for one in orders if one != sort):
                with pytest.raises(ValueError, match="cursor"):
                    await store.executions(ExecutionQuery(sort=other, cursor=cursor))

    async def test_a_list_may_have_the_newest_of_each_job(self, store: Store) -> None:
        views = await variety(store)

        for query in self._queries()[::7]:
            for most in (1, 2):
                page = await store.executions(msgspec.structs.replace(query, per_job=most, limit=1))
                expected = newest_of_each_job((v for v in views if _matches(v, query)), most, lambda view: view.job_id)
                assert [view.id for view in page.items] == [view.id for view in expected], query
                assert (page.total, page.next) == (len(expected), None), query

    async def test_a_list_that_counts_nothing_has_the_same_pages(self, store: Store) -> None:
        await variety(store)

        for query in self._queries()[::7]:
            short = msgspec.structs.replace(query, limit=4)
            counted = await store.executions(short)
            page = await store.executions(msgspec.structs.replace(short, counts=False))
            assert (page.items, page.next, page.total) == (counted.items, counted.next, len(counted.items)), query

    async def test_cursors_separate_executions_with_equal_timestamps(self, store: Store) -> None:
        await append(store, *(missed(f"job_{n}") for n in range(7)))

        first = await store.executions(ExecutionQuery(limit=4))
        second = await store.executions(ExecutionQuery(limit=4, cursor=first.next))

        ids = [view.id for view in (*first.items, *second.items)]
        assert ids == sorted(ids, reverse=True)
        assert len(set(ids)) == 7
        assert second.next is None

    async def test_a_cursor_keeps_its_place_when_newer_executions_come(self, store: Store) -> None:
        await append(store, *(missed("sync", NOON + n * SECOND) for n in range(4)))
        first = await store.executions(ExecutionQuery(limit=2))
        await append(store, missed("sync", NOON + HOUR))

        second = await store.executions(ExecutionQuery(limit=2, cursor=first.next))

        assert [view.timestamp for view in second.items] == [NOON + SECOND, NOON]
        assert second.total == 5

    async def test_statistics_include_hidden_executions(self, store: Store) -> None:
        hidden = extend(succeeded("a", NOON - HOUR), events.Hidden, actor="ann")
        histories = succeeded("a"), failed("a", NOON + HOUR), missed("a", count=3, is_manual=True), running("b")
        await append(store, hidden, *histories)

        found = await store.statistics()

        if found is None:
            pytest.skip("this store has no fast way to count")
        assert [(job.job_id, job.by_status, job.average_execution_time, job.last_status) for job in found] == [
            ("a", {"success": 2, "failed": 1, "missed": 1}, 1.0, "failed"),
            ("b", {"running": 1}, None, "running"),
        ]
        assert await store.statistics("b") == found[1:]

    async def test_totals_stay_exact_while_the_status_changes(self, store: Store) -> None:
        one, two = succeeded("one"), failed("two", is_manual=True)
        seen = []

        for step in ((one[:1], two[:1]), (one[1:2],), (two[1:2],), (one[2:],), (two[2:],)):
            await append(store, *step)
            counts = [await total(store, status=(status,)) for status in execution.STATUSES]
            assert sum(counts) == await total(store) == 2
            assert await total(store, is_manual=True) == await total(store, job_id="two") == 1
            seen.append(dict(zip(execution.STATUSES, counts, strict=True)))

        assert [{status: n for status, n in counts.items() if n} for counts in seen] == [
            {"scheduled": 2},
            {"scheduled": 1, "running": 1},
            {"running": 2},
            {"running": 1, "success": 1},
            {"success": 1, "failed": 1},
        ]

    async def test_hiding_removes_an_execution_from_lists_and_totals_only(self, store: Store) -> None:
        shown, gone = failed("sync"), failed("sync", NOON + SECOND)
        await append(store, shown, gone)

        await append(store, [extend(gone, events.Hidden, actor="ann")[-1]])

        for filters in ({}, {"job_id": "sync"}, {"status": ("failed",)}, {"since": NOON}, {"text": "boom"}):
            page = await store.executions(ExecutionQuery(**filters))
            assert ([view.id for view in page.items], page.total) == ([shown[0].stream], 1), filters
            assert await total(store, hidden=True, **filters) == 2
        kept = await store.execution(gone[0].stream)
        assert kept is not None
        assert (kept.status, kept.hidden) == ("failed", True)
        assert [event.type for event in await store.stream(kept.id)] == ["scheduled", "started", "failed", "hidden"]

    async def test_pruning_deletes_hidden_executions_and_keeps_totals_exact(self, store: Store) -> None:
        await append(store, extend(failed(), events.Hidden), failed("sync", NOON + HOUR))

        assert await store.prune(NOON + HOUR) == 1

        assert await total(store) == await total(store, hidden=True) == 1

    @pytest.mark.parametrize(
        "cursor", ["", "garbage", "日本語", "AAAA", "OjEyMw", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA6YQ", "x" * 500]
    )
    async def test_an_invalid_cursor_is_a_value_error(self, store: Store, cursor: str) -> None:
        await append(store, missed())

        with pytest.raises(ValueError, match="cursor"):
            await store.executions(ExecutionQuery(cursor=cursor))

    def _queries(self) -> list[ExecutionQuery]:
        choices: dict[str, list[Any]] = {
            "job_id": ["a0", "b0", "nobody"],
            "status": [("success",), ("failed", "running"), execution.STATUSES],
            "is_manual": [True, False],
            "labels": [("tenant:1",), ("tenant:1", "kind:a:b"), ("kind:a",), ("enant:1",), ("tenant:",), ("%:1",)],
            "since": [NOON + HOUR],
            "until": [NOON + 2 * HOUR],
            "hidden": [True],
            "actors": [("ann",), ("ann", "bob"), ("nobody",)],
            "within": [JobScope(("b*", "c?")), JobScope(ids=frozenset({"a0", "a1", "gone"}))],
            "late": [Bounds(above=0.5), Bounds(least=0.0, below=2.5), Bounds(most=-1.0)],
            "duration": [Bounds(least=1.0), Bounds(above=1.0, most=3.0)],
            "scope": [JobScope(("a*",)), JobScope(("[!ac]?", "c1"), frozenset({"a2"})), JobScope(("*",)), JobScope()],
            "text": ["boom", "äö", "%", "m 3", "nothing like it"],
        }
        each = [{name: value} for name, values in choices.items() for value in values]
        pairs = [one | other for one in each for other in each if list(one) < list(other)]
        narrow = {"job_id": "b1", "status": ("failed",), "is_manual": False, "since": NOON, "until": NOON + 9 * HOUR}
        return [ExecutionQuery(**query) for query in ({}, *each, *pairs, narrow, narrow | {"text": "boom"})]


async def variety(store: Store) -> list[Execution]:
    """Append executions of every kind, several of them with equal timestamps; return the views, newest first."""
    histories = []
    for n in range(6):
        at = NOON + (n // 2) * HOUR
        histories += [
            succeeded(f"a{n % 3}", at, labels={"tenant": str(n % 3), "kind": "a:b"}),
            failed(f"b{n % 3}", at, f"Boom {n} ÄÖ 100%_"),
            missed(f"c{n}", at, labels={"tenant": str(n), "kind": "x"}),
        ]
        histories += [
            running("a0", at + SECOND, is_manual=True, actor=["ann", "bob"][n % 2], labels={"tenant": "1"}),
            scheduled("b0", at + n * SECOND, attempt=2 + n),
        ]
        histories += [cancelled("a1", at + (n + 1) * SECOND, is_manual=True)]
        histories += [extend(failed(f"b{n % 2}", at + SECOND, "Boom, hidden"), events.Hidden, actor="ann")]
        histories += [extend(running("d", at + n * SECOND, actor="cy"), events.Progress, percent=12.5 * (n % 4))]
    histories = list({history[0].stream: history for history in histories}.values())
    histories = [_with_numbers(history, number) for number, history in enumerate(histories)]
    await append(store, *histories)
    return sorted(map(execution.fold, histories), key=lambda view: (view.timestamp, view.id), reverse=True)


async def total(store: Store, **filters: Any) -> int:
    """Count the executions that match, as a list with these filters does."""
    return (await store.executions(ExecutionQuery(limit=1, **filters))).total


def _with_numbers(history: list[events.Event], number: int) -> list[events.Event]:
    """Return the history of a run that began and ended otherwise late and long than its neighbours."""
    times = {"delay": (0.0, 0.25, 1.0, 2.5, 61.0)[number % 5], "execution_time": (0.5, 1.0, 3.0)[number % 3]}
    return [
        msgspec.structs.replace(event, **{name: one for name, one in times.items() if getattr(event, name, None)})
        for event in history
    ]


def _sorted(newest_first: list[Execution], sort: RunSort) -> list[str]:
    """Return the ids of executions in an order, as the port defines it."""
    if sort.key == "started":
        return [view.id for view in (newest_first if sort.descending else reversed(newest_first))]
    values: dict[str, Any] = {
        "job": lambda view: view.job_id,
        "status": lambda view: view.status,
        "duration": lambda view: view.execution_time,
        "late": lambda view: view.delay,
        "progress": lambda view: view.progress.percent if view.status in {"scheduled", "running"} else None,
        "by": lambda view: view.actor,
    }
    value = values[sort.key]
    there = [view for view in newest_first if value(view) is not None]
    missing = [view.id for view in newest_first if value(view) is None]
    return [view.id for view in sorted(there, key=value, reverse=sort.descending)] + missing


def _is_within(value: float | None, bounds: Bounds) -> bool:
    if value is None:
        return False
    low = [one for one in (bounds.least, bounds.above) if one is not None]
    high = [one for one in (bounds.most, bounds.below) if one is not None]
    return (
        all(value >= one for one in low)
        and all(value <= one for one in high)
        and value not in {bounds.above, bounds.below}
    )


def _matches(view: Execution, query: ExecutionQuery) -> bool:
    """Return whether a list with these filters contains the execution, as the port defines it."""
    checks = [
        query.hidden or not view.hidden,
        query.job_id is None or view.job_id == query.job_id,
        not query.status or view.status in query.status,
        query.is_manual is None or view.is_manual == query.is_manual,
        all(label in {f"{name}:{value}" for name, value in view.labels.items()} for label in query.labels),
        query.since is None or view.timestamp >= query.since,
        query.until is None or view.timestamp < query.until,
        query.scope is None or query.scope.has(view.job_id),
        query.within is None or query.within.has(view.job_id),
        not query.actors or view.actor in query.actors,
        query.late is None or _is_within(view.delay, query.late),
        query.duration is None or _is_within(view.execution_time, query.duration),
        query.text is None or query.text.casefold() in (view.error_message or "").casefold(),
    ]
    return all(checks)
