"""A healthy server that rejects one document: it is named and kept aside, the rest goes on, and it can be retried."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo.errors import BulkWriteError
from structlog.testing import capture_logs

from gnomon.cli import main
from gnomon.domain import codec, execution
from gnomon.domain.events import Event, JobPaused, JobResumed, UnknownEvent
from gnomon.domain.records import Checkpoint, LogLine
from gnomon.errors import StoreUnavailableError
from gnomon.testing.histories import NOON, SECOND, extend, job_added, job_states, numbered, succeeded
from gnomon_mongo import MongoStore, errors, schema
from gnomon_mongo.documents.conversion import event_document
from gnomon_mongo.documents.write_batch import WriteBatch
from gnomon_mongo.log import operations
from gnomon_mongo.server import Server

MakeStore = Callable[..., MongoStore]
Eventually = Callable[[Callable[[], Any]], Awaitable[None]]

pytestmark = pytest.mark.parametrize("driver", ["pymongo"], indirect=True)


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    return settings | {"lease": timedelta(seconds=60)}


def run(number: int, after: int) -> list[Event]:
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def keep(store: MongoStore, batch: list[Event]) -> None:
    await store.append(batch, [execution.fold(batch)], [])
    with suppress(StoreUnavailableError):
        await store.jobs()  # a read waits for the views


class Validator:
    """Rejects documents of a collection as the validator of a server does, which the test's server does not have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rejects: dict[str, Callable[[Any], bool]] = {}
        self.code = 121
        get = Server.__getitem__

        def guarded(server: Server, name: str) -> Any:
            return Guarded(get(server, name), name, self)

        monkeypatch.setattr(Server, "__getitem__", guarded)


class Guarded:
    def __init__(self, collection: Any, name: str, validator: Validator) -> None:
        self._collection = collection
        self._name = name
        self._validator = validator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    async def bulk_write(self, requests: list[Any], **options: Any) -> Any:
        rejects = self._validator.rejects.get(self._name, lambda _: False)
        bad = [index for index, one in enumerate(requests) if rejects(one)]
        if not bad:
            return await self._collection.bulk_write(requests, **options)
        fine = requests[: bad[0]] if options.get("ordered") else [one for one in requests if not rejects(one)]
        if fine:
            await self._collection.bulk_write(fine, **options)
        problem = {"code": self._validator.code, "errmsg": "Document failed validation"}
        raise BulkWriteError({"writeErrors": [{"index": index, **problem} for index in bad], "writeConcernErrors": []})


@pytest.fixture
def validator(monkeypatch: pytest.MonkeyPatch) -> Validator:
    return Validator(monkeypatch)


def names(text: str) -> Callable[[Any], bool]:
    return lambda request: text in repr(request)


async def test_a_view_that_is_rejected_is_kept_aside_and_the_rest_goes_on(
    store: MongoStore, validator: Validator, make_store: MakeStore
) -> None:
    bad, fine = run(1, 0), run(2, 3)
    validator.rejects[schema.EXECUTIONS] = names(bad[0].stream)
    with capture_logs() as logs:
        await keep(store, bad)
        await keep(store, fine)

    assert [event.position for event in await store.read()] == [1, 2, 3, 4, 5, 6]
    assert await store.execution(fine[0].stream) == execution.fold(fine)
    assert await store.execution(bad[0].stream) is None
    health = store.health()
    assert (health.state, health.backlog, health.accepts_runs) == ("degraded", 0, True)
    assert f"rejected 1 documents, which are kept aside; the newest is scheduler_executions {bad[0].stream}: " in str(
        health.problem
    )
    assert "gnomon mongo spool" in str(health.problem)
    assert [(line["event"], line["problem"]) for line in logs] == [
        ("MongoDB rejects a document, it is kept aside", "Document failed validation")
    ]
    assert [one.name for one in await store.rejected()] == [f"scheduler_executions {bad[0].stream}"]

    reader = make_store()  # beside the kernel, as the command does it
    await reader.open(read_only=True)
    assert len(await reader.retry_rejected()) == 1
    validator.rejects.clear()
    assert await reader.retry_rejected() == []
    assert await store.execution(bad[0].stream) == execution.fold(bad)
    await store._on_renewal()  # as it does each time that it renews the lease
    assert store.health().state == "healthy"


@pytest.mark.parametrize("kind", [schema.CHECKPOINTS, schema.LINES, schema.HISTORY, schema.METADATA])
async def test_whatever_is_no_event_holds_up_nothing(store: MongoStore, validator: Validator, kind: str) -> None:
    validator.rejects[kind] = lambda _: True
    await store.save_checkpoint("stats", Checkpoint(1, b"x"))
    await store.append_log("0" * 24, [LogLine(1, NOON, "info", "hello")])
    job = extend(job_added(), JobPaused, actor="ann", reason="moving")
    log = numbered(job, succeeded("sync", NOON))
    await store.append(log, [execution.fold(log[2:])], job_states(log))
    await store.jobs()

    assert store._writer is not None
    assert store._writer.is_healthy
    assert [event.position for event in await store.read()] == [1, 2, 3, 4, 5]
    assert [one.collection for one in await store.rejected()] == [kind]


async def test_an_event_of_which_even_the_placeholder_is_rejected_is_named_and_everything_waits_for_it(
    make_store: Callable[..., MongoStore], validator: Validator, eventually: Eventually
) -> None:
    store = make_store(cut_off="run")
    await store.open()
    bad = run(1, 0)
    validator.rejects[schema.EVENTS] = names(bad[1].stream)
    await keep(store, bad)
    await keep(store, run(2, 3))

    health = store.health()
    assert (health.state, health.backlog) == ("degraded", 6)
    assert f"rejects event 1 (scheduled of {bad[0].stream}): Document failed validation" in str(health.problem)
    validator.rejects.clear()
    await eventually(lambda: store.health().state == "healthy")
    assert [event.position for event in await store.read()] == [1, 2, 3, 4, 5, 6]
    assert await store.rejected() == []


async def test_an_event_that_is_rejected_is_kept_aside_and_the_log_goes_on_without_it(
    store: MongoStore, validator: Validator, make_store: MakeStore, database: Any
) -> None:
    bad = numbered(succeeded("sync", NOON, return_value="poison"))
    fine = run(2, 3)
    validator.rejects[schema.EVENTS] = names("poison")
    with capture_logs() as logs:
        await keep(store, bad)
        await keep(store, fine)

    assert [line["document"] for line in logs] == ["scheduler_events 3"]
    kept = await store.read()
    assert [event.position for event in kept] == [1, 2, 3, 4, 5, 6]
    assert isinstance(kept[2], UnknownEvent)
    expected = {"type": "withheld", "withheld_type": "succeeded", "problem": "Document failed validation"}
    assert {name: kept[2].raw[name] for name in expected} == expected
    assert (kept[2].at, kept[2].version, kept[2].stream) == (bad[2].at, 3, bad[2].stream)
    assert "scheduler_events 3: Document failed validation" in str(store.health().problem)
    assert await store.execution(bad[0].stream) == execution.fold(bad)
    assert await store.differences() == []
    await store.close()

    again = make_store()  # the next kernel finds the same, and goes on behind it
    await again.open()
    await keep(again, run(3, 6))
    assert len(await again.retry_rejected()) == 1
    validator.rejects.clear()
    assert await again.retry_rejected() == []
    assert [codec.encode(event) for event in await again.stream(bad[0].stream)] == [codec.encode(one) for one in bad]
    assert await again.rejected() == []
    assert await again.differences() == []


async def test_a_rejected_event_of_a_job_keeps_its_place_in_a_rebuild_and_in_the_spool(
    store: MongoStore, validator: Validator, make_store: MakeStore
) -> None:
    job = extend(job_added(), JobPaused, actor="ann", reason="poison")
    log = numbered(extend(job, JobResumed, actor="bob"))
    validator.rejects[schema.EVENTS] = names("poison")
    await store.append(log, [], job_states(log))
    states = await store.jobs()

    assert await store.rebuild() == 3
    (rebuilt,) = await store.jobs()
    assert (rebuilt.version, rebuilt.paused) == (3, False)
    assert states[0].version == 3
    (kept,) = await store.rejected()
    assert kept.document["body"] == codec.encode(log[1]).decode()

    # A kernel that was killed before it could delete the event from its spool writes it again.
    validator.rejects.clear()
    assert store._writer is not None
    documents = [event_document(event, 1) for event in log]
    await operations.write_events(store._server, WriteBatch(events=documents), store._lease.term())
    assert [event.type for event in await store.read()] == ["job_added", "job_paused", "job_resumed"]


async def test_what_a_server_says_that_is_going_down_is_an_outage(
    store: MongoStore, validator: Validator, eventually: Eventually
) -> None:
    validator.code = next(iter(errors.TRANSIENT))
    validator.rejects[schema.EXECUTIONS] = lambda _: True
    await keep(store, run(1, 0))
    await eventually(lambda: store.health().backlog == 3)
    assert await store.rejected() == []
    validator.rejects.clear()
    await eventually(lambda: store.health().state == "healthy")


async def test_the_command_shows_what_waits_and_writes_the_rejected_again(
    store: MongoStore, validator: Validator, server_uri: str, database: Any, tmp_path: Path
) -> None:
    bad = run(1, 0)
    validator.rejects[schema.EXECUTIONS] = names(bad[0].stream)
    await keep(store, bad)
    config = tmp_path / "gnomon.toml"
    settings = {"uri": server_uri, "database": database.name, "driver": "pymongo", "spool": str(tmp_path / "spool.db")}
    lines = [f'{name} = "{value}"' for name, value in settings.items()]
    config.write_text("\n".join(["[plugins.mongo]", *lines]), encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["mongo", "spool", "--config", str(config), *arguments])
        return result.exit_code, result.output

    code, shown = await asyncio.to_thread(call)
    assert code == 1
    assert "a kernel uses the spool" in shown
    assert f"✘ scheduler_executions {bad[0].stream}: Document failed validation" in shown
    await store.close()
    validator.rejects.clear()
    code, shown = await asyncio.to_thread(call, "--retry")
    assert (code, shown.splitlines()[0]) == (0, "0 events wait in the spool, 0 bytes")
    assert (await database[schema.EXECUTIONS].count_documents({})) == 1
