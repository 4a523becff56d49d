"""A database without a log, or without the one that was there: nothing begins another one, and nothing is proved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.domain.kernel_health import Role
from gnomon.errors import NoLogError, RolledBackError
from gnomon.kernel import Kernel
from gnomon.testing.histories import append, numbered, scheduled, succeeded
from gnomon_shared_log.shared_log import SharedLog
from log_places import LogServer, config_section, drop_database, make_database
from servers import eventually
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
    refusal = r"is empty, and had another log, with events up to 3: .* the spool"

    reader = make_store()
    with pytest.raises(NoLogError):
        await reader.open(read_only=True)
    assert reader.loss is not None
    for _ in range(2):  # the first attempt has made the tables
        with pytest.raises(RolledBackError, match=refusal) as checked:
            await make_store().try_connection("auto")
        with pytest.raises(RolledBackError, match=refusal) as refused:
            await make_store().open()
        assert str(checked.value) == str(refused.value) == reader.loss.refusal

    (tmp_path / "spool.db").rename(tmp_path / "old.db")
    assert "a log at event 0" in await make_store().try_connection("auto")
    async with make_store() as new:
        assert await new.head() == 0


async def test_a_spool_goes_on_with_a_log_in_another_place(
    server: LogServer, database: str, make_store: MakeStore, place: str
) -> None:
    async with make_store() as store:
        await append(store, numbered(succeeded()))
    other = f"{database}_2"
    make_database(server, other)

    assert "no log yet" in await make_store(place=place.replace(database, other)).try_connection("leader")
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


@pytest.mark.parametrize("role", ["auto", "follower"])
async def test_who_follows_leads_and_shows_no_other_log_than_the_one_that_was_dropped(
    role: Role, server: LogServer, database: str, make_store: MakeStore, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        leader = make_store()
        await leader.open()
        await append(leader, numbered(succeeded()))
        kernel = Kernel(store=make_store(spool=tmp_path / "other.db", lease=timedelta(seconds=46)), role=role)
        await stack.enter_async_context(kernel)

        def says(*sentences: str) -> bool:
            problem = kernel.health().problem or ""
            return kernel.health().role != "leader" and any(sentence in problem for sentence in sentences)

        drop_database(server, database)
        await leader.close()
        await eventually(lambda: kernel.health().problem is not None)
        make_database(server, database)
        replaced = "is another log by now than the one that this process has used"
        async with make_store(spool=tmp_path / "new.db") as new:
            await append(new, numbered(scheduled()))
            await eventually(lambda: says(replaced, "was read here, and is gone or another one"))
        if role == "auto":  # it may lead now, as far as the lease is concerned
            await eventually(lambda: says(replaced))
    async with make_store(spool=tmp_path / "new.db") as new:
        assert await new.head() == 1
