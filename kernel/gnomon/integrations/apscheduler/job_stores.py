"""Imports the jobs of APScheduler's job stores.

The stores are read by their own connections, row by row, and not through `get_all_jobs`: that one unpickles each row,
which runs code, and *deletes* the rows whose functions it cannot import. Nothing in a store is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from inspect import isclass, ismethod
from typing import Any

from gnomon.errors import GnomonError
from gnomon.integrations.apscheduler.jobs import job_keys, note_differences
from gnomon.integrations.apscheduler.pickled_state import foreign_class, load_state
from gnomon.integrations.job_import import JobImport, NotTakenError
from gnomon.safe_text import safe_str

STATE_KEYS = frozenset(
    {"id", "func", "trigger", "executor", "args", "kwargs", "name", "misfire_grace_time", "coalesce", "max_instances"}
    | {"next_run_time"}
)


def import_jobs(source: Any, *, timezone: str = "UTC") -> JobImport:
    """Read the jobs of a job store of APScheduler 3, or of all stores of a scheduler; return those that can be taken.

    SQLAlchemyJobStore, RedisJobStore, MongoDBJobStore and MemoryJobStore are known. They need not be started, and are
    not changed. Functions are imported, to check them with their arguments; nothing else of a pickled job
    runs code. `timezone` is the default of the kernel that will run the jobs. Add the result with
    `kernel.add_jobs(found.jobs)`, and show `found.lines()`. GnomonError where a store cannot be read.
    """
    found = JobImport(source=_describe(source))
    now = datetime.now(UTC)
    for name, read in _states_of(source):
        try:
            state = _checked(read())
            keys = job_keys(state, timezone, now)
        except NotTakenError as exc:
            found.refuse(name, exc)
            continue
        job_id = found.free_id(state["id"])
        if found.take(name, {"id": job_id, **keys}, timezone) is not None:
            note_differences(found, job_id, state, now)
    return found


Read = Callable[[], Any]


def _states_of(source: Any) -> Iterator[tuple[str, Read]]:
    """Yield the id of each job with a function that reads its state."""
    if hasattr(source, "get_jobs"):  # a scheduler
        yield from _of_scheduler(source)
        return
    rows = _ROWS.get(type(source).__name__)
    if type(source).__name__ == "MemoryJobStore":
        yield from ((job.id, _live(job)) for job in source.get_all_jobs())
    elif rows is None:
        known = ", ".join((*_ROWS, "MemoryJobStore"))
        raise GnomonError(f"jobs are imported from {known} or a scheduler, not from {safe_str(type(source))}")
    else:
        try:
            found = list(rows(source))
        except Exception as exc:  # drivers have errors of their own
            raise GnomonError(f"{_describe(source)} cannot be read: {type(exc).__name__}: {safe_str(exc)}") from exc
        yield from ((name, _pickled(data)) for name, data in found)


def _of_scheduler(scheduler: Any) -> Iterator[tuple[str, Read]]:
    for job, _alias, _replace in scheduler._pending_jobs:  # noqa: SLF001 - it has no public way to its stores
        yield job.id, _live(job)
    for store in scheduler._jobstores.values():  # noqa: SLF001
        yield from _states_of(store)


def _pickled(data: bytes) -> Read:
    return lambda: load_state(data)


def _live(job: Any) -> Read:
    return lambda: live_state(job)


def live_state(job: Any) -> dict[str, Any]:
    """Return the state of a job object as a job store would pickle it, also where it could not be pickled.

    A job that waits for the start of its scheduler may have no policies and no next run time yet.
    """
    state = {"misfire_grace_time": 1, "coalesce": True, "max_instances": 1, "executor": "default"}
    state |= {name: getattr(job, name) for name in STATE_KEYS - {"func"} if hasattr(job, name)}
    state.setdefault("next_run_time", datetime.max.replace(tzinfo=UTC))
    state["func"] = job.func_ref
    if ismethod(job.func) and not isclass(owner := job.func.__self__):  # pickled, it is the first argument
        state["args"] = (foreign_class(type(owner).__module__, type(owner).__qualname__)(), *job.args)
    return state


def _checked(state: Any) -> Mapping[str, Any]:
    missing = sorted(STATE_KEYS - state.keys()) if isinstance(state, Mapping) else None
    if missing is None or missing:
        what = f"has no {', '.join(missing)}" if missing else f"is {safe_str(type(state))}"
        raise NotTakenError(f"its state {what}: expected a job of APScheduler 3")
    return state  # type: ignore[no-any-return]


def _sql_rows(store: Any) -> Iterable[tuple[str, bytes]]:
    columns = store.jobs_t.c
    with store.engine.connect() as connection:
        query = store.jobs_t.select().with_only_columns(columns.id, columns.job_state).order_by(columns.id)
        return [(row.id, row.job_state) for row in connection.execute(query)]


def _redis_rows(store: Any) -> Iterable[tuple[str, bytes]]:
    return sorted((name.decode(), data) for name, data in store.redis.hgetall(store.jobs_key).items())


def _mongo_rows(store: Any) -> Iterable[tuple[str, bytes]]:
    found = store.collection.find({}, {"job_state": 1}).sort("_id", 1)
    return [(str(document["_id"]), bytes(document["job_state"])) for document in found]


_ROWS: Mapping[str, Callable[[Any], Iterable[tuple[str, bytes]]]] = {
    "SQLAlchemyJobStore": _sql_rows,
    "RedisJobStore": _redis_rows,
    "MongoDBJobStore": _mongo_rows,
}


def _describe(source: Any) -> str:
    if (url := getattr(getattr(source, "engine", None), "url", None)) is not None:
        return f"{type(source).__name__} ({url.render_as_string(hide_password=True)})"
    return type(source).__name__
