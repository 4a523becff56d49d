import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.conversion import convert
from gnomon.domain import execution
from gnomon.domain.records import ExecutionQuery
from gnomon.durations import Duration
from gnomon.errors import ConfigError, NoLogError, StoreError
from gnomon.ports import Store
from gnomon.stores.page_cursor import Cursor, write_cursor
from gnomon.testing.histories import NOON, append, failed, numbered, running, succeeded
from gnomon_sqlite import SqlitePlugin, SqliteStore, transactions
from gnomon_sqlite.lists import queries
from gnomon_sqlite.views import projection_writer
from gnomon_sqlite.views.unflushed_reader import Reader


def configure(**section: Any) -> SqlitePlugin:
    return SqlitePlugin(convert(section, SqlitePlugin.Config, "plugins.sqlite"))


def test_the_plugin_registers_a_store_at_the_configured_path(tmp_path: Path) -> None:
    offered: list[Store] = []

    configure(path=str(tmp_path / "log.db"), synchronous="NORMAL").register_store(offered.append)

    (store,) = offered
    assert isinstance(store, SqliteStore)
    assert (store.path, store.synchronous) == (tmp_path / "log.db", "NORMAL")


@pytest.mark.parametrize("section", [{"paht": "x.db"}, {"synchronous": "OFF"}, {"retention": "for ever"}])
def test_invalid_settings_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        configure(**section)


def test_without_a_retention_no_job_is_registered() -> None:
    offered: list[Any] = []

    configure().register_jobs(lambda **keys: offered.append(keys))

    assert offered == []


async def test_the_retention_job_deletes_executions_that_ended_longer_ago(tmp_path: Path) -> None:
    offered: list[dict[str, Any]] = []
    plugin = configure(path=str(tmp_path / "gnomon.db"), retention="90d")
    plugin.register_jobs(lambda **keys: offered.append(keys))
    old = NOON.replace(year=2020)

    async with plugin.store as store:
        await append(store, succeeded("old", old), running("still_going", old))
        forgotten = await offered[0]["func"]()
        left = await store.executions(ExecutionQuery())

    assert plugin.config.retention == Duration(days=90)
    assert (offered[0]["id"], forgotten) == ("sqlite.retention", 1)
    assert [view.job_id for view in left.items] == ["still_going"]


# gnomon check --connect


async def test_the_connection_check_reports_the_position_of_the_log_also_beside_its_writer(tmp_path: Path) -> None:
    plugin = configure(path=str(tmp_path / "log.db"))
    assert (
        plugin.try_connection("leader")
        == f"SQLite log {tmp_path / 'log.db'} does not exist yet: the first start creates it"
    )
    assert list(tmp_path.iterdir()) == []

    async with plugin.store as store:
        await append(store, running("first"))

        assert plugin.try_connection("leader") == f"SQLite log {tmp_path / 'log.db'} is at event 2"


def test_the_connection_check_treats_an_empty_file_as_no_log_yet(tmp_path: Path) -> None:
    (tmp_path / "log.db").touch()

    assert "does not exist yet" in configure(path=str(tmp_path / "log.db")).try_connection("leader")
    with pytest.raises(NoLogError, match="an empty file, not a log yet: start a kernel there first"):
        configure(path=str(tmp_path / "log.db")).try_connection("follower")
    assert (tmp_path / "log.db").read_bytes() == b""


def test_the_connection_check_names_the_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        configure(path=str(tmp_path / "nowhere" / "log.db")).try_connection("leader")

    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)  # for root everything can be written

    with pytest.raises(StoreError, match=f"no permission for {tmp_path}; check owner and mode"):
        configure(path=str(tmp_path / "log.db")).try_connection("leader")


async def test_a_page_and_its_total_are_from_one_snapshot(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await append(store, running("first"))
        late = numbered(running("second"), after=2)
        reader = store._readers.get()

        def write_between(statement: str) -> None:
            if "AS page" in statement:
                transactions.append(store._writer, store._pending, late, [execution.fold(late)], [])

        reader.set_trace_callback(write_between)
        page = queries.executions(reader, ExecutionQuery(), None)
        reader.set_trace_callback(None)
        store._readers.put(reader)

        assert (len(page.items), page.total) == (1, 1)
        assert (await store.executions(ExecutionQuery())).total == 2


async def test_the_work_for_a_page_and_its_total_does_not_grow_with_the_log(tmp_path: Path) -> None:
    deep = ExecutionQuery(job_id="sync", status=("success",), is_manual=False)
    asked = [ExecutionQuery(), ExecutionQuery(job_id="sync"), ExecutionQuery(status=("failed",)), deep]
    asked += [ExecutionQuery(is_manual=True), ExecutionQuery(is_manual=False, cursor=write_cursor(Cursor(NOON, "")))]

    few, many = [await steps_of(tmp_path / f"{n}.db", n, asked) for n in (100, 1000)]

    assert all(more < 2 * less for less, more in zip(few, many, strict=True)), (few, many)


async def steps_of(path: Path, seconds: int, asked: list[ExecutionQuery]) -> list[int]:
    """Count the steps of SQLite's virtual machine for each query, in a log of four executions a second around noon."""
    async with SqliteStore(path, synchronous="NORMAL") as store:
        times = [NOON + timedelta(seconds=n - seconds // 2) for n in range(seconds)]
        for at in times:
            histories = [make(job, at, is_manual=manual) for make, job, manual in KINDS]
            batch = numbered(*histories, after=store_head(store))
            await store.append(batch, [execution.fold(history) for history in histories], [])
        await store._write(projection_writer.flush, store._pending)
        reader = store._readers.get()
        found = [steps(reader, query) for query in asked]
        store._readers.put(reader)
        return found


KINDS = ((succeeded, "sync", False), (failed, "sync", True), (succeeded, "report", True), (failed, "report", False))


def store_head(store: SqliteStore) -> int:
    return int(store._writer.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])


def steps(reader: Reader, query: ExecutionQuery) -> int:
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    reader.set_progress_handler(count, 1)
    page = queries.executions(reader, query, queries.parse_cursor(query))
    reader.set_progress_handler(None, 0)
    assert len(page.items) == 50
    return counted


async def test_a_store_closes_when_the_default_executor_of_the_loop_is_shut_down(tmp_path: Path) -> None:
    store, loop = SqliteStore(tmp_path / "log.db"), asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1)
    loop.set_default_executor(executor)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        await loop.run_in_executor(None, print)

    await store.open()
    await store.close()
    await store.open()
    await store.close()


async def test_a_store_closes_when_no_thread_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "log.db")
    await store.open()

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        await store.close()

    await store.open()
    await store.close()
