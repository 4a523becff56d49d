"""What other programs find in the database, and what is forgotten when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bson import ObjectId

from gnomon import Job, Kernel
from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.domain import events, execution
from gnomon.domain.execution import Execution
from gnomon.domain.progress import ProgressView, Step
from gnomon.domain.records import Checkpoint, ExecutionQuery, LogLine
from gnomon.errors import ConfigError, GnomonError, StoreError
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    cancelled,
    every_type,
    extend,
    failed,
    job_added,
    missed,
    numbered,
    running,
    scheduled,
    succeeded,
)
from gnomon_mongo import MongoPlugin, MongoStore, schema
from gnomon_mongo.documents.conversion import LARGEST, event_document, execution_document, execution_of, job_document
from gnomon_mongo.documents.write_batch import WriteBatch
from gnomon_mongo.drivers import Driver
from gnomon_mongo.log import operations
from gnomon_mongo.views import projection

RECORD = (
    "_id job_id job_name status scheduled_time timestamp execution_time error_message error_type traceback is_manual "
    "cancel_requested updated_at progress progress_message current_item processed_items total_items steps return_value "
    "reason actor kwargs force attempt retry_of node version"
)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["pymongo"])
def driver(request: pytest.FixtureRequest) -> Any:
    return Driver(request.param)


async def test_an_execution_has_the_fields_of_the_record_and_its_indexes(store: MongoStore, database: Any) -> None:
    told = extend(
        running(kwargs={"market": "cn"}, actor="ann", is_manual=True), events.Progress, percent=40.0, step="fetch"
    )
    batch = await append(store, extend(told, events.Succeeded, return_value={"rows": 3}, execution_time=2.5))

    (document,) = await database.scheduler_executions.find().to_list()

    assert set(document) == {*RECORD.split(), "gnomon"}
    assert document["_id"] == ObjectId(batch[0].stream)
    assert document["timestamp"] == NOON + SECOND
    shown = {
        name: document[name] for name in ("status", "progress", "return_value", "kwargs", "execution_time", "version")
    }
    assert shown == {
        "status": "success",
        "progress": 100.0,
        "return_value": {"rows": 3},
        "kwargs": {"market": "cn"},
        "execution_time": 2.5,
        "version": 4,
    }
    assert document["steps"] == [{"name": "fetch", "status": "completed"}]
    indexes = await database.scheduler_executions.index_information()
    assert {tuple(index["key"]) for index in indexes.values()} == {
        (("_id", 1),),
        (("job_id", 1), ("timestamp", -1)),
        (("status", 1), ("timestamp", -1)),
        (("labels", 1), ("timestamp", -1)),
        (("is_manual", 1), ("timestamp", -1)),
        (("gnomon.late", 1), ("timestamp", -1)),
        (("gnomon.hidden", 1),),
    }


async def test_events_are_fenced_by_position_and_by_stream_and_version(store: MongoStore, database: Any) -> None:
    await append(store, succeeded())

    indexes = await database.scheduler_events.index_information()

    fence, *events = await database.scheduler_events.find().sort("_id").to_list()
    assert [event["_id"] for event in events] == [1, 2, 3]
    owner = fence.pop("owner")  # of the term in which events may be appended
    assert fence == {"_id": 0, "stream": "", "version": 0, "type": "fence", "epoch": 1}
    assert len(owner) == 16
    assert indexes["stream_1_version_1"]["unique"]


async def test_what_is_written_is_confirmed_by_the_majority_and_its_journals(store: MongoStore) -> None:
    for name in (schema.EVENTS, schema.EXECUTIONS, schema.CHECKPOINTS, schema.KERNEL):
        assert store._server[name].write_concern.document == {"w": "majority", "j": True}


async def test_operators_acts_are_kept_and_the_kernels_are_not(store: MongoStore, database: Any) -> None:
    job = extend(extend(job_added(), events.JobPaused, actor="ann", reason="holidays"), events.JobResumed, actor="ann")
    marked = extend(running("b"), events.Failed, reason="marked", error_message="it hung", actor="bob")
    by_hand = scheduled("c", is_manual=True, actor="ann")
    started_by_kernel = job_added("d")
    taken_back = extend(scheduled("e"), events.Cancelled, actor="cid", reason="not today")
    await append(store, job, marked, cancelled("a"), by_hand, started_by_kernel, taken_back, succeeded("f"))

    history = await database.scheduler_history.find().sort("_id").to_list()

    assert [(one["job_id"], one["action"], one["actor"], one["status"]) for one in history] == [
        ("sync", "pause", "ann", "success"),
        ("sync", "resume", "ann", "success"),
        ("b", "mark_failed", "bob", "success"),
        ("a", "cancel", "ann", "success"),
        ("c", "trigger", "ann", "success"),
        ("e", "cancel", "cid", "success"),
    ]
    assert history[0]["detail"] == "holidays"
    assert history[0]["timestamp"] == NOON + SECOND
    assert history[2]["detail"] == "it hung"
    assert history[2]["execution_id"] == marked[0].stream


async def test_a_jobs_name_and_state_can_be_read_by_others(store: MongoStore, database: Any) -> None:
    added = job_added(name="Financial data", description="All of it")
    job = extend(added, events.JobPaused, actor="ann", reason="holidays")
    await append(store, job)

    (document,) = await database.scheduler_metadata.find().to_list()

    assert document["_id"] == "sync"
    assert (document["display_name"], document["description"]) == ("Financial data", "All of it")
    assert (document["paused"], document["paused_by"], document["paused_reason"]) == (True, "ann", "holidays")


def view(**fields: Any) -> Execution:
    return msgspec.structs.replace(execution.begin(scheduled()[0]), **fields)


@pytest.mark.parametrize(
    "value",
    [
        2**70,
        {"$where": 1, "a.b": 2, "nul\0": {"$": [1, -(2**64)]}},
        [[[[{"a": [1, (2, 3)]}]]]],
        "\0 NUL 🦑",
        {"": None},
    ],
    ids=["integer", "keys", "nested", "text", "empty"],
)
async def test_values_that_bson_does_not_have_come_back_all_the_same(store: MongoStore, value: Any) -> None:
    kept = view(kwargs={"value": value}, return_value=value, timestamp=NOON + timedelta(microseconds=123_457))

    await store.append(numbered(scheduled()), [kept], [])

    found = await store.execution(kept.id)
    assert found is not None
    assert msgspec.json.encode(found) == msgspec.json.encode(kept)


def test_values_that_are_nested_deeper_than_servers_allow_are_shown_as_text() -> None:
    deep: Any = []
    for _ in range(150):
        deep = [deep]

    document = execution_document(view(kwargs={"deep": deep}))

    assert execution_of(document).kwargs == {"deep": deep}
    levels, shown = 0, document["kwargs"]["deep"]
    while isinstance(shown, list):
        levels, shown = levels + 1, shown[0]
    assert levels < 100
    assert shown.startswith("[[")


def test_large_arguments_are_not_written_twice() -> None:
    document = execution_document(view(kwargs={"text": "x" * 2_000_000}))

    assert document["kwargs"] == "… too large to be shown here"
    assert len(execution_of(document).kwargs["text"]) == 2_000_000


def test_a_view_that_grew_too_large_is_written_without_its_steps() -> None:
    steps = tuple(Step(name=f"{n} {'x' * 4000}") for n in range(5000))

    kept = execution_of(execution_document(view(progress=ProgressView(percent=4.0, steps=steps))))

    assert (kept.progress.percent, kept.progress.steps) == (4.0, ())


async def test_a_document_that_no_server_takes_is_refused_before_anything_is_written(store: MongoStore) -> None:
    batch = numbered(succeeded("fine"), scheduled(kwargs={"text": "x" * (LARGEST + 1)}))

    with pytest.raises(StoreError, match=r"event 4 \(scheduled of .*\) is too large for MongoDB: 15,"):
        await store.append(batch, [], [])

    assert await store.read() == []
    assert store.health().state == "healthy"
    assert (await append(store, succeeded()))[-1].position == 3


async def test_a_checkpoint_that_no_server_takes_is_refused_and_the_older_one_stays(store: MongoStore) -> None:
    await store.save_checkpoint("stats", Checkpoint(1, b"small"))

    with pytest.raises(StoreError, match="checkpoint stats is too large for MongoDB: 15,"):
        await store.save_checkpoint("stats", Checkpoint(2, b"x" * (LARGEST + 1)))

    assert await store.checkpoint("stats") == Checkpoint(1, b"small")
    assert store.health().state == "healthy"


async def test_the_kernel_refuses_an_event_that_large_before_it_comes_to_the_store() -> None:
    async with Kernel(jobs=[Job(id="sync", func=lambda text="": None)]) as kernel:
        with pytest.raises(GnomonError, match="keep large data elsewhere"):
            await kernel.trigger("sync", kwargs={"text": "x" * 5_000_000})

        assert (await kernel.wait((await kernel.trigger("sync")).execution.id)).status == "success"


# Lists and numbers


async def test_within_a_millisecond_lists_are_in_the_order_of_microseconds(store: MongoStore) -> None:
    moments = [NOON + timedelta(microseconds=n) for n in (5, 999, 1000, 400, 1001, 0, 400)]
    histories = [missed(f"job_{n}", at) for n, at in enumerate(moments)]
    await append(store, *histories)
    expected = sorted(map(execution.fold, histories), key=lambda one: (one.timestamp, one.id), reverse=True)

    by_offset = [(await store.executions(ExecutionQuery(limit=1, offset=n))).items for n in range(7)]
    by_cursor, page = [], await store.executions(ExecutionQuery(limit=1))
    while True:
        by_cursor += page.items
        if page.next is None:
            break
        page = await store.executions(ExecutionQuery(limit=1, cursor=page.next))
    within = ExecutionQuery(since=moments[0], until=moments[1])

    assert [one for (one,) in by_offset] == by_cursor == expected
    assert {one.timestamp for one in (await store.executions(within)).items} == {moments[0], moments[3]}


async def test_text_is_found_as_it_stands_and_not_as_a_pattern(store: MongoStore) -> None:
    await append(store, failed("a", error="50% (of .*) [all] \0 $x"), failed("b", error="anything"))

    for text in (".*", "[all]", "\0 $", "(OF"):
        page = await store.executions(ExecutionQuery(text=text))
        assert [one.job_id for one in page.items] == ["a"], text


async def test_statistics_are_those_of_the_executions(store: MongoStore) -> None:
    told = [extend(running("a", NOON + n * HOUR), events.Succeeded, execution_time=float(n)) for n in (1, 3)]
    await append(
        store, *told, failed("a", NOON + 2 * HOUR), running("b"), *(missed("b", NOON - n * HOUR) for n in (1, 2))
    )

    a, b = await store.statistics()

    assert (a.job_id, a.by_status, a.average_execution_time) == ("a", {"success": 2, "failed": 1}, 2.0)
    assert (a.last_status, a.last_id, a.last_timestamp) == ("success", told[1][0].stream, NOON + 3 * HOUR + SECOND)
    assert (b.total, b.by_status, b.average_execution_time) == (3, {"running": 1, "missed": 2}, None)
    assert await store.statistics("a") == [a]


# Projections


async def test_views_that_a_crash_left_undone_are_made_good_at_the_next_start(
    store: MongoStore, make_store: Callable[..., MongoStore]
) -> None:
    first = await append(store, job_added(), running(), scheduled("other"))
    crashed = numbered(
        extend(running(), events.Succeeded, execution_time=1.0)[2:],
        extend(job_added(), events.JobPaused, actor="ann")[1:],
        scheduled("sync", NOON + HOUR),
        failed("new"),
        after=len(first),
    )
    batch = WriteBatch(events=[event_document(event, len(first) + 1) for event in crashed])
    await operations.write_events(store._server, batch, store._lease.term())
    assert len(await store.differences()) == 3
    await store.close()

    async with make_store() as again:
        assert await again.differences() == []
        (state,) = await again.jobs()
        assert (state.paused, state.version, state.last_fire) == (True, 2, NOON + HOUR)
        assert await again.head() == len(first) + len(crashed)


async def test_rebuilding_leads_to_the_same_views(store: MongoStore, database: Any) -> None:
    batch = await append(store, *every_type(), succeeded("job"))
    collections = (schema.EXECUTIONS, schema.METADATA, schema.HISTORY)
    before = {name: await database[name].find().sort("_id").to_list() for name in collections}
    await database[schema.EXECUTIONS].update_many({}, {"$set": {"gnomon.view": "broken"}})

    assert await store.rebuild() == len(batch)

    after = {name: await database[name].find().sort("_id").to_list() for name in collections}
    assert after[schema.EXECUTIONS] == before[schema.EXECUTIONS]
    assert after[schema.HISTORY] == before[schema.HISTORY]
    assert await store.differences() == []
    states = [{key: value for key, value in one.items() if key != "position"} for one in after[schema.METADATA]]
    assert states == [
        {key: value for key, value in one.items() if key != "position"} for one in before[schema.METADATA]
    ]


async def test_a_job_is_not_folded_twice_by_the_repair(store: MongoStore) -> None:
    changed = extend(job_added(), events.JobChanged, changes={"cron": "* * * * *"}, rescheduled=True)
    await append(store, changed, scheduled("sync", NOON + HOUR))
    before = await store.jobs()

    await projection.repair(store._server, await operations.read_end(store._server))

    assert await store.jobs() == before
    assert job_document(before[0], 3)["position"] == 3


# Forgetting


async def test_progress_is_forgotten_before_the_runs_are(store: MongoStore, database: Any) -> None:
    def told(job_id: str, at: datetime) -> list[events.Event]:
        return extend(extend(running(job_id, at), events.Progress, percent=50.0), events.Succeeded, execution_time=1.0)

    old, new, going = (
        told("old", NOON),
        told("new", NOON + HOUR),
        extend(running("going"), events.Progress, percent=1.0),
    )
    await append(store, old, new, going)

    assert await store.prune_progress(NOON + HOUR) == 1
    assert await store.prune_progress(NOON + HOUR) == 0

    assert [event.type for event in await store.stream(old[0].stream)] == ["scheduled", "started", "succeeded"]
    assert len(await store.stream(new[0].stream)) == 4
    assert len(await store.stream(going[0].stream)) == 3
    assert await store.execution(old[0].stream) == execution.fold(old)
    assert await store.differences() == []
    assert await store.prune(NOON + HOUR) == 1


async def test_of_a_run_only_the_newest_lines_are_kept(store: MongoStore) -> None:
    lines = [LogLine(n, NOON, "info", f"line {n}") for n in range(1, 6)]
    await store.append_log("a" * 24, lines[:4])

    await store.append_log("a" * 24, lines[4:], oldest=4)

    assert [line.number for line in await store.log("a" * 24)] == [4, 5]


# The plugin

CONFIG = """
[plugins.mongo]
uri = {{ env = "TEST_URI" }}
database = "{database}"
driver = "pymongo"
spool = "{spool}"
retention = "90d"
progress_retention = "7d"
"""


async def test_a_config_makes_a_store_beside_it_and_jobs_that_forget(
    server_uri: str, database: Any, tmp_path: Path
) -> None:
    (tmp_path / "gnomon.toml").write_text(
        CONFIG.format(database=database.name, spool=tmp_path / "spool.db"), encoding="utf-8"
    )
    now = datetime.now(UTC)

    deployment = assemble(load_config(tmp_path / "gnomon.toml", {"TEST_URI": server_uri}))
    async with deployment.store as store:
        await append(store, succeeded("old", now - 91 * 24 * HOUR), succeeded("new", now - HOUR))
    async with Kernel(store=deployment.store, jobs=deployment.jobs, plugins=deployment.plugins) as kernel:
        ended = await kernel.wait((await kernel.trigger("mongo.retention")).execution.id)

    assert ended.return_value == 1
    assert sorted(job.id for job in deployment.jobs) == ["mongo.progress_retention", "mongo.retention"]
    assert (tmp_path / "spool.db").exists()


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ('driver = "mongoose"', "driver: expected one of 'motor', 'pymongo'"),
        ("spool_limit = 0", "spool_limit must be 1"),
        ('timeout = "20s"', "timeout must be more than 0 and less than lease"),
        ('retenion = "90d"', "retention"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, section: str, problem: str) -> None:
    (tmp_path / "gnomon.toml").write_text(f"[plugins.mongo]\n{section}\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=problem.replace("'", ".")):
        assemble(load_config(tmp_path / "gnomon.toml", {}))


def test_the_uri_is_a_secret() -> None:
    assert "mongodb" not in repr(MongoPlugin.Config())
