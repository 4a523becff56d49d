"""What stands in the way of a start, and what the store says: URI, passwords, permissions, indexes, other kernels."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon.conversion import convert
from gnomon.domain.events import JobPaused, Progress
from gnomon.domain.records import Bounds, ExecutionQuery
from gnomon.domain.run_sorting import RunSort
from gnomon.errors import ConfigError, DeposedError, NoLogError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.testing.histories import append, extend, missed, running, scheduled, succeeded
from gnomon_mongo import MongoPlugin, MongoStore, schema
from gnomon_mongo.drivers import Driver
from gnomon_shared_log.lease import lease
from log_holder import holding

MakeStore = Callable[..., MongoStore]
SET_NAME = "secantus"  # of the daemon, which says that it is a replica set of one


async def refusal(store: MongoStore, *, read_only: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await store.open(read_only=read_only)
    return caught.value


# URIs


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://db.example.org", "cannot be used with this `uri`"),
        ("mongodb://ann:p@ss@127.0.0.1/", "cannot be used with this `uri`"),
        ("mongodb://ann:topsecret@:99999/", "cannot be used with this `uri`"),
        ("mongodb://127.0.0.1:port/", "port"),
    ],
)
async def test_a_uri_that_cannot_be_used_is_refused_without_telling_what_is_in_it(
    driver: Driver, settings: dict[str, Any], uri: str, said: str
) -> None:
    error = await refusal(MongoStore(uri, driver=driver, **settings))

    assert said in str(error)
    assert not isinstance(error, StoreUnavailableError)
    assert "secret" not in str(error)
    assert "p@ss" not in str(error)


@pytest.mark.parametrize("uri", ["127.0.0.1:27017", "http://db.example.org", "mongo://ann:topsecret@db"])
def test_a_config_whose_uri_is_none_of_mongodb_is_refused_before_a_start(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert({"uri": uri}, MongoPlugin.Config, "plugins.mongo")

    assert caught.value.problems == [
        "plugins.mongo: uri: expected a connection string that begins with mongodb:// or mongodb+srv://"
    ]


async def test_an_option_of_the_uri_that_the_driver_leaves_out_is_told_of_in_the_log(
    driver: Driver, settings: dict[str, Any]
) -> None:
    settings["timeout"] = timedelta(milliseconds=100)
    with capture_logs() as logs:
        await refusal(MongoStore("mongodb://127.0.0.1:1/log?authsorce=admin", driver=driver, **settings))

    (told,) = [line for line in logs if line["event"] == "an option of `uri` is ignored"]
    assert "authsource" in told["problem"]


async def test_a_server_that_is_not_there_is_named(driver: Driver, settings: dict[str, Any]) -> None:
    settings["timeout"] = timedelta(seconds=1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        port = unused.getsockname()[1]
        error = await refusal(MongoStore(f"mongodb://ann:topsecret@127.0.0.1:{port}/log", driver=driver, **settings))

    assert isinstance(error, StoreUnavailableError)
    assert f"127.0.0.1:{port}/log cannot be used now" in str(error)
    assert "secret" not in str(error)


async def test_options_of_the_uri_count_such_as_the_name_of_a_replica_set(
    daemon: Any, driver: Driver, settings: dict[str, Any]
) -> None:
    daemon.start()

    async with MongoStore(f"{daemon.uri}/log?replicaSet={SET_NAME}", driver=driver, **settings) as store:
        await append(store, succeeded())
    settings["timeout"] = timedelta(seconds=3)
    error = await refusal(MongoStore(f"{daemon.uri}/log?replicaSet=another", driver=driver, **settings))

    assert isinstance(error, StoreUnavailableError)


async def test_a_server_with_tls_is_talked_to_with_the_authority_that_the_uri_names(
    daemon: Any, driver: Driver, settings: dict[str, Any], tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    daemon.start("--tls-cert-file", str(certificate), "--tls-key-file", str(key))

    uri = f"{daemon.uri}/log?tls=true&tlsCAFile={certificate}"
    async with MongoStore(uri, driver=driver, **settings) as store:
        await append(store, succeeded())

    settings["timeout"] = timedelta(seconds=5)
    error = await refusal(MongoStore(f"{daemon.uri}/log?tls=true", driver=driver, **settings))
    assert "certificate verify failed" in str(error)


# Users


@pytest.fixture
async def guarded(daemon: Any) -> str:
    """Provide the address of a server that wants passwords: ann may write, ron may read."""
    daemon.start()
    client: Any = Driver("pymongo").connect(daemon.uri)
    for user, role in (("ann", "readWrite"), ("ron", "read")):
        await client.guarded.command("createUser", user, pwd="topsecret", roles=[{"role": role, "db": "guarded"}])
    await client.close()
    daemon.stop()
    daemon.start("--auth")
    return f"127.0.0.1:{daemon.port}/guarded"


async def test_with_the_right_password_the_log_is_kept(guarded: str, driver: Driver, settings: dict[str, Any]) -> None:
    async with MongoStore(f"mongodb://ann:topsecret@{guarded}", driver=driver, **settings) as store:
        await append(store, succeeded())

        assert (await store.executions(ExecutionQuery())).total == 1


async def test_a_wrong_password_and_a_missing_permission_say_what_to_change(
    guarded: str, driver: Driver, settings: dict[str, Any]
) -> None:
    wrong = await refusal(MongoStore(f"mongodb://ann:topsecrets@{guarded}", driver=driver, **settings))
    reader = await refusal(MongoStore(f"mongodb://ron:topsecret@{guarded}", driver=driver, **settings))

    assert "unknown user or wrong password" in str(wrong)
    assert "grant it the role readWrite" in str(reader)
    for error in (wrong, reader):
        assert not isinstance(error, StoreUnavailableError)
        assert "topsecret" not in str(error)


# gnomon check --connect


async def test_trying_the_connection_tells_where_the_log_is_and_changes_nothing(
    make_store: MakeStore, database: Any
) -> None:
    assert "no log yet; the first start creates it" in await make_store().try_connection("leader")
    with pytest.raises(NoLogError, match="does not exist: start the kernel that leads first"):
        await make_store().try_connection("follower")
    assert await database.list_collection_names() == []

    async with make_store() as store:
        await append(store, scheduled())
        beside = await make_store().try_connection("leader")
    alone = await make_store().try_connection("leader")

    assert re.fullmatch(r"MongoDB [\d.]+ at \S+/gnomon_\w+: a log at event 1", alone)
    assert beside == f"{alone}, in use by process {os.getpid()} on {socket.gethostname()}"


async def test_trying_the_connection_finds_what_would_stand_in_the_way_of_a_start(
    guarded: str, make_store: MakeStore, database: Any, driver: Driver, settings: dict[str, Any], tmp_path: Path
) -> None:
    await database[schema.EVENTS].create_index([("stream", 1), ("version", 1)])
    stores = {
        "unknown user or wrong password": MongoStore(f"mongodb://ann:topsecrets@{guarded}", driver=driver, **settings),
        "grant it the role readWrite": MongoStore(f"mongodb://ron:topsecret@{guarded}", driver=driver, **settings),
        "has an index 'stream_1_version_1' that is not unique": make_store(),
        "does not exist; create it": make_store(spool=tmp_path / "nowhere" / "spool.db"),
    }
    for said, store in stores.items():
        with pytest.raises(StoreError, match=said):
            await store.try_connection("leader")
    await MongoStore(f"mongodb://ann:topsecret@{guarded}", driver=driver, **settings).try_connection("leader")


# Indexes


@pytest.mark.parametrize(
    ("keys", "options", "found"),
    [
        ([("stream", 1), ("version", 1)], {}, "not unique"),
        ([("job_id", 1), ("at", 1)], {"unique": True}, "unique; expected {job_id: 1, at: 1}"),
        ([("job_id", 1), ("at", 1)], {"sparse": True}, "restricted by sparse"),
        ([("node", 1)], {"name": "stream_1_version_1"}, "on other fields"),
    ],
)
async def test_an_index_in_another_form_is_named_and_left_alone(
    make_store: MakeStore, database: Any, keys: list[Any], options: dict[str, Any], found: str
) -> None:
    await database[schema.EVENTS].create_index(keys, **options)
    before = await database[schema.EVENTS].index_information()

    error = await refusal(make_store())

    assert (
        f"collection scheduler_events has an index {options.get('name', schema.Index('', tuple(keys)).name)!r}"
        in str(error)
    )
    assert found in str(error)
    assert "drop it" in str(error)
    after = await database[schema.EVENTS].index_information()
    assert {name: after[name] for name in before} == before


async def test_the_same_index_under_another_name_will_do(make_store: MakeStore, database: Any) -> None:
    await database[schema.EXECUTIONS].create_index([("job_id", 1), ("timestamp", -1)], name="by_job")

    await make_store().open()

    indexes = await database[schema.EXECUTIONS].index_information()
    assert sorted(indexes) == [
        "_id_",
        "by_job",
        "gnomon.hidden_1",
        "gnomon.late_1_timestamp_-1",
        "is_manual_1_timestamp_-1",
        "labels_1_timestamp_-1",
        "status_1_timestamp_-1",
    ]


async def test_a_log_of_a_newer_version_is_left_alone(make_store: MakeStore, database: Any) -> None:
    await database[schema.KERNEL].insert_one({"_id": "log", "id": "a", "layout": 99})

    assert "its layout is 99" in str(await refusal(make_store()))
    assert "upgrade Gnomon" in str(await refusal(make_store(), read_only=True))
    assert await database[schema.KERNEL].count_documents({}) == 1


# What the version before log format 3 wrote for a paused job.
BODY = {
    1: (
        '{"type":"job_added","position":1,"stream":"job:sync","version":1,"at":"2026-11-28T15:16:05.370561Z","node":"a",'
        '"job_id":"sync","log_format":2,"actor":"kernel","why":"the kernel was started with these definitions",'
        '"definition":{"id":"sync","func":"builtins:print","cron":"0 5 * * *","timezone":"UTC"}}'
    ),
    2: (
        '{"type":"job_paused","position":2,"stream":"job:sync","version":2,"at":"2026-11-28T15:16:05.389617Z","node":"a",'
        '"job_id":"sync","log_format":2,"actor":"ann","why":"the database is being moved"}'
    ),
}
JOB_VIEW = {
    "_id": "sync",
    "display_name": "sync",
    "description": "",
    "paused": True,
    "paused_by": "ann",
    "paused_why": "the database is being moved",
    "removed": False,
    "position": 2,
    "state": (
        '{"job_id":"sync","version":2,"definition":{"id":"sync","func":"builtins:print","cron":"0 5 * * *",'
        '"timezone":"UTC"},"anchor":"2026-11-28T15:16:05.370561Z","paused":true,"paused_by":"ann",'
        '"paused_why":"the database is being moved","paused_at":"2026-11-28T15:16:05.389617Z"}'
    ),
}


async def layout_1(database: Any) -> None:
    at = datetime(2026, 11, 28, 15, 16, 5, tzinfo=UTC)
    await database[schema.KERNEL].insert_one({"_id": "log", "id": "85531c4e9aa3e79c005ab0ff", "layout": 1, "made": at})
    for position, body in BODY.items():
        event = {"stream": "job:sync", "version": position, "type": json.loads(body)["type"], "job_id": "sync"}
        event |= {"node": "a", "at": at, "batch": position, "body": body}
        await database[schema.EVENTS].insert_one({"_id": position} | event)
    await database[schema.METADATA].insert_one(JOB_VIEW)


async def test_a_log_of_layout_1_keeps_its_pause_reasons_and_is_rewritten_for_other_programs(
    make_store: MakeStore, database: Any
) -> None:
    await layout_1(database)
    reader = make_store()
    await reader.open(read_only=True)
    assert [job.paused_reason for job in await reader.jobs()] == ["the database is being moved"]
    assert await database[schema.METADATA].find_one({"_id": "sync"}) == JOB_VIEW  # reading changes nothing

    store = make_store()
    await store.open()
    (job,) = await store.jobs()
    assert (job.paused, job.paused_by, job.paused_reason) == (True, "ann", "the database is being moved")
    view = await database[schema.METADATA].find_one({"_id": "sync"})
    assert view["paused_reason"] == "the database is being moved"
    assert not [name for name in (*view, view["state"]) if "paused_why" in name]
    assert (await database[schema.KERNEL].find_one({"_id": "log"}))["layout"] == 3
    assert [event.reason for event in await store.stream("job:sync") if isinstance(event, JobPaused)] == [
        "the database is being moved"
    ]


async def test_a_log_of_layout_2_gets_what_lists_are_sorted_by(make_store: MakeStore, database: Any) -> None:
    half = extend(running("half"), Progress, percent=50.0)
    async with make_store() as store:
        await append(store, succeeded("done"), half, missed("gone"))
        pages = [await store.executions(ExecutionQuery(sort=RunSort(key))) for key in ("late", "progress")]
    await database[schema.EXECUTIONS].update_many({}, {"$unset": {"gnomon.late": "", "gnomon.progress": ""}})
    await database[schema.KERNEL].update_one({"_id": "log"}, {"$set": {"layout": 2}})

    async with make_store() as store:
        assert [await store.executions(ExecutionQuery(sort=RunSort(key))) for key in ("late", "progress")] == pages
        assert (await store.executions(ExecutionQuery(late=Bounds(least=1.0)))).total == 2


async def test_reading_what_is_not_there_creates_nothing(make_store: MakeStore, database: Any) -> None:
    assert isinstance(await refusal(make_store(), read_only=True), NoLogError)

    assert await database.list_collection_names() == []


# The writer's place

HOLDER = """
import asyncio, sys
from gnomon_mongo import MongoStore
async def main():
    async with MongoStore(sys.argv[1], sys.argv[2], spool=sys.argv[3]):
        print("open", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


@pytest.fixture
def held_elsewhere(server_uri: str, database: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Provide a process that has the log open."""
    spool = tmp_path_factory.mktemp("holder") / "spool.db"
    with holding(HOLDER, server_uri, database.name, str(spool)) as process:
        yield process


async def test_a_second_writer_is_told_who_the_first_one_is(make_store: MakeStore, held_elsewhere: Any) -> None:
    error = await refusal(make_store())

    assert isinstance(error, StoreInUseError)
    assert f"is in use by process {held_elsewhere.pid} on {socket.gethostname()} since 20" in str(error)


async def test_the_place_of_a_killed_writer_of_this_machine_is_free_at_once(
    make_store: MakeStore, held_elsewhere: Any
) -> None:
    held_elsewhere.kill()
    held_elsewhere.wait()

    store = make_store(lease=timedelta(hours=1))
    async with store:
        assert await store.head() == 0


@pytest.fixture
async def far_away(database: Any, make_store: MakeStore) -> Any:
    """Provide the lease of a kernel on another machine, which nobody here can look at."""
    async with make_store() as store:
        await append(store, scheduled())
        await database[schema.KERNEL].update_one({"_id": "writer"}, {"$set": {"place": "elsewhere", "token": "theirs"}})
        store._lease._trusted_until = float("inf")  # it does not notice
    return database[schema.KERNEL]


async def test_a_lease_that_stands_still_is_taken_over(make_store: MakeStore, far_away: Any) -> None:
    await far_away.update_one({"_id": "writer"}, {"$set": {"seconds": 0.5}})

    async with make_store(lease=timedelta(seconds=1)) as store:
        assert await store.head() == 1
        assert (await far_away.find_one({"_id": "writer"}))["pid"] == os.getpid()


async def test_a_lease_that_is_renewed_is_not_taken_over_whatever_the_clocks_say(
    make_store: MakeStore, far_away: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await far_away.update_one({"_id": "writer"}, {"$set": {"seconds": 2.0}})
    watched = lease.Lease._seen

    async def renewed(self: lease.Lease) -> Any:
        await far_away.update_one({"_id": "writer"}, {"$inc": {"renewals": 1}})
        return await watched(self)

    monkeypatch.setattr(lease.Lease, "_seen", renewed)

    assert isinstance(await refusal(make_store(lease=timedelta(seconds=2))), StoreInUseError)


async def test_a_holder_that_was_replaced_learns_it_when_it_renews(make_store: MakeStore, database: Any) -> None:
    store = make_store()
    async with store:
        await database[schema.KERNEL].update_one(
            {"_id": "writer"}, {"$set": {"token": "theirs", "node": "b", "pid": 7}}
        )

        with pytest.raises(DeposedError, match="process 7 on b"):
            await store._lease.renew()

        held = await database[schema.KERNEL].find_one({"_id": "writer"})
    assert held["token"] == "theirs"
    assert await database[schema.KERNEL].find_one({"_id": "writer"}) == held


async def test_closing_gives_the_place_back(make_store: MakeStore, database: Any) -> None:
    async with make_store():
        assert await database[schema.KERNEL].count_documents({"_id": "writer"}) == 1

    assert await database[schema.KERNEL].count_documents({"_id": "writer"}) == 0
