import pickle
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.mongodb import MongoDBJobStore
from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from gnomon import GnomonError, Job, Kernel
from gnomon.integrations.apscheduler import import_jobs
from gnomon.integrations.job_import import JobImport
from servers import MongoServer, RedisServer, find_mongo, find_redis

TOMORROW = datetime.now(UTC) + timedelta(days=1)
SLEEP = "time:sleep"


class Service:
    """An object whose method is a job, as many applications have it."""

    def sync(self) -> None:
        pass


def add_all(scheduler: BackgroundScheduler) -> None:
    scheduler.add_job(SLEEP, "cron", hour=18, day_of_week="mon-fri", args=[0.1], id="report", name="Daily report")
    scheduler.add_job(
        SLEEP, "interval", minutes=5, args=[1], id="poll", coalesce=False, max_instances=3, misfire_grace_time=None
    )
    scheduler.add_job("json:dumps", "date", run_date=TOMORROW, kwargs={"obj": {"a": 1}}, id="once")
    scheduler.add_job(SLEEP, "interval", hours=1, args=[1], id="held", next_run_time=None)
    scheduler.add_job(SLEEP, "interval", hours=1, args=[1], id="no id!", misfire_grace_time=600)
    scheduler.add_job(time.sleep, "cron", minute="*/5", args=[timedelta(seconds=1)], id="span")
    scheduler.add_job(Service().sync, "interval", minutes=1, id="method")
    scheduler.add_job(print, "interval", minutes=1, args=[Service()], id="object")


@contextmanager
def stored(kind: str, folder: Path) -> Iterator[BaseJobStore]:
    """Provide a job store of APScheduler with a real server or file behind it."""
    with ExitStack() as stack:
        if kind == "memory":
            yield MemoryJobStore()
        elif kind == "sqlalchemy":
            store = SQLAlchemyJobStore(f"sqlite:///{folder}/jobs.db")
            stack.callback(store.engine.dispose)
            yield store
        elif kind == "redis":
            server = RedisServer(find_redis(), folder)
            stack.callback(server.clean_up)
            server.start()
            store = RedisJobStore(host="127.0.0.1", port=server.port)
            stack.callback(store.redis.close)
            yield store
        else:
            daemon = MongoServer(find_mongo(), folder)
            stack.callback(daemon.clean_up)
            daemon.start()
            store = MongoDBJobStore(host=daemon.uri)
            stack.callback(store.client.close)
            yield store


@contextmanager
def scheduling(store: BaseJobStore) -> Iterator[BackgroundScheduler]:
    """Provide a paused scheduler with jobs in the store."""
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone=ZoneInfo("Asia/Shanghai"))
    scheduler.start(paused=True)
    try:
        add_all(scheduler)
        yield scheduler
    finally:
        scheduler.shutdown()


@pytest.fixture
def job_store(tmp_path: Path) -> Iterator[BaseJobStore]:
    with stored("sqlalchemy", tmp_path) as store:
        yield store


@pytest.fixture
def scheduler(job_store: BaseJobStore) -> Iterator[BackgroundScheduler]:
    with scheduling(job_store) as scheduler:
        yield scheduler


def reasons(found: JobImport) -> dict[str, str]:
    return {one.name: one.reason for one in found.refused}


@pytest.mark.parametrize("kind", ["memory", "sqlalchemy", "redis", "mongodb"])
def test_the_jobs_of_every_store_are_translated(kind: str, tmp_path: Path) -> None:
    with stored(kind, tmp_path) as store, scheduling(store) as scheduler:
        found = import_jobs(store)
        start = scheduler.get_job("poll").trigger.start_date.isoformat()
        assert len(scheduler.get_jobs()) == 8  # nothing was deleted

    jobs = {job.id: job.given() for job in found.jobs}
    assert jobs["report"] == {
        "id": "report",
        "func": SLEEP,
        "name": "Daily report",
        "cron": "0 18 * * mon-fri",
        "timezone": "Asia/Shanghai",
        "args": [0.1],
        "grace": timedelta(seconds=1),
    }
    assert jobs["poll"] == {
        "id": "poll",
        "func": SLEEP,
        "trigger": {"type": "interval", "seconds": 300, "start_date": start},
        "args": [1],
        "catch_up": "all",
        "max_instances": 3,
    }
    assert jobs["once"]["at"] == TOMORROW
    assert jobs["once"]["kwargs"] == {"obj": {"a": 1}}
    assert jobs["held"]["paused"] is True
    assert len(jobs) == 5
    assert sorted(reasons(found)) == ["method", "object", "span"]


def test_what_cannot_be_taken_is_reported_with_the_reason(
    scheduler: BackgroundScheduler, job_store: BaseJobStore
) -> None:
    refused = reasons(import_jobs(job_store))

    assert sorted(refused) == ["method", "object", "span"]
    assert "datetime.timedelta(seconds=1)" in refused["span"]
    assert "is a method of an object of the class" in refused["method"]
    assert "Service" in refused["object"]


def test_an_id_that_is_not_valid_here_is_changed_and_reported(
    scheduler: BackgroundScheduler, job_store: BaseJobStore
) -> None:
    found = import_jobs(job_store)

    (changed,) = [job.id for job in found.jobs if job.id.startswith("no-id-")]
    assert any(note.job_id == changed and "'no id!'" in note.text for note in found.notes)


def test_a_scheduler_that_has_not_started_is_read_too() -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(lambda: None, "interval", seconds=1, id="lambda")
    scheduler.add_job("time:sleep", "interval", seconds=1, args=[1], id="sleep")

    found = import_jobs(scheduler)

    assert [job.id for job in found.jobs] == ["sleep"]
    assert "lambdas" in reasons(found)["lambda"]


async def test_imported_jobs_run(scheduler: BackgroundScheduler, job_store: BaseJobStore) -> None:
    found = import_jobs(job_store)

    async with Kernel(jobs=found.jobs) as kernel:
        run = await kernel.trigger("once", resume=False)
        done = await kernel.wait(run.execution.id)

    assert done.return_value == '{"a": 1}'


# --- SQLite is enough for what follows ---


def saved(path: Path, **state: Any) -> SQLAlchemyJobStore:
    """Return a store with one row, as APScheduler or an operator else would have written it."""
    store = SQLAlchemyJobStore(f"sqlite:///{path}")
    store.jobs_t.create(store.engine, checkfirst=True)
    with sqlite3.connect(path) as connection:
        row = (state.get("id", "x"), 0.0, state.get("raw") or pickle.dumps(state))
        connection.execute("insert into apscheduler_jobs (id, next_run_time, job_state) values (?, ?, ?)", row)
    connection.close()
    return store


class Exploit:
    """What an operator who can write to a job store would put there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.fixture
def state() -> dict[str, Any]:
    scheduler = BackgroundScheduler(timezone="UTC")
    job = scheduler.add_job(SLEEP, "interval", hours=1, args=[1], id="x", next_run_time=TOMORROW)
    job._modify(coalesce=True, max_instances=1, misfire_grace_time=None, executor="default")
    return dict(job.__getstate__())


def found_in(store: SQLAlchemyJobStore) -> JobImport:
    try:
        return import_jobs(store)
    finally:
        store.engine.dispose()


@pytest.mark.parametrize("key", ["args", "trigger", "name", "func"])
def test_pickled_data_runs_no_code(tmp_path: Path, state: dict[str, Any], key: str) -> None:
    value = Exploit(tmp_path / "owned")
    store = saved(tmp_path / "jobs.db", **{**state, key: [value] if key == "args" else value})

    found = found_in(store)

    assert not (tmp_path / "owned").exists()
    assert len(found.refused) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"raw": b"\x80\x05garbage"}, "cannot be read"),
        ({"raw": pickle.dumps([1, 2])}, "expected a job of APScheduler 3"),
        ({"func": "no_such_module_x:run"}, "no module 'no_such_module_x'"),
        ({"func": "time:slep"}, "did you mean 'sleep'"),
        ({"func": "json:dumps", "args": [1, 2, 3]}, "cannot be called with"),
        ({"args": [b"bytes"]}, "JSON"),
    ],
)
def test_a_row_that_is_no_usable_job_is_reported_and_kept(
    tmp_path: Path, state: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "jobs.db"

    found = found_in(saved(path, **(state | change)))

    assert reason in reasons(found)["x"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from apscheduler_jobs").fetchone() == (1,)
    connection.close()


def test_what_is_overdue_is_reported(tmp_path: Path, state: dict[str, Any]) -> None:
    due = datetime(2020, 1, 1, tzinfo=UTC)

    found = found_in(saved(tmp_path / "jobs.db", **(state | {"next_run_time": due})))

    assert [note.text for note in found.notes] == [
        "its run of 2020-01-01 00:00 UTC is overdue and was not taken: trigger it if it is needed"
    ]


def test_a_process_pool_is_mentioned(tmp_path: Path, state: dict[str, Any]) -> None:
    found = found_in(saved(tmp_path / "jobs.db", **(state | {"executor": "processpool"})))

    assert "'processpool'" in found.notes[0].text


def test_a_store_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    store = SQLAlchemyJobStore(f"sqlite:///{tmp_path}/empty.db")

    with pytest.raises(GnomonError, match="no such table"):
        found_in(store)


def test_a_store_of_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(GnomonError, match="jobs are imported from SQLAlchemyJobStore"):
        import_jobs(object())


def test_the_report_has_every_line() -> None:
    found = JobImport("here", jobs=[Job(id="a", func=SLEEP)])
    found.refuse("b", "it cannot be read")
    found.note("mind the gap", "a")

    assert list(found.lines()) == [
        "1 job taken from here",
        "note: a: mind the gap",
        "1 job not taken:",
        "  b: it cannot be read",
    ]
