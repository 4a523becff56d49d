"""A database that another scheduler used: opened, listed, imported and verified."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner

import old_history
from gnomon import Imported, Job, Kernel
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.cli import main
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.testing.histories import append, job_added, succeeded
from gnomon.testing.log_checks import check_store
from gnomon_mongo import MongoStore, schema
from gnomon_mongo.drivers import Driver

MakeStore = Callable[..., MongoStore]
SHANGHAI = timezone(timedelta(hours=8))

pytestmark = pytest.mark.parametrize("driver", ["pymongo"], indirect=True)


async def nothing() -> None:
    pass


@pytest.fixture
def command(server_uri: str, database: Any, tmp_path: Path) -> Callable[..., Any]:
    config = tmp_path / "gnomon.toml"
    settings = {"uri": server_uri, "database": database.name, "driver": "pymongo", "spool": str(tmp_path / "spool.db")}
    lines = [f'{name} = "{value}"' for name, value in settings.items()]
    config.write_text("\n".join(["[plugins.mongo]", *lines]), encoding="utf-8")

    async def call(*arguments: str) -> tuple[int, str]:
        runner = CliRunner(env={"COLUMNS": "300"})  # the place where a table wraps depends on the length of a port
        result = await asyncio.to_thread(runner.invoke, main, [*arguments, "--config", str(config)])
        return result.exit_code, result.output

    return call


async def check_imported(store: MongoStore) -> None:
    """Check what an import of the fixture has to give, against the documents that it was made from."""
    page = await store.executions(ExecutionQuery(limit=400))
    expected = {str(one["_id"]): one for one in map(old_history.run, range(old_history.RUNS))}
    assert page.total == old_history.RUNS
    assert {run.id for run in page.items} == expected.keys()
    assert Counter(run.status for run in page.items) == {"success": 75, "failed": 150, "missed": 75}
    for run in page.items:
        record = expected[run.id]
        assert run.timestamp == record["timestamp"].replace(tzinfo=SHANGHAI, microsecond=run.timestamp.microsecond)
        assert run.scheduled_time == record["scheduled_time"].replace(tzinfo=SHANGHAI)
        assert run.is_manual is record.get("is_manual", False)
        assert run.traceback == record.get("traceback")
        assert run.execution_time == record["execution_time"]
        assert run.imported_from is not None
        if record["status"] == "running":
            assert (run.status, run.reason, run.progress.percent, run.cancel_requested) == ("failed", "lost", 35, True)
        else:
            assert (run.status, run.error_message) == (record["status"], record.get("error_message"))
    names = {state.job_id: (state.display_name, state.note) for state in await store.jobs()}
    assert names == {old_history.job_id(n): (f"源 {n}", f"每日同步 {n}") for n in range(old_history.JOBS)}
    acts = await store.actions(ActionQuery(limit=100))
    old = [one for one in acts.items if one.actor == "unknown"]
    expected_acts = Counter((one["job_id"], one["action"], one["status"]) for one in map(old_history.act, range(50)))
    assert Counter((one.job_id, one.action, one.status) for one in old) == expected_acts
    assert min(one.at for one in old) == old_history.FIRST.replace(tzinfo=SHANGHAI)
    await check_store(store)


async def test_a_database_of_another_scheduler_is_opened_listed_imported_and_verified(
    make_store: MakeStore, database: Any, command: Callable[..., Any]
) -> None:
    await old_history.fill(database)

    code, said = await command("check", "--connect")
    assert (code, "300 in scheduler_executions" in said, "gnomon mongo import" in said) == (0, True, True), said
    kernel = Kernel(store=make_store(), jobs=[Job(id="sync_source_03", func=nothing)], node="a")
    async with kernel:
        assert (await kernel.executions(ExecutionQuery())).total == 0
        assert (await kernel.actions(ActionQuery())).total == 0
        run = (await kernel.trigger("sync_source_03")).execution
        assert (await kernel.executions(ExecutionQuery())).total == 1
    code, said = await command("mongo", "verify")
    assert code == 0, said
    assert "the views of all 1 runs match their events" in said
    assert "300 in scheduler_executions, 20 in scheduler_metadata, 50 in scheduler_history" in said

    code, said = await command("mongo", "import", "--dry-run")
    assert "300 runs would be imported" in said
    code, said = await command("mongo", "import")
    assert code == 0, said
    assert (
        "300 runs imported (150 failed, 75 missed, 75 success, of the failed ones 75 were recorded as running)" in said
    )
    assert "50 acts of operators, and names or notes of 20 jobs imported" in said
    code, said = await command("mongo", "import")
    assert (code, said) == (0, "there is nothing to import\n")
    code, said = await command("mongo", "verify")
    assert (code, "the views of all 301 runs match their events" in said) == (0, True), said
    assert "another program" not in said

    store = make_store()
    await store.open()
    assert (await store.execution(run.id)) is not None
    head = await store.head()
    assert head == len(await store.read(0, 1000))
    imported = await store.execution(str(old_history.run(1)["_id"]))
    assert imported is not None
    fire = imported.scheduled_time
    explained = await explain(store, imported.job_id, fire, datetime.now(UTC))
    assert f"recorded from scheduler_executions of {store._server.address}" in " ".join(explained.sentences)
    assert (await audit(store, fire - timedelta(days=1), datetime.now(UTC))).is_proved
    statistics = {one.job_id: one.total for one in await store.statistics()}
    assert statistics[old_history.job_id(3)] == 16
    indexes = {**await database.scheduler_executions.index_information()}
    assert "idx_job_time" in indexes
    assert "job_id_1_timestamp_-1" not in indexes


@pytest.fixture(params=["wire server", "mongomock"])
async def filled_store(
    request: pytest.FixtureRequest, make_store: MakeStore, database: Any, mock_driver: Driver, tmp_path: Path
) -> AsyncIterator[MongoStore]:
    """Provide an open store in a database with the history of another scheduler."""
    store, filled = make_store(), database
    if request.param == "mongomock":
        store = MongoStore(database="gnomon", driver=mock_driver, spool=tmp_path / "mock.db")
        filled = mock_driver.connect("")["gnomon"]
    await old_history.fill(filled)
    async with store:
        yield store


async def test_an_import_gives_every_field_of_every_document(filled_store: MongoStore) -> None:
    store = filled_store
    assert (await store.executions(ExecutionQuery())).total == 0
    assert (await store.jobs(), (await store.actions(ActionQuery())).total) == ([], 0)

    report = await store.import_history(SHANGHAI)
    again = await store.import_history(SHANGHAI)

    assert (report.runs.total(), report.actions, report.described, report.refused) == (300, 50, 20, [])
    assert again.is_empty
    await check_imported(store)
    await store.rebuild()
    await check_imported(store)


async def test_an_import_that_was_interrupted_is_completed_by_the_next(
    make_store: MakeStore, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await old_history.fill(database)
    store = make_store()
    await store.open()
    writes = 0

    async def fails(*_: Any) -> None:
        raise RuntimeError("the process is killed here")

    for step in ("_delete", "_replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"gnomon_mongo.history_import.history_import.HistoryImport.{step}", fails)
            with pytest.raises(RuntimeError):
                await store.import_history(SHANGHAI)
        await store.close()
        await store.open()
        writes += 1
    assert writes == 2

    report = await store.import_history(SHANGHAI)
    assert report.already == 200  # the page of which the events were written, but not the views
    await check_imported(store)


async def test_one_strange_document_in_each_collection_breaks_nothing(make_store: MakeStore, database: Any) -> None:
    store = make_store()
    await store.open()
    await append(store, job_added("sync"), succeeded("sync"))
    for name in (schema.EXECUTIONS, schema.METADATA, schema.HISTORY):
        await database[name].insert_one({"job_id": "sync", "status": "success", "timestamp": datetime.now(UTC)})
    await database[schema.METADATA].insert_one({"_id": "report", "display_name": "not ours"})
    await database[schema.EXECUTIONS].insert_one({"x": 1})
    now = datetime.now(UTC)
    shapes: list[Any] = ["text", 7, None, [], {}, {"view": 1}, {"timestamp": "now"}, {"timestamp": True}]
    for shape in shapes:
        for name in (schema.EXECUTIONS, schema.HISTORY):
            await database[name].insert_one({"gnomon": shape, "job_id": "sync", "timestamp": now, "status": "success"})
    for fields in (
        {"position": 3},
        {"state": "on"},
        {"position": "first", "state": "on"},
        {"position": 1, "state": {}},
    ):
        await database[schema.METADATA].insert_one({"job_id": "other", **fields})
    await database[schema.EVENTS].insert_one({"x": 1})

    async def look(store: MongoStore) -> None:
        for query in (
            ExecutionQuery(),
            ExecutionQuery(job_id="sync"),
            ExecutionQuery(limit=1),
            ExecutionQuery(limit=0),
        ):
            page = await store.executions(query)
            assert (page.total, [run.job_id for run in page.items]) == (1, ["sync"][: query.limit])
        assert [state.job_id for state in await store.jobs()] == ["sync"]
        assert (await store.actions(ActionQuery())).total == 0
        assert [one.total for one in await store.statistics()] == [1]
        assert await store.head() == 4
        (strange,) = await database[schema.EXECUTIONS].find({"x": 1}).to_list()
        assert await store.execution(str(strange["_id"])) is None

    await look(store)
    await store.close()
    again = make_store()
    await again.open()
    await look(again)
    await append(again, job_added("report"))
    await again.close()
    await again.open()
    assert [state.job_id for state in await again.jobs()] == ["report", "sync"]


async def test_what_cannot_be_imported_is_reported_and_left(make_store: MakeStore, database: Any) -> None:
    fine: dict[str, Any] = old_history.run(1)
    strange: dict[str, dict[str, Any]] = {
        "its job_id is None": {"job_id": None},
        "its job_id is 'a b'": {"job_id": "a b"},
        "its status is 'paused'": {"status": "paused"},
        "its status is ['success']": {"status": ["success"]},
        "its status is {'is': 'running'}": {"status": {"is": "running"}},
        "its timestamp is 'yesterday'": {"timestamp": "yesterday"},
        "its timestamp is datetime.datetime(9999, 12, 31": {"timestamp": datetime(9999, 12, 31, tzinfo=UTC)},
        "its scheduled_time is datetime.datetime(1, 1, 1": {"scheduled_time": "0001-01-01T00:00:00"},
        "its scheduled_time is 17": {"scheduled_time": 17},
    }
    documents = [fine | {"_id": ObjectId()} | fields for fields in strange.values()]
    odd = {
        "_id": "text-id",
        "execution_time": "fast",
        "return_value": {"at": old_history.FIRST, "n": 2**40, "o": ObjectId()},
    }
    await database[schema.EXECUTIONS].insert_many([*documents, fine, fine | odd])
    store = make_store()
    await store.open()

    report = await store.import_history(SHANGHAI)

    assert report.runs.total() == 2
    assert len(report.refused) == len(strange)
    for one, problem in zip(report.refused, strange, strict=True):
        assert problem in one.problem
    left = await database[schema.EXECUTIONS].find({"gnomon": {"$exists": False}}).to_list()
    assert {one["_id"] for one in left} == {one["_id"] for one in documents}
    assert (await store.executions(ExecutionQuery())).total == 2
    again = await store.import_history(SHANGHAI)
    assert (again.runs.total(), again.already, len(again.refused)) == (0, 0, len(strange))


async def test_durations_that_no_run_can_have_stay_in_the_record(make_store: MakeStore, database: Any) -> None:
    at = {"timestamp": old_history.FIRST, "updated_at": old_history.FIRST + timedelta(seconds=9)}
    odd: dict[str, dict[str, Any]] = {
        "success": {"status": "success", "execution_time": 1e300},
        "failed": {"status": "failed", "execution_time": 4e9},
        "missed": {"status": "missed", "execution_time": 0.5},
    }
    await database[schema.EXECUTIONS].insert_many([{"job_id": name} | at | fields for name, fields in odd.items()])
    store = make_store()
    await store.open()

    report = await store.import_history(SHANGHAI)

    assert (report.runs.total(), report.refused) == (3, [])
    found = {run.job_id: run.execution_time for run in (await store.executions(ExecutionQuery())).items}
    assert found == {"success": 9.0, "failed": None, "missed": None}
    events = [event for event in await store.read() if isinstance(event, Imported)]
    assert {event.job_id: event.record["execution_time"] for event in events} == {
        name: fields["execution_time"] for name, fields in odd.items()
    }


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("zone", ["+24:00", "-99:00", "+08:99", "Mars/Olympus"])
async def test_a_zone_that_does_not_exist_is_refused(command: Callable[..., Any], zone: str) -> None:
    code, said = await command("mongo", "import", f"--timezone={zone}")

    assert code == 2
    assert "--timezone" in said
    assert "Traceback" not in said


async def test_a_view_without_events_is_told_from_proven_ones(
    store: MongoStore, database: Any, command: Callable[..., Any]
) -> None:
    batch = await append(store, succeeded("a"), succeeded("b"))
    await database[schema.EVENTS].delete_many({"stream": batch[0].stream})

    assert await store.without_events() == [batch[0].stream]
    code, said = await command("mongo", "verify")
    assert code == 1
    assert f"✘ {batch[0].stream}: the log has no event of it" in said
    assert "1 of 2 runs have no events" in said


async def test_an_import_is_refused_while_a_kernel_writes(store: MongoStore, command: Callable[..., Any]) -> None:
    code, said = await command("mongo", "import")
    assert code != 0
    assert "in use by process" in said
