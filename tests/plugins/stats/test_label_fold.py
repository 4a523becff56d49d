"""Statistics by label, compared with the fold of the job that has only the runs with that label."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import Event, Kernel, Missed, Scheduled, Store
from gnomon.domain.records import Checkpoint
from gnomon.stores.memory import MemoryStore
from gnomon.testing import make_job, make_kernel
from gnomon.testing.histories import NOON, append, cancelled, failed, missed, numbered, running, scheduled, succeeded
from gnomon.wire.statistics import LabelValueStatistics
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_stats.checkpoint import CHECKPOINT, from_checkpoint, to_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.job_fold import LABEL_DAYS
from gnomon_stats.label_fold import MOST_NAMES, MOST_VALUES
from gnomon_stats.report import job_statistics, label_names, label_statistics
from gnomon_stats.verification import Recount, rebuild, verify

DAY = timedelta(days=1)
KINDS: dict[str, Any] = {
    "waiting": scheduled,
    "running": running,
    "success": succeeded,
    "failed": failed,
    "cancelled": cancelled,
    "missed": missed,
    "range": lambda job, at, **more: missed(job, at, "downtime", count=7, first=at - DAY, last=at, **more),
}
RUNS = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.sampled_from(["a", "b"]),
        st.integers(0, 40),
        st.dictionaries(st.sampled_from(["tenant", "region"]), st.sampled_from("789")),
    ),
    max_size=20,
)


def history(kind: str, job: str, number: int, labels: dict[str, str], days: int = 0) -> list[Event]:
    found: list[Event] = KINDS[kind](job, NOON + days * DAY + timedelta(seconds=number), labels=labels)
    return found


def folded(*histories: Sequence[Event]) -> Statistics:
    statistics = Statistics()
    fold(statistics, numbered([event for one in histories for event in one]))
    return statistics


ONLY_ONE_HAS = {"job_id", "value", "by_hour", "by_day", "streak", "eta_accuracy"}


def values_of(statistics: Statistics, label: str) -> dict[str | None, LabelValueStatistics]:
    return {one.value: one for one in label_statistics(statistics, label).values}


def plain(one: object) -> dict[str, Any]:
    """Return the counts without what only a job, or only a value of a label, has."""
    fields: dict[str, Any] = msgspec.to_builtins(one)
    return {name: fields[name] for name in fields if name not in ONLY_ONE_HAS}


@settings(max_examples=60, deadline=None)
@given(RUNS, st.randoms(use_true_random=False))
def test_each_value_has_the_counts_of_its_runs_alone(
    runs: list[tuple[str, str, int, dict[str, str]]], shuffled: random.Random
) -> None:
    histories = [history(kind, job, n, labels, days) for n, (kind, job, days, labels) in enumerate(runs)]
    streams = [list(one) for one in histories]
    log: list[Event] = []
    while left := [one for one in streams if one]:
        log.append(shuffled.choice(left).pop(0))
    log = numbered(log)
    statistics = Statistics()
    fold(statistics, log)

    for label in ("tenant", "region"):
        wanted: dict[str, set[str]] = {}
        for event in log:
            if isinstance(event, Scheduled | Missed) and label in event.labels:
                wanted.setdefault(event.labels[label], set()).add(event.stream)
        alone = {}
        for value, streams_of in wanted.items():
            one = Statistics()
            fold(one, [msgspec.structs.replace(event, job_id="x") for event in log if event.stream in streams_of])
            alone[value] = job_statistics(one, "x")
        found = values_of(statistics, label)
        assert {value: plain(one) for value, one in found.items()} == {v: plain(one) for v, one in alone.items()}
        assert {value: one.by_day for value, one in found.items()} == {
            value: (one.by_day or [])[-LABEL_DAYS:] for value, one in alone.items()
        }


def test_values_with_most_runs_come_first_in_pages() -> None:
    runs = ["7", "8", "8", "9", "9", "9", "70"]
    statistics = folded(*(history("success", "a", n, {"tenant": value}) for n, value in enumerate(runs)))

    page = label_statistics(statistics, "tenant", limit=2, offset=1)
    one = label_statistics(statistics, "tenant", "70")

    assert [found.value for found in label_statistics(statistics, "tenant").values] == ["9", "8", "7", "70"]
    assert ([found.value for found in page.values], page.total) == (["8", "7"], 4)
    assert ([found.value for found in one.values], one.total) == (["70"], 1)
    assert label_statistics(statistics, "team").values == []


def test_values_beyond_the_limit_are_counted_together_and_no_run_is_lost() -> None:
    runs = [history("success", "a", n, {"order": f"{n:05}"}) for n in range(MOST_VALUES + 30)]
    again = [history("failed", "a", len(runs) + n, {"order": f"{n:05}"}) for n in (0, MOST_VALUES, MOST_VALUES + 1)]
    open_one = history("running", "a", len(runs) + 10, {"order": "late"})
    statistics = folded(*runs, *again, open_one)

    found = label_statistics(statistics, "order")

    assert found.other is not None
    assert (found.total, found.most_values) == (MOST_VALUES, MOST_VALUES)
    assert (found.other.value, found.other.success, found.other.failed, found.other.running) == (None, 30, 2, 1)
    assert (found.values[0].value, found.values[0].total) == ("00000", 2), "a value that is counted is exact"
    assert sum(one.total for one in (*found.values, found.other)) == len(runs) + len(again) + 1
    assert label_names(statistics).labels[0].has_other


def test_names_beyond_the_limit_are_told() -> None:
    runs = [history("missed", "a", n, {f"n{n}": "x"}) for n in range(MOST_NAMES + 5)]
    statistics = folded(*runs, history("range", "a", 99, {"n20": "x"}), history("running", "a", 100, {"n20": "x"}))

    found = label_names(statistics)

    assert (len(found.labels), found.left_out) == (MOST_NAMES, 5 + 7)


def test_a_run_that_is_missed_after_it_was_recorded_counts_once() -> None:
    begun = history("waiting", "a", 0, {"tenant": "7"})
    end = missed("a", NOON, "downtime", labels={"tenant": "7"})[0]
    statistics = folded([*begun, msgspec.structs.replace(end, stream=begun[0].stream, version=2)])

    (one,) = label_statistics(statistics, "tenant").values

    assert (one.total, one.missed, one.scheduled) == (1, 1, 0)
    assert statistics.labels.open == {}


# --- the saved statistics ---


def as_version_3(statistics: Statistics) -> Checkpoint:
    """Return the checkpoint that the version before labels wrote."""
    saved = msgspec.msgpack.decode(
        msgspec.msgpack.decode(zlib.decompress(to_checkpoint(statistics).view or b""), type=tuple[int, bytes])[1]
    )
    del saved["labels"]
    return Checkpoint(statistics.position, zlib.compress(msgspec.msgpack.encode((3, msgspec.msgpack.encode(saved)))))


async def a_log(store: Store) -> list[Event]:
    return await append(
        store,
        *(history("success", "a", n, {"tenant": str(n % 3)}, days=n) for n in range(12)),
        history("running", "b", 50, {"tenant": "1"}, days=12),
    )


async def counted(kernel: Kernel, plugin: StatsPlugin) -> None:
    """Wait until the plugin's thread has counted all that there is."""
    while not kernel.is_idle or plugin.position < kernel.health().position:  # noqa: ASYNC110 - it is another thread
        await asyncio.sleep(0.005)


async def test_statistics_of_the_version_before_are_kept_and_labels_counted_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.db"
    async with SqliteStore(path) as store:
        log = await a_log(store)
        statistics = Statistics()
        fold(statistics, log[:-4])
        statistics.jobs["gone"] = statistics.jobs["a"]  # a job whose runs retention has deleted
        await store.save_checkpoint(CHECKPOINT, as_version_3(statistics))

    plugin = StatsPlugin()
    async with make_kernel(plugins=[plugin], store=SqliteStore(path), keeps_time=False) as kernel:
        await counted(kernel, plugin)

    assert plugin.of_job("gone").success == 11
    assert {one.value: one.success for one in plugin.of_label("tenant").values} == {"0": 4, "1": 4, "2": 4}
    async with SqliteStore(path) as store:
        saved = await store.checkpoint(CHECKPOINT)
        assert saved is not None
        is_caught_up = from_checkpoint(saved, await store.head()).counted == saved.position
        assert is_caught_up


async def test_labels_are_verified_and_differences_named() -> None:
    async with MemoryStore() as store:
        log = await a_log(store)
        statistics = Statistics()
        fold(statistics, log)
        statistics.labels.names["tenant"].values["1"].total.success += 1
        del statistics.labels.names["tenant"].values["2"]
        await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))

        found = await verify(store, "UTC")
        await rebuild(store, Recount("UTC"))

        told = [str(one) for one in found.differences]
        assert "label tenant=1, total, success: saved 5, the log has 4" in told
        assert "label tenant=2, total, success: saved 0, the log has 4" in told
        assert (await verify(store, "UTC")).is_proved


async def test_after_retention_values_that_came_first_are_still_known_as_such(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        runs = [history("success", "a", n, {"order": f"{n:05}"}, days=n // 100) for n in range(MOST_VALUES + 50)]
        log = await append(store, *runs)
        statistics = Statistics()
        fold(statistics, log)
        await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))
        await store.prune(NOON + 5 * DAY)

        found = await verify(store, "UTC")

    assert found.whole_after > 0
    assert (found.is_proved, found.differences) == (True, [])


# --- beside a kernel ---


async def work() -> None:
    """Return at once."""


async def test_labels_of_triggers_are_counted() -> None:
    plugin = StatsPlugin()
    async with make_kernel(make_job(work, labels={"team": "data"}), plugins=[plugin]) as kernel:
        for tenant in ("7", "7", "8"):
            run = await kernel.trigger("work", labels={"tenant": tenant})
            await kernel.wait(run.execution.id)
        await counted(kernel, plugin)

    assert {one.value: one.success for one in plugin.of_label("tenant").values} == {"7": 2, "8": 1}
    assert [(one.label, one.values) for one in plugin.labels().labels] == [("team", 1), ("tenant", 2)]


@pytest.mark.parametrize("value", ["7/8 & more", "ü=:?"])
def test_values_may_have_any_characters(value: str) -> None:
    statistics = folded(history("success", "a", 0, {"tenant": value}))

    assert [one.value for one in label_statistics(statistics, "tenant", value).values] == [value]
