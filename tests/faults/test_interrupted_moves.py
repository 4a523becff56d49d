"""Logs that are moved while processes, servers and disks fail: the next try goes on, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fault_runs import variants
from full_disks import fill
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon.transfer.lines import ExportFileError
from gnomon_sqlite import SqliteStore
from killed_moves import move_with_kills, write_long_log
from log_places import make_database, place_on, server_of
from moved_logs import SPAN, assert_same, everything_in


@pytest.mark.parametrize("kind", variants("postgres", long=["mongo"]))
async def test_an_import_that_is_killed_with_its_server_goes_on(kind: str, tmp_path: Path) -> None:
    with server_of(kind, tmp_path / "server") as server:
        make_database(server, "moved")
        await move_with_kills(place_on(server, "moved"), tmp_path / "log.jsonl", tmp_path, server)


@pytest.mark.parametrize("suffix", variants(".jsonl.gz", long=[".jsonl"]))
async def test_an_export_that_has_filled_its_disk_goes_on(
    mounted: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    disk = mounted("tmpfs", 8)
    source, target, path = (
        SqliteStore(tmp_path / "source.db"),
        SqliteStore(tmp_path / "target.db"),
        disk / f"log{suffix}",
    )
    async with source:
        await write_long_log(source)
        expected = await everything_in(source)
    filler = fill(disk)
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - 48 * 1024)  # room for a part

    with pytest.raises(ExportFileError, match="cannot be written: No space left on device"):
        await export_log(source, path, is_final=True, audit_span=SPAN)
    cut_off = await import_log(target, path)
    filler.unlink()
    await export_log(source, path, is_final=True, audit_span=SPAN)
    imported = await import_log(target, path)

    assert "the file ends within a part" in cut_off.problems[0]
    assert 0 < cut_off.events < len(expected["events"])
    assert (imported.problems, imported.is_complete) == ([], True)
    async with target:
        assert_same(await everything_in(target), expected)
