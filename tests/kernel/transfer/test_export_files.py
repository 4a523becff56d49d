"""Files that are not what an export wrote, and stores that have something else: each is refused with what to do."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from gnomon import Event, Store
from gnomon.domain.events import JobAdded
from gnomon.errors import GnomonError, StoreError
from gnomon.stores.log_identity import identify_log
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import append, failed, job_added, numbered
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon.transfer.line_reader import LineReader
from gnomon.transfer.lines import ExportFileError, seal
from moved_logs import SPAN, assert_same, everything_in, later, write_random_log


async def exported(path: Path, *, is_final: bool = True) -> Store:
    """Export a random log, and return its store."""
    source = MemoryStore()
    async with source:
        await write_random_log(source, Random(3), runs=20)
    await export_log(source, path, is_final=is_final, audit_span=SPAN)
    return source


async def everything_of(store: Store) -> dict[str, object]:
    async with store:
        return await everything_in(store)


def change_a_word(text: bytes) -> bytes:
    return text.replace(b'"job_id":"a"', b'"job_id":"x"', 1)


def lose_a_line(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join(lines[:9] + lines[10:])


def swap_two_lines(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    lines[9], lines[10] = lines[10], lines[9]
    return b"".join(lines)


def add_a_line_of_another_file(text: bytes) -> bytes:
    return text + seal("event", b"{}", "of another file")[0]


def write_a_kind_of_a_later_version(text: bytes) -> bytes:
    first, *rest = text.splitlines(keepends=True)
    return first + seal("teleported", b"{}", first[-19:-3].decode())[0] + b"".join(rest)


CHANGES = [change_a_word, lose_a_line, swap_two_lines, add_a_line_of_another_file, write_a_kind_of_a_later_version]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_file_is_imported_up_to_the_change_and_no_further(
    tmp_path: Path, change: Callable[[bytes], bytes], suffix: str
) -> None:
    path, target = tmp_path / f"log{suffix}", MemoryStore()
    source = await exported(path)
    whole = path.read_bytes()
    text = change(gzip.decompress(whole) if suffix.endswith("gz") else whole)
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)

    with pytest.raises(ExportFileError, match=r"^line [\d,]+ of .*log\.jsonl") as caught:
        await import_log(target, path)

    number = int(re.findall(r"line ([\d,]+)", str(caught.value))[0].replace(",", ""))
    before = [line for line in text.splitlines()[: number - 1] if line.startswith(b'{"event"')]
    async with target:
        assert len(await target.read(0, 10_000)) == len(before)
        with pytest.raises(StoreError, match="not complete"):
            await identify_log(target)
    path.write_bytes(whole)  # the file is copied again
    assert (await import_log(target, path)).is_complete
    assert_same(await everything_of(target), await everything_of(source))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
async def test_a_truncated_file_is_imported_as_far_as_it_goes_and_continued_by_the_next_export(
    tmp_path: Path, suffix: str
) -> None:
    path, target = tmp_path / f"log{suffix}", MemoryStore()
    source = await exported(path, is_final=False)
    async with source:
        await append(source, later(Random(4)))
    before = path.stat().st_size
    await export_log(source, path, is_final=False, audit_span=SPAN)
    for keep in (before + 1, before + (path.stat().st_size - before) // 2, path.stat().st_size - 3):
        await export_log(source, path, is_final=False, audit_span=SPAN)
        os.truncate(path, keep)

        found = await import_log(target, path)

        assert not found.is_complete
        assert [problem for problem in found.problems if "the file ends within a part" in problem] == found.problems
    await export_log(source, path, is_final=True, audit_span=SPAN)

    assert (await import_log(target, path)).problems == []
    assert_same(await everything_of(target), await everything_of(source))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "does not look like an exported log"),
        (b"a file of something else\n", "line 1 of .* is not a line of an exported log"),
        (b"no line at all", "does not look like an exported log"),
        (seal("event", b"{}", "")[0], "does not look like an exported log"),
        (
            seal("log", b'{"version":2,"log_id":"","log_format":3,"store":"","at":"2026-12-01T12:00:00Z"}', "")[0],
            "written by a newer Gnomon: its version is 2 .*upgrade Gnomon here",
        ),
        (
            seal("log", b'{"version":1,"log_id":"","log_format":99,"store":"","at":"2026-12-01T12:00:00Z"}', "")[0],
            "its version is 1 and that of its events 99",
        ),
        (seal("log", b'{"version":"1"}', "")[0], "line 1 of .* cannot be parsed"),
    ],
)
async def test_what_is_not_an_exported_log_is_neither_imported_nor_continued(
    tmp_path: Path, text: bytes, said: str
) -> None:
    path, target = tmp_path / "log.jsonl", MemoryStore()
    source = await exported(tmp_path / "other.jsonl", is_final=False)
    path.write_bytes(text)

    with pytest.raises(ExportFileError, match=said):
        await import_log(target, path)
    if text:
        with pytest.raises(ExportFileError, match=said):
            await export_log(source, path, is_final=False, audit_span=SPAN)
        assert path.read_bytes() == text


async def test_events_that_are_out_of_order_are_refused_although_the_checksums_are_right(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    await exported(path)
    kept, checksum = [], ""
    lines = list(LineReader(path))
    events = [number for number, line in enumerate(lines) if line.kind == "event"]
    lines[events[4]], lines[events[3]] = lines[events[3]], lines[events[4]]
    for line in lines:
        text, checksum = seal(line.kind, line.content, checksum)
        kept.append(text)
    path.write_bytes(b"".join(kept))

    with pytest.raises(ExportFileError, match="behind event 5: events must be in order"):
        await import_log(MemoryStore(), path)


async def test_a_store_that_has_another_log_is_left_as_it_is(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    source, target = await exported(first, is_final=False), MemoryStore()
    other = await exported(second, is_final=False)
    async with target:
        await append(target, job_added())

    with pytest.raises(StoreError, match="has a log already, which ends at event 1: import into an empty store"):
        await import_log(target, first)
    with pytest.raises(ExportFileError, match=r"first\.jsonl has the log \w+, and this one is \w+: name another file"):
        await export_log(other, first, is_final=False, audit_span=SPAN)

    target = MemoryStore()
    await import_log(target, first)
    with pytest.raises(StoreError, match=r"has the log \w+, and .*second\.jsonl has \w+: name its file"):
        await import_log(target, second)
    await export_log(source, first, is_final=True, audit_span=SPAN)
    assert (await import_log(target, first)).is_complete


async def test_a_log_that_a_kernel_has_led_since_takes_nothing_more(tmp_path: Path) -> None:
    path, target = tmp_path / "log.jsonl", MemoryStore()
    await exported(path)
    assert (await import_log(target, path)).is_complete
    async with target:
        await append(target, job_added("new"))

    with pytest.raises(StoreError, match="a kernel has led this log since it was imported"):
        await import_log(target, path)
    async with target:
        await identify_log(target)


class LossyStore(MemoryStore):
    """A store that changes one event, and counts one run too many."""

    async def read(self, after: int = 0, limit: int = 1000) -> list[object]:  # type: ignore[override]
        found = await super().read(after, limit)
        return [numbered(job_added("other"), after=e.position - 1)[0] if self.changes(e) else e for e in found]

    def changes(self, event: object) -> bool:
        return isinstance(event, JobAdded) and event.job_id == "gone"


async def test_a_store_that_has_not_kept_what_it_was_given_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    await exported(path)

    with pytest.raises(StoreError, match=r"event [\d,]+ in the store memory is not that of .*log\.jsonl"):
        await import_log(LossyStore(), path)


class UncountingStore(MemoryStore):
    """A store whose lists lose a view."""

    async def restore(self, events, executions, jobs, head) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        await super().restore(events, [view for view in executions if view.status != "missed"], jobs, head)


async def test_a_store_whose_lists_do_not_have_the_runs_of_the_events_is_noticed(tmp_path: Path) -> None:
    path, target = tmp_path / "log.jsonl", UncountingStore()
    await exported(path)

    found = await import_log(target, path)

    assert not found.is_complete
    assert [problem for problem in found.problems if "runs with the status missed" in problem] == found.problems
    async with target:
        with pytest.raises(StoreError, match="not complete"):
            await identify_log(target)


class WaitingEnds(MemoryStore):
    """A store that has the end of a run, and orders, which no kernel has taken."""

    async def late_ends(self) -> list[Event]:
        return failed()[-1:]

    async def waiting_orders(self) -> int:
        return 2


async def test_a_log_is_not_closed_while_a_kernel_has_still_to_take_something(tmp_path: Path) -> None:
    source, path = WaitingEnds(), tmp_path / "log.jsonl"
    async with source:
        await write_random_log(source, Random(3), runs=20)

    with pytest.raises(StoreError, match="1 ends of runs and 2 orders wait for a kernel"):
        await export_log(source, path, is_final=True, audit_span=SPAN)
    await export_log(source, path, is_final=False, audit_span=SPAN)

    async with source:
        await identify_log(source)


async def test_an_export_is_refused_where_it_would_lose_something(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    source = await exported(path, is_final=False)
    shorter = MemoryStore()
    async with source, shorter:
        log_id = (await source.checkpoint("log"), await source.read(0, 3))
        await append(shorter, log_id[1])
        await shorter.save_checkpoint("log", log_id[0])  # type: ignore[arg-type]

    with pytest.raises(ExportFileError, match=r"but the log ends at 3: it has lost events"):
        await export_log(shorter, path, is_final=False, audit_span=SPAN)
    with pytest.raises(GnomonError, match="no kernel has led this log yet"):
        await export_log(MemoryStore(), tmp_path / "empty.jsonl", is_final=False, audit_span=SPAN)
    with pytest.raises(ExportFileError, match=r"compressed with gzip: name the file .*log\.gz"):
        await export_log(source, tmp_path / "log.zst", is_final=False, audit_span=SPAN)
    assert path.stat().st_mode & 0o077 == 0
