"""A database without a log, or without the one that was there: nothing begins another one, and nothing is proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.errors import RolledBackError
from gnomon.testing.histories import append, numbered, succeeded
from gnomon_shared_log.shared_log import SharedLog
from log_places import LogServer, config_section, drop_database, make_database
from store_commands import caller

MakeStore = Callable[..., SharedLog[Any]]


async def test_no_kernel_begins_a_new_log_by_itself_in_the_place_of_one_that_was_dropped(
    server: LogServer, database: str, make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    async with store:
        await append(store, numbered(succeeded()))
    drop_database(server, database)
    make_database(server, database)

    for _ in range(2):  # the first attempt has made the tables
        with pytest.raises(RolledBackError, match=r"is empty, and had another log, with events up to 3: .* the spool"):
            await make_store().open()

    (tmp_path / "spool.db").rename(tmp_path / "old.db")
    async with make_store() as new:
        assert await new.head() == 0


async def test_a_spool_goes_on_with_a_log_in_another_place(
    server: LogServer, database: str, make_store: MakeStore, place: str
) -> None:
    async with make_store() as store:
        await append(store, numbered(succeeded()))
    other = f"{database}_2"
    make_database(server, other)

    async with make_store(place=place.replace(database, other)) as moved:
        assert await moved.head() == 0


async def test_nothing_is_proved_of_a_database_without_a_log(place: str, make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "gnomon.toml").write_text(config_section(place, tmp_path / "spool.db"), encoding="utf-8")
    section = "postgres" if place.startswith("postgresql://") else "mongo"
    proofs = [("audit",), (section, "verify"), ("stats", "--verify"), ("log", "export", "log.jsonl")]

    for command, *arguments in proofs:
        code, said = await caller(command, tmp_path)(*arguments)
        assert (code, "contains no log: start a kernel with it first" in said) == (1, True), said
    async with make_store():
        pass
    for command, *arguments in proofs[:3]:
        code, said = await caller(command, tmp_path)(*arguments)
        assert (code, "the log has no event" in said) == (1, True), said
