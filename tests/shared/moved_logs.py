"""Random logs to be moved, and everything that two stores must answer alike afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from gnomon import Event, Store
from gnomon.domain import codec
from gnomon.domain.events import FireSkipped, Hidden, JobPaused, JobRemoved, LateResult, Progress, Succeeded
from gnomon.domain.execution import STATUSES
from gnomon.domain.records import ActionQuery, Checkpoint, ExecutionQuery, LogLine
from gnomon.stores.log_identity import LOG_ID_CHECKPOINT, MOVE_CHECKPOINT, identify_log
from gnomon.stores.memory import MemoryStore
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    every_type,
    extend,
    failed,
    job_added,
    kernel_history,
    running,
)
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon_sqlite import SqliteStore
from random_logs import KINDS, MINUTE, history

SPAN = timedelta(days=30)
"""The span of audits."""
JOBS = ["a", "b.c", "naïve"]
OLD = NOON + 30 * MINUTE
"""The middle of a random log, before which it may be pruned."""


def random_histories(random: Random, runs: int) -> Iterator[list[Event]]:
    """Yield lifecycles of jobs, kernels and runs of every kind, in order of their first events."""
    for job in JOBS:
        yield job_added(job, NOON - MINUTE, description="日本\u2028")
    yield kernel_history(NOON - MINUTE, kernel_id=f"{random.getrandbits(96):024x}")
    yield extend(job_added("gone", NOON - MINUTE), JobRemoved, actor="bob")
    for n in range(runs):
        job, at = random.choice(JOBS), NOON + n * MINUTE
        match random.randrange(8):
            case 0:
                reported = extend(running(job, at), Progress, percent=33.0, message="a third")
                reported = extend(reported, Progress, percent=66.0, step="store")
                yield extend(reported, Succeeded, execution_time=random.random())
            case 1:
                yield extend(failed(job, at), LateResult, outcome="succeeded", return_value={"n": n})
            case 2:
                yield extend(failed(job, at, error="boom 🦑"), Hidden, actor="ann")
            case _:
                yield history(random.choice(KINDS), job, at, random.random() * 100)
    yield extend(extend(job_added("held", at), JobPaused, actor="ann"), FireSkipped, actor="ann", scheduled_time=at)
    yield from every_type()


def interleaved(random: Random, histories: Iterator[list[Event]], width: int = 5) -> Iterator[Event]:
    """Yield the events of lifecycles, several of which are under way at a time."""
    under_way: list[list[Event]] = []
    while True:
        while len(under_way) < width and (following := next(histories, None)) is not None:
            under_way.append(following)
        if not under_way:
            return
        chosen = random.choice(under_way)
        yield chosen.pop(0)
        if not chosen:
            under_way.remove(chosen)


async def write_random_log(store: Store, random: Random, runs: int = 60) -> None:
    """Write a log with something of everything, as a kernel would, in batches of any size."""
    await identify_log(store)
    events = list(interleaved(random, random_histories(random, runs)))
    while events:
        size = random.randrange(1, 40)
        await append(store, events[:size])
        events = events[size:]
    ran = [run.id for run in (await store.executions(ExecutionQuery(limit=1000))).items if run.runner is not None]
    for run in random.sample(ran, 9):
        await store.append_log(run, [LogLine(k, NOON, "info", f"line {k}\r\n🦑") for k in range(3, 9)], oldest=3)
    await store.save_checkpoint("stats", Checkpoint(await store.head(), b"\x00\xff a view"))
    await store.save_checkpoint("cursor:web", Checkpoint(4))


class ProgressPruningStore(MemoryStore):
    """A store that deletes the progress of runs that are over, as those on servers can."""

    async def prune_progress(self) -> None:
        for run in self._executions.values():
            if run.is_over:
                reports = [event for event in self._streams[run.id].values() if isinstance(event, Progress)]
                for event in reports:
                    del self._streams[run.id][event.version], self._log[event.position]


async def everything_in(store: Store) -> dict[str, Any]:
    """Return all that a store has of a log, as two stores must answer it alike."""
    events = await store.read(0, 100_000)
    runs = [event.stream for event in events if not event.stream.startswith(("job:", "kernel:"))]
    names = {"stats", "cursor:web", LOG_ID_CHECKPOINT}
    page = ExecutionQuery(limit=1000, hidden=True)
    listed = (await store.executions(page)).items
    return {
        "head": await store.head(),
        "events": [codec.encode(event) for event in events],
        "streams": {name: await store.stream(name) for name in dict.fromkeys(event.stream for event in events)},
        "runs": listed,
        "each run": [await store.execution(run.id) for run in listed],
        "totals": {one: (await store.executions(ExecutionQuery(status=(one,)))).total for one in STATUSES},
        "failed": await store.executions(ExecutionQuery(limit=1000, text="BOOM")),
        "jobs": await store.jobs(),
        "actions": await store.actions(ActionQuery(limit=1000)),
        "of a job": await store.job_events("a", NOON - timedelta(days=1), NOON + timedelta(days=1)),
        "lines": {run: await store.log(run) for run in dict.fromkeys(runs)},
        "checkpoints": {name: await store.checkpoint(name) for name in names},
        "names": [name for name in await store.checkpoint_names() or [] if name != MOVE_CHECKPOINT],
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare what two stores have, one kind after the other."""
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        if isinstance(wanted, dict):
            differing = {key for key in {**wanted, **found[name]} if found[name].get(key) != wanted.get(key)}
            assert not differing, f"{name}: {[(found[name].get(key), wanted.get(key)) for key in list(differing)[:3]]}"
        assert found[name] == wanted, name


async def move_there_and_back(server: Store, folder: Path) -> None:
    """Move a pruned log from SQLite to a store on a server in two parts, prune its progress there, and move it back."""
    random, first, second = Random(11), folder / "first.jsonl", folder / "second.jsonl.gz"
    source, back = SqliteStore(folder / "source.db"), SqliteStore(folder / "back.db")
    async with source:
        await write_random_log(source, random)
        await source.prune(OLD)
    await export_log(source, first, is_final=False, audit_span=SPAN)
    assert (await import_log(server, first)).problems == []
    async with source:
        await append(source, later(random))
        expected = await everything_in(source)
    await export_log(source, first, is_final=True, audit_span=SPAN)

    moved = await import_log(server, first)

    assert (moved.problems, moved.is_complete) == ([], True)
    async with server:
        assert_same(await everything_in(server), expected)
        log_id = await identify_log(server)
        assert await server.prune_progress(OLD + timedelta(days=900)) > 0  # type: ignore[attr-defined]
        expected = await everything_in(server)
    await export_log(server, second, is_final=True, audit_span=SPAN)
    moved = await import_log(back, second)
    assert (moved.problems, moved.is_complete, moved.log_id) == ([], True, log_id)
    async with back:
        assert_same(await everything_in(back), expected)


def later(random: Random) -> list[Event]:
    """Return what comes while a log is being exported."""
    at = NOON + timedelta(hours=5)
    runs = [history(random.choice(KINDS), random.choice(JOBS), at + n * SECOND, 1.0) for n in range(30)]
    return list(interleaved(random, iter([job_added("later", at), *runs])))
