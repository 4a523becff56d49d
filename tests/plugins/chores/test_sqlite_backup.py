"""backup of real SQLite files, some of them written meanwhile."""

import fcntl
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gnomon import Context, RunCancelled
from gnomon_chores import backup
from gnomon_chores.errors import BackupFailed, BadArgument, NotADatabase

ROWS = 3000  # of 1000 bytes: about 750 pages, several steps of the copy


def make_database(path: Path, *, rows: int = ROWS, journal_mode: str = "wal") -> sqlite3.Connection:
    """Make a database of numbered rows and return the connection that writes to it."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    connection.execute(f"PRAGMA journal_mode={journal_mode}")
    connection.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, filling BLOB)")
    with connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO row VALUES (?, randomblob(1000))", ((number,) for number in range(rows)))
    return connection


def numbers(path: Path | str) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM row ORDER BY number")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def when_told(ctx: Context, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something at each progress that the backup tells."""
    tell = ctx.progress

    def progress(*positional: Any, **named: Any) -> None:
        tell(*positional, **named)
        act()

    monkeypatch.setattr(ctx, "progress", progress)


def test_a_backup_holds_what_the_database_held(tmp_path: Path, ctx: Context, begun_steps: list[str]) -> None:
    with closing(make_database(tmp_path / "app.db")):
        result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "backups"))

    copied = Path(result["path"])
    assert re.fullmatch(r"app-\d{8}T\d{6}Z\.db", copied.name)
    assert numbers(copied) == list(range(ROWS))
    assert result["bytes"] == copied.stat().st_size == result["pages"] * 4096
    assert result["removed"] == []
    assert names(tmp_path / "backups") == [copied.name]
    assert begun_steps == ["copy", "verify", "publish"]


def test_progress_counts_pages(tmp_path: Path, ctx: Context, told_progress: list[dict[str, Any]]) -> None:
    with closing(make_database(tmp_path / "app.db")):
        pages = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))["pages"]

    processed = [told["processed_items"] for told in told_progress]
    assert processed == [256, 512, pages]
    assert {told["total_items"] for told in told_progress} == {pages}
    assert {told["current_item"] for told in told_progress} == {"app.db"}


def test_a_database_in_wal_mode_is_written_during_its_backup(
    tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch, told_progress: list[dict[str, Any]]
) -> None:
    with closing(make_database(tmp_path / "app.db")) as writer:
        when_told(ctx, monkeypatch, lambda: writer.execute("INSERT INTO row VALUES (NULL, 'during')"))

        result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

        assert numbers(result["path"]) == list(range(ROWS))  # one moment, not a mixture
        assert len(told_progress) == 3  # no step had to be done again
        assert len(numbers(tmp_path / "app.db")) == ROWS + 3


def test_a_database_with_a_rollback_journal_that_is_always_written_is_copied_in_one_go(
    tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(make_database(tmp_path / "app.db", journal_mode="delete")) as writer:
        when_told(ctx, monkeypatch, lambda: writer.execute("INSERT INTO row VALUES (NULL, 'during')"))

        result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

        copied = numbers(result["path"])
        assert copied == list(range(len(copied)))
        assert ROWS < len(copied) < ROWS + 10


def test_what_is_only_in_the_write_ahead_log_is_in_the_backup(tmp_path: Path, ctx: Context) -> None:
    with closing(make_database(tmp_path / "app.db", rows=1)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("INSERT INTO row VALUES (77, 'in the log')")

        result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert numbers(result["path"]) == [0, 77]


def test_a_backup_leaves_nothing_beside_a_database_that_nobody_else_has_open(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", rows=1).close()

    backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert names(tmp_path) == ["app.db", "b"]


def test_a_transaction_that_is_not_committed_is_not_in_the_backup(tmp_path: Path, ctx: Context) -> None:
    with closing(make_database(tmp_path / "app.db", rows=1)) as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO row VALUES (77, 'perhaps')")

        result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert numbers(result["path"]) == [0]


def test_the_newest_backups_of_this_database_are_kept_and_nothing_else_is_touched(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", rows=1).close()
    folder = tmp_path / "backups"
    folder.mkdir()
    old = [f"app-2020010{day}T030000Z.db" for day in range(1, 6)]
    others = ["app-2-20200101T030000Z.db", "app-latest.db", "app-20200101T030000Z.db.gz", "note.txt"]
    for name in [*old, *others]:
        (folder / name).write_text(name)

    result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(folder), keep=3)

    assert result["removed"] == old[:3]
    assert names(folder) == sorted([*old[3:], *others, Path(result["path"]).name])


def test_a_prefix_keeps_apart_two_databases_of_one_name(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", rows=1).close()

    result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"), prefix="north (1)", keep=1)
    backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"), keep=1)

    assert Path(result["path"]).name.startswith("north (1)-2")
    assert len(names(tmp_path / "b")) == 2


def test_a_cancelled_backup_leaves_nothing(tmp_path: Path, ctx: Context, cancel_after: Callable[[int], None]) -> None:
    with closing(make_database(tmp_path / "app.db")):
        cancel_after(6)  # the second step of the copy

        with pytest.raises(RunCancelled):
            backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert names(tmp_path / "b") == []


def test_cancel_ends_the_check_of_the_copy(
    tmp_path: Path, ctx: Context, cancel_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon_chores.sqlite_backup.CHECKPOINT_INSTRUCTIONS", 100)
    make_database(tmp_path / "app.db").close()
    step = ctx.step

    def cancel_at_verify(name: str) -> None:
        step(name)
        if name == "verify":
            cancel_after(2)

    monkeypatch.setattr(ctx, "step", cancel_at_verify)

    with pytest.raises(RunCancelled):
        backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert names(tmp_path / "b") == []


def test_a_damaged_database_makes_no_backup_and_keeps_the_old_ones(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", journal_mode="delete").close()
    with (tmp_path / "app.db").open("r+b") as file:
        file.seek(100 * 4096)
        file.write(b"\xff" * 4096)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "app-20200101T030000Z.db").write_text("good")

    with pytest.raises(BackupFailed, match=r"damaged: .*integrity_check"):
        backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"), keep=1)

    assert names(tmp_path / "b") == ["app-20200101T030000Z.db"]


def test_what_a_killed_backup_left_is_cleared_away_by_the_next(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", rows=1).close()
    leftover = tmp_path / "b" / ".app.partial"
    leftover.mkdir(parents=True)
    (leftover / "copy.db").write_bytes(b"half")
    (leftover / "copy.db-journal").write_bytes(b"half")

    result = backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert names(tmp_path / "b") == [Path(result["path"]).name]


def test_a_second_backup_at_the_same_time_is_refused(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", rows=1).close()
    (tmp_path / "b" / ".app.partial").mkdir(parents=True)
    lock = os.open(tmp_path / "b" / ".app.partial", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    with pytest.raises(BackupFailed, match="another backup is writing"):
        backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    os.close(lock)


def test_a_database_that_stays_locked_is_given_up(
    tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon_chores.sqlite_backup.BUSY_TIMEOUT_S", 0.01)
    with closing(make_database(tmp_path / "app.db", rows=1, journal_mode="delete")) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        with pytest.raises(BackupFailed, match="locked"):
            backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert names(tmp_path / "b") == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, ctx: Context) -> None:
    make_database(tmp_path / "app.db", rows=1).close()
    (tmp_path / "b").write_text("a file")

    with pytest.raises(BackupFailed, match=r"File exists: .*/b'"):
        backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "missing"), (b"", "empty"), (b"PK\x03\x04 a wheel", "another kind of file"), (b"SQLite", "another kind")],
)
def test_what_is_no_database_is_refused_and_no_folder_is_made(
    tmp_path: Path, ctx: Context, content: bytes | None, found: str
) -> None:
    if content is not None:
        (tmp_path / "app.db").write_bytes(content)

    with pytest.raises(NotADatabase, match=f"app.db is {found}.*expected an SQLite database"):
        backup(ctx, database=str(tmp_path / "app.db"), directory=str(tmp_path / "b"))

    assert not (tmp_path / "b").exists()


def test_a_folder_is_not_a_database(tmp_path: Path, ctx: Context) -> None:
    with pytest.raises(NotADatabase, match="is not a file"):
        backup(ctx, database=str(tmp_path), directory=str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("keep", 0), ("keep", "7"), ("keep", True), ("prefix", "a/b"), ("prefix", ""), ("database", 7), ("directory", "")],
)
def test_bad_arguments_are_named(tmp_path: Path, ctx: Context, argument: str, value: Any) -> None:
    make_database(tmp_path / "app.db", rows=1).close()
    arguments: dict[str, Any] = {"database": str(tmp_path / "app.db"), "directory": str(tmp_path / "b")}

    with pytest.raises(BadArgument, match=f"^backup: {argument} is "):
        backup(ctx, **{**arguments, argument: value})
