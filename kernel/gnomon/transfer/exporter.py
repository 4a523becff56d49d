"""Writes a log to a file, as far as it has come: once while its kernel runs, and the rest after it was stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from gnomon.analysis.audit import audit
from gnomon.domain import codec
from gnomon.domain.events import (
    LOG_FORMAT,
    Cancelled,
    Event,
    ExecutionEvent,
    Failed,
    Imported,
    LateResult,
    Missed,
    Succeeded,
)
from gnomon.domain.execution import Status
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import RolledBackError, StoreError
from gnomon.ports import Store
from gnomon.stores.log_identity import MOVE_CHECKPOINT, LogMove, read_log_id, read_move, save_move
from gnomon.stores.reading import read_log
from gnomon.tasks import at_once
from gnomon.transfer.line_writer import LineWriter
from gnomon.transfer.lines import VERSION, ExportFileError, Header, KnownFinding, PartEnd, RunLines, StoredCheckpoint

AT_ONCE = 16
"""Requests to the store that are made at once."""
LINES_AT_ONCE = 1_000
SETTLING_EVENTS = 2_000
"""A run may write its last log lines a moment after its end: those of the runs that ended among so many events before
the end of the part before are exported again."""
UNFINISHED: tuple[Status, ...] = ("scheduled", "running")
PAGE = 200

Show = Callable[[int, int], None]
"""Called with the position that was reached, and the one that will be."""


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an export has added to its file, which has all events up to `position` now.

    `findings` are those of the audit of a final export. Without checkpoints, the store cannot list what plugins keep.
    """

    file: str
    log_id: str
    position: int
    events: int
    lines: int
    is_final: bool
    findings: int
    has_checkpoints: bool


async def export_log(
    store: Store, path: Path, *, is_final: bool, audit_span: timedelta, show: Show = lambda *_: None
) -> ExportReport:
    """Write the events of a log behind those that the file has, and everything that belongs to them.

    A file that is not there is created. With `is_final` the log is closed in this store, which no kernel may lead
    meanwhile (StoreInUseError): it goes on where the file is imported. ExportFileError for a file of another log, or of
    something else.
    """
    async with _opened(store, for_writing=is_final) as log:
        log_id = await _expect_whole(log)
        with LineWriter(path) as file:
            export = _Export(log, file, log_id, show)
            return await export.run(audit_span if is_final else None)


async def reopen_log(store: Store) -> LogMove | None:
    """Allow a kernel to lead a log that a final export has closed; return what closed it, None for nothing."""
    async with store:
        move = await read_move(store)
        if move is None or move.state != "moved":
            return None
        await save_move(store, LogMove(state="whole", at=datetime.now(UTC), position=move.position))
        return move


@asynccontextmanager
async def _opened(store: Store, *, for_writing: bool) -> AsyncIterator[Store]:
    await store.open(read_only=not for_writing)
    try:
        if store.loss is not None:
            raise RolledBackError(store.loss.refusal)
        yield store
    finally:
        await store.close()


async def _expect_whole(store: Store) -> str:
    """Return the id of a log that can be exported."""
    move = await read_move(store)
    if move is not None and move.state == "importing":
        raise StoreError(f"the import of this log from {move.file} is not complete: export the log that it is from")
    log_id = await read_log_id(store)
    if not log_id:
        raise StoreError("no kernel has led this log yet, so there is nothing to export: start one with `gnomon run`")
    return log_id


class _Export:
    """One export, which adds a part to the file."""

    def __init__(self, store: Store, file: LineWriter, log_id: str, show: Show) -> None:
        self._store = store
        self._file = file
        self._log_id = log_id
        self._show = show
        self._versions: dict[str, int] = {}
        self._events = 0

    async def run(self, audit_span: timedelta | None) -> ExportReport:
        """Write what the file lacks; with `audit_span` it is the final part."""
        file = self._file
        if audit_span is not None:
            await self._expect_nothing_waits()
        self._write_header()
        has_checkpoints = await self._write_checkpoints()  # first: none may be ahead of the events
        head = await self._store.head()
        if file.position > head:
            raise ExportFileError(
                f"{file.path} has the events of this log up to {file.position:,}, but the log ends at {head:,}: it has "
                "lost events, or was replaced; export it into a new file"
            )
        await self._write_settled_lines(file.position)
        async for page in read_log(self._store, file.position, head):
            await self._write_page(page)
            self._show(page[-1].position, head)
        await self._write_unfinished_lines()
        for state in await self._store.jobs():
            file.write("job", state)
        end = await self._end(head, audit_span)
        file.write("end", end)
        file.flush(to_disk=True)
        if end.is_final:
            moved = LogMove(state="moved", at=end.at, file=str(file.path), position=head)
            await save_move(self._store, moved)
        return ExportReport(
            file=str(file.path),
            log_id=self._log_id,
            position=head,
            events=self._events,
            lines=file.lines,
            is_final=end.is_final,
            findings=len(end.findings),
            has_checkpoints=has_checkpoints,
        )

    async def _expect_nothing_waits(self) -> None:
        """Raise StoreError while a kernel has still to take what is not in the log yet."""
        ends, orders = len(await self._store.late_ends()), await self._store.waiting_orders()
        if ends or orders:
            raise StoreError(
                f"{ends:,} ends of runs and {orders:,} orders wait for a kernel to take them, and would be lost: start "
                "one for ten seconds, stop it, and export the rest again"
            )

    def _write_header(self) -> None:
        found = self._file.header
        if found is None:
            now = datetime.now(UTC)
            header = Header(version=VERSION, log_id=self._log_id, log_format=LOG_FORMAT, store=self._store.name, at=now)
            self._file.write("log", header)
            self._file.flush()
        elif found.log_id != self._log_id:
            raise ExportFileError(
                f"{self._file.path} has the log {found.log_id}, and this one is {self._log_id}: name another file"
            )

    async def _write_checkpoints(self) -> bool:
        """Write what plugins keep; return whether the store could list it."""
        names = await self._store.checkpoint_names()
        for name in names or ():
            kept = await self._store.checkpoint(name)
            if kept is not None and name != MOVE_CHECKPOINT:
                self._file.write("checkpoint", StoredCheckpoint(name, kept.position, kept.view))
        self._file.flush()
        return names is not None

    async def _write_page(self, page: Sequence[Event]) -> None:
        """Write the log lines of runs that end here, and then the events: a killed export goes on at an event."""
        await self._write_lines(_ended(page))
        for event in page:
            if isinstance(event, ExecutionEvent):
                await self._write_view_at_gap(event)
            self._file.write("event", codec.encode(event))
        self._events += len(page)
        self._file.flush()

    async def _write_view_at_gap(self, event: ExecutionEvent) -> None:
        """Write the view of a run in front of an event that does not follow the one before: progress was pruned."""
        stream = event.stream
        known = self._versions.get(stream, 0)
        if event.version != known + 1 and not (known == 0 and await self._is_whole(stream)):
            view = await self._store.execution(stream)
            if view is not None:
                self._file.write("view", view)
        if isinstance(event, Succeeded | Failed | Cancelled | Missed | Imported):
            self._versions.pop(stream, None)
        else:
            self._versions[stream] = event.version

    async def _is_whole(self, stream: str) -> bool:
        """Whether no event of a run is missing that began in an earlier part, or whose end was exported."""
        versions = [event.version for event in await self._store.stream(stream)]
        return versions == list(range(1, len(versions) + 1))

    async def _write_settled_lines(self, position: int) -> None:
        if position:
            before = await self._store.read(max(position - SETTLING_EVENTS, 0), SETTLING_EVENTS)
            await self._write_lines(_ended(event for event in before if event.position <= position))

    async def _write_unfinished_lines(self) -> None:
        cursor = None
        while True:
            query = ExecutionQuery(status=UNFINISHED, hidden=True, limit=PAGE, brief=True, counts=False, cursor=cursor)
            page = await self._store.executions(query)
            await self._write_lines([run.id for run in page.items])
            if (cursor := page.next) is None:
                return

    async def _write_lines(self, runs: Sequence[str]) -> None:
        for start in range(0, len(runs), AT_ONCE):
            await at_once(*map(self._write_lines_of, runs[start : start + AT_ONCE]))
        self._file.flush()

    async def _write_lines_of(self, run: str) -> None:
        after, oldest = 0, None
        while lines := await self._store.log(run, after, LINES_AT_ONCE):
            after, oldest = lines[-1].number, oldest or lines[0].number
            self._file.write("lines", RunLines(run, oldest, lines))
            if len(lines) < LINES_AT_ONCE:
                return

    async def _end(self, head: int, audit_span: timedelta | None) -> PartEnd:
        now = datetime.now(UTC)
        if audit_span is None:
            return PartEnd(position=head, at=now)
        since = now - audit_span
        report = await audit(self._store, since, now)
        findings = [
            KnownFinding(job.job_id, one.problem, one.first, one.last) for job in report.jobs for one in job.findings
        ]
        return PartEnd(position=head, at=now, is_final=True, since=since, findings=findings)


def _ended(events: Iterable[Event]) -> list[str]:
    """Return the runs that have begun and ended among these events, or whose bodies have reported after that."""
    ends = (Succeeded, Failed, Cancelled, LateResult)
    return list(dict.fromkeys(event.stream for event in events if isinstance(event, ends)))
