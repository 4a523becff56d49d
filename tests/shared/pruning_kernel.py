"""A kernel with hundreds of runs at once, of whose log little is kept: it drops partitions all the time.

`lead` is that of forked_kernels. Each kernel writes a file in the folder FOLDER/notes: which events it has seen, which
runs were accepted, which bodies have begun, and what it is about to delete. Each line is a JSON array.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from gnomon import Duration, Event, GnomonError, Job, Kernel, current, hookimpl
from gnomon.plugins.plugin_set import PluginSet
from gnomon_postgres import PostgresStore
from gnomon_postgres.schema import partitions

log = logging.getLogger("work")

AT_ONCE, PAUSE_S = 20, 0.1
"""Runs that are ordered at once, and the pause until the next ones."""
STEP_S = 1.0
"""Of a body, which has two: hundreds are live."""
KEPT, SPARE = timedelta(seconds=2), timedelta(seconds=3)
"""How long runs are kept, and what is left to be dropped with its partition."""
SIZE = 1024
"""Positions of a partition."""


class NotedEvent(NamedTuple):
    """What is noted of an event."""

    position: int
    stream: str
    version: int
    type: str
    job_id: str
    at: str

    @classmethod
    def of(cls, event: Event) -> NotedEvent:
        """Return what is to be noted of an event."""
        return cls(event.position, event.stream, event.version, event.type, event.job_id, event.at.isoformat())


class Notes:
    """The notes of this process. As a plugin, it notes all events of the log."""

    durable = True

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._file = os.open(folder / str(os.getpid()), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, *lines: Sequence[Any]) -> None:
        """Write lines, which are kept when the process is killed, except that the last one may be incomplete."""
        os.write(self._file, "".join(f"{json.dumps(line)}\n" for line in lines).encode())

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Note events."""
        self.note(*(("event", *NotedEvent.of(event)) for event in events))


def jobs_of(notes: Notes) -> list[Job]:
    """Return the jobs, whose bodies note that they begin."""

    async def work(number: int = 0) -> int:
        context = current()
        notes.note(("began", context.execution_id))
        for step in range(2):
            context.progress(step * 50.0, f"step {step}")
            log.warning("a line of step %d", step)
            await asyncio.sleep(STEP_S)
        return number

    return [
        Job(id="send", func=work, max_instances=200, overlap="queue", queue_limit=500),
        Job(id="work", func=work, max_instances=300, overlap="queue", queue_limit=1000),
        Job(id="tick", func=work, every=Duration(milliseconds=100), max_instances=50, overlap="allow"),
    ]


def store_of(dsn: str, folder: Path) -> PostgresStore:
    """Return the store of the log."""
    return PostgresStore(dsn, spool=folder / "spool.db", timeout=timedelta(seconds=5), patience=timedelta(seconds=60))


async def lead(dsn: str, folder: str) -> None:
    """Lead until the process is killed."""
    partitions.SMALLEST = partitions.LARGEST = SIZE
    notes, store = Notes(Path(folder) / "notes"), store_of(dsn, Path(folder))
    plugins = PluginSet()
    plugins.add(notes)
    async with Kernel(store=store, jobs=jobs_of(notes), plugins=plugins) as kernel:
        print("leads", flush=True)
        await asyncio.gather(_order(kernel, notes), _prune(store, notes))


async def _order(kernel: Kernel, notes: Notes) -> None:
    while True:
        await asyncio.sleep(PAUSE_S)
        try:
            orders = (kernel.trigger("work", when_full="wait") for _ in range(AT_ONCE))
            notes.note(*(("accepted", answer.execution.id) for answer in await asyncio.gather(*orders)))
        except GnomonError as exc:  # no run is accepted while the server is away
            log.warning("not accepted: %s", exc)


async def _prune(store: PostgresStore, notes: Notes) -> None:
    while True:
        await asyncio.sleep(PAUSE_S)
        before = datetime.now(UTC) - KEPT
        notes.note(("deletes before", before.isoformat()))
        try:
            notes.note(("deleted", await store.prune(before, spare=random.choice([timedelta(0), SPARE]))))
        except GnomonError as exc:  # the server was killed
            log.warning("not pruned: %s", exc)
