"""Logs that are exported and imported: the other store has the same events, views, lists and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest

from gnomon import Store
from gnomon.errors import MovedLogError
from gnomon.stores.log_identity import identify_log
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import append
from gnomon.transfer.exporter import export_log, reopen_log
from gnomon.transfer.importer import import_log
from gnomon_sqlite import SqliteStore
from moved_logs import OLD, SPAN, ProgressPruningStore, assert_same, everything_in, later, write_random_log

WAYS = [("memory", "sqlite", ".jsonl"), ("sqlite", "memory", ".jsonl.gz"), ("sqlite", "sqlite", ".jsonl")]
"""From where to where, and through which file."""


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Store]:
    numbers = count()
    return lambda kind: ProgressPruningStore() if kind == "memory" else SqliteStore(tmp_path / f"{next(numbers)}.db")


@pytest.mark.parametrize(("from_", "to", "suffix"), WAYS)
async def test_a_random_log_is_the_same_in_the_other_store(
    make: Callable[[str], Store], tmp_path: Path, from_: str, to: str, suffix: str
) -> None:
    for seed in range(2):
        source, target, path = make(from_), make(to), tmp_path / f"{seed}{suffix}"
        async with source:
            await write_random_log(source, Random(seed))
            if seed % 2:
                await source.prune(OLD)
            if isinstance(source, ProgressPruningStore):
                await source.prune_progress()
            expected = await everything_in(source)

        exported = await export_log(source, path, is_final=True, audit_span=SPAN)
        imported = await import_log(target, path)

        assert (imported.problems, imported.is_complete) == ([], True)
        assert exported.events == imported.events == len(expected["events"])
        async with target:
            assert_same(await everything_in(target), expected)
            assert await identify_log(target) == exported.log_id


@pytest.mark.parametrize(("from_", "to", "suffix"), WAYS)
async def test_what_comes_during_a_first_export_is_moved_by_a_second_one(
    make: Callable[[str], Store], tmp_path: Path, from_: str, to: str, suffix: str
) -> None:
    random = Random(7)
    source, target, path = make(from_), make(to), tmp_path / f"log{suffix}"
    async with source:
        await write_random_log(source, random)
        await source.prune(OLD)
    events = later(random)

    for number in range(3):
        await export_log(source, path, is_final=False, audit_span=SPAN)
        imported = await import_log(target, path)
        assert (imported.problems, imported.is_complete) == ([], False)
        async with target:
            with pytest.raises(MovedLogError, match="not complete"):
                await identify_log(target)
        async with source:
            await append(source, events[number * 30 : (number + 1) * 30])
    async with source:
        await append(source, events[90:])
        expected = await everything_in(source)
    await export_log(source, path, is_final=True, audit_span=SPAN)

    imported = await import_log(target, path)

    assert (imported.problems, imported.is_complete) == ([], True)
    assert imported.events < len(expected["events"])
    async with target:
        assert_same(await everything_in(target), expected)
    again = await import_log(target, path)
    assert (again.is_complete, again.events, again.problems) == (True, 0, [])


async def test_a_log_that_was_moved_is_not_led_until_it_is_reopened(tmp_path: Path) -> None:
    source = SqliteStore(tmp_path / "log.db")
    async with source:
        await write_random_log(source, Random(1), runs=10)
        log_id = await identify_log(source)
    await export_log(source, tmp_path / "log.jsonl", is_final=True, audit_span=SPAN)

    async with source:
        with pytest.raises(MovedLogError, match=r"log was moved.*log.jsonl.*gnomon log reopen"):
            await identify_log(source)
    assert await reopen_log(source) is not None

    async with source:
        assert await identify_log(source) == log_id
    assert await reopen_log(source) is None


async def test_a_copy_has_an_id_of_its_own_and_takes_nothing_more(tmp_path: Path) -> None:
    source, target, path = SqliteStore(tmp_path / "log.db"), MemoryStore(), tmp_path / "log.jsonl"
    async with source:
        await write_random_log(source, Random(1), runs=10)
        log_id, expected = await identify_log(source), await everything_in(source)
    await export_log(source, path, is_final=False, audit_span=SPAN)

    copied = await import_log(target, path, as_copy=True)

    assert (copied.is_complete, copied.copy_of) == (True, log_id)
    async with target:
        assert await identify_log(target) == copied.log_id != log_id
        assert (await everything_in(target))["events"] == expected["events"]
    with pytest.raises(Exception, match=f"copy of {log_id}"):
        await import_log(target, path)
    async with source:
        assert await identify_log(source) == log_id
