"""Writes an exported log into an empty store, and compares what that has then with the file."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gnomon.analysis.audit import audit
from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import Checkpoint
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.ports import Store
from gnomon.stores.log_identity import LogMove, read_log_id, read_move, save_log_id, save_move
from gnomon.tasks import at_once
from gnomon.transfer.count_check import by_status, count_runs, wrong_counts
from gnomon.transfer.imported_views import ImportedViews
from gnomon.transfer.line_reader import LineReader
from gnomon.transfer.lines import ExportFileError, Header, Line, PartEnd, Place, RunLines, StoredCheckpoint, parse

BATCH = 1_000
BATCH_BYTES = 4 * 2**20
"""Limits of what is written, and compared, at once."""
AT_ONCE = 16
EVENTS_BETWEEN_RECORDS = 20_000
"""After so many events it is recorded how far the import has come: what follows is compared again after a crash."""

Show = Callable[[int, int], None]
"""Called with the bytes of the file that were read, and with all."""


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import has done; all events of the log up to `position` have arrived.

    Every one of the `events` was read back and compared with the file; `runs` are those of the store by status, as its
    lists count them. `is_complete`: a kernel may lead the log. `problems` say why not, or what differs, one line each.
    """

    file: str
    log_id: str
    copy_of: str = ""
    position: int
    events: int
    runs: dict[str, int]
    jobs: int
    checkpoints: int
    is_complete: bool
    problems: list[str]


async def import_log(store: Store, path: Path, *, as_copy: bool = False, show: Show = lambda *_: None) -> ImportReport:
    """Write what the store does not have of a log that was exported to a file; it may be called again and again.

    The log can be led once the final part of the file has arrived. With `as_copy` it becomes a separate log with a new
    id, as far as it has arrived. Raise ExportFileError for a file that is not as written, after everything before that
    place has arrived, and StoreError for a store that has another log.
    """
    header = LineReader(path).header()
    try:
        async with store:
            move = await _begin(store, header, path)
            return await _Import(store, path, header, move, show).run(as_copy=as_copy)
    except StoreUnavailableError as exc:
        raise StoreUnavailableError(f"{exc}; import {path} again, which goes on where this import has come") from exc


async def _begin(store: Store, header: Header, path: Path) -> LogMove:
    """Return how far the import has come in this store; it begins in an empty one only."""
    move, head, log_id = await read_move(store), await store.head(), await read_log_id(store)
    now = datetime.now(UTC)
    if move is None or move.state == "moved":
        if head:
            raise StoreError(
                f"the store {store.name} has a log already, which ends at event {head:,}: import into an empty store"
            )
        move = LogMove(state="importing", at=now, file=str(path))
    elif move.copy_of:
        raise StoreError(
            f"the log in this store is a copy of {move.copy_of} and goes on by itself: name an empty store"
        )
    elif log_id != header.log_id:
        raise StoreError(f"the store {store.name} has the log {log_id}, and {path} has {header.log_id}: name its file")
    elif move.state == "whole" and head != move.position:
        raise StoreError(
            f"a kernel has led this log since it was imported: it ends at event {head:,}, and the import ended at "
            f"{move.position:,}, so nothing can be added to it"
        )
    move = msgspec.structs.replace(move, state="importing", at=now, file=str(path))
    await save_log_id(store, header.log_id)
    await save_move(store, move)
    return move


class _Import:
    """One import, from the place that an earlier one has recorded."""

    def __init__(self, store: Store, path: Path, header: Header, move: LogMove, show: Show) -> None:
        self._store, self._path, self._header, self._show = store, path, header, show
        self._move = move
        self._views = ImportedViews(store)
        self._head = self._newest = 0
        self._place = _resume_place(path, move)
        self._reader = LineReader(path, self._place)
        self._bytes = path.stat().st_size
        self._events: list[Event] = []
        self._size = 0
        self._compared = self._recorded = self._checkpoints = 0
        self._given: dict[str, Execution] = {}
        self._lines: list[RunLines] = []
        self._states: list[JobState] = []
        self._ahead: set[str] = set()
        self._end: PartEnd | None = None
        self._problems: list[str] = []

    async def run(self, *, as_copy: bool) -> ImportReport:
        """Write what the store lacks, and check it."""
        self._head = await self._store.head()
        before = await count_runs(self._store)
        try:
            for line in self._reader:
                await self._take(line)
                self._place = line.place
        except ExportFileError:
            await self._flush()
            await self._record()
            raise
        await self._flush()
        if self._end is None:
            self._problems.append(
                f"the file ends within a part, behind event {self._move.position:,}: the export was interrupted, or "
                "the file was not copied whole; export again, which goes on there, and import again"
            )
        after = await count_runs(self._store)
        self._problems += wrong_counts(before, self._views.changes, after)
        return await self._conclude(by_status(after), as_copy=as_copy)

    # --- lines ---

    async def _take(self, line: Line) -> None:
        """Keep a line until it is written together with others."""
        if line.kind == "event":
            await self._take_event(line)
        elif line.kind == "end":
            return await self._take_end(line)
        elif line.kind != "log":
            await self._take_other(line)
        self._end = None
        return None

    async def _take_other(self, line: Line) -> None:
        match line.kind:
            case "view":
                view = parse(line, Execution, self._path)
                self._given[view.id] = view
            case "lines":
                self._lines.append(parse(line, RunLines, self._path))
                if len(self._lines) >= AT_ONCE:
                    await self._write_lines()
            case "checkpoint":
                kept = parse(line, StoredCheckpoint, self._path)
                await self._store.save_checkpoint(kept.name, Checkpoint(kept.position, kept.view))
                self._checkpoints += 1
            case "job":
                self._states.append(parse(line, JobState, self._path))
                if len(self._states) >= BATCH:
                    await self._flush()
            case other:
                raise ExportFileError(f"line {line.number:,} of {self._path} has the unknown kind {other!r}")

    async def _take_event(self, line: Line) -> None:
        event = codec.decode(line.content)
        if event.position <= self._newest:
            raise ExportFileError(
                f"line {line.number:,} of {self._path} has event {event.position:,} behind event {self._newest:,}: "
                "events must be in order of their positions; export the log into a new file"
            )
        self._newest = event.position
        if event.position <= self._move.position:
            return  # it was written and compared by an earlier import
        self._events.append(event)
        self._size += len(line.content)
        if len(self._events) >= BATCH or self._size >= BATCH_BYTES:
            await self._flush()

    async def _take_end(self, line: Line) -> None:
        await self._flush()
        end = parse(line, PartEnd, self._path)
        if end.position < self._newest:
            raise ExportFileError(f"line {line.number:,} of {self._path} ends before event {self._newest:,}")
        if end.position > self._head:
            await self._store.restore([], [], [], end.position)  # the newest events were pruned
            self._head = end.position
        self._newest = max(self._newest, end.position)
        self._note(end.position)
        if end.is_final:
            self._problems += [f"the state of job {job_id} is not that of its events" for job_id in sorted(self._ahead)]
        self._ahead.clear()
        self._end = end

    # --- writing ---

    async def _flush(self) -> None:
        await self._write_lines()
        await self._write_events()
        await self._write_states()
        if self._compared >= self._recorded + EVENTS_BETWEEN_RECORDS:
            await self._record()
        self._show(self._reader.end.offset, self._bytes)

    async def _write_events(self) -> None:
        """Write events with their views, read them back, and compare them with the file."""
        events, self._events, self._size = self._events, [], 0
        if not events:
            return
        if new := [event for event in events if event.position > self._head]:
            runs, jobs = await self._views.fold(new, self._given)
            await self._store.restore(new, runs, jobs, new[-1].position)
            self._head = new[-1].position
        for event in events:
            self._given.pop(event.stream, None)
        found = await self._store.read(events[0].position - 1, len(events))
        wrong = [
            one.position for one, kept in zip(events, found, strict=False) if codec.encode(one) != codec.encode(kept)
        ]
        if wrong or len(found) != len(events):
            position = wrong[0] if wrong else events[len(found)].position
            raise StoreError(
                f"event {position:,} in the store {self._store.name} is not that of {self._path}: the store has "
                "changed or lost it, or has another log; import into an empty store"
            )
        self._compared += len(events)
        self._note(events[-1].position)

    async def _write_states(self) -> None:
        """Write the states of jobs that know more than their events: fires that were pruned."""
        states, self._states = {state.job_id: state for state in self._states}, []
        if not states:
            return
        known = {state.job_id: state for state in await self._store.jobs(states.keys())}
        # Another version: the job was changed behind the end of the part. The next part has its state again.
        same = {job_id for job_id, state in known.items() if state.version == states[job_id].version}
        self._ahead |= states.keys() - same
        if changed := [states[job_id] for job_id in sorted(same) if states[job_id] != known[job_id]]:
            await self._store.restore([], [], changed, self._head)
            self._views.forget_jobs(same)

    async def _write_lines(self) -> None:
        some, self._lines = self._lines, []
        by_run = {one.execution_id for one in some}
        if len(by_run) == len(some):
            await at_once(*(self._store.append_log(one.execution_id, one.lines, one.oldest) for one in some))
            return
        for one in some:
            await self._store.append_log(one.execution_id, one.lines, one.oldest)

    def _note(self, position: int) -> None:
        """Note how far the import has come; the last line that was read is read again then."""
        offset, line, checksum = self._place
        self._move = msgspec.structs.replace(
            self._move, position=max(position, self._move.position), offset=offset, line=line, checksum=checksum
        )

    async def _record(self) -> None:
        await save_move(self._store, self._move)
        self._recorded = self._compared

    # --- the end ---

    async def _conclude(self, runs: dict[str, int], *, as_copy: bool) -> ImportReport:
        """Check the whole, and record whether the log may be led."""
        end, log_id, copy_of = self._end, self._header.log_id, ""
        if end is not None and end.is_final and not self._problems:
            self._problems += await self._new_findings(end)
        is_complete = end is not None and not self._problems and (end.is_final or as_copy)
        if is_complete and as_copy:
            log_id, copy_of = await save_log_id(self._store, secrets.token_hex(12)), log_id
        self._move = msgspec.structs.replace(
            self._move, state="whole" if is_complete else "importing", at=datetime.now(UTC), copy_of=copy_of
        )
        await self._record()
        return ImportReport(
            file=str(self._path),
            log_id=log_id,
            copy_of=copy_of,
            position=self._move.position,
            events=self._compared,
            runs=runs,
            jobs=len(await self._store.jobs()),
            checkpoints=self._checkpoints,
            is_complete=is_complete,
            problems=self._problems,
        )

    async def _new_findings(self, end: PartEnd) -> list[str]:
        """Audit the log as the export has done, and return what is found here and was not found there."""
        assert end.since is not None  # noqa: S101 - of a final part
        report = await audit(self._store, end.since, end.at)
        known = {(one.job_id, one.problem, one.first, one.last) for one in end.findings}
        return [
            f"audit of {job.job_id}: {one.detail}"
            for job in report.jobs
            for one in job.findings
            if (job.job_id, one.problem, one.first, one.last) not in known
        ]


def _resume_place(path: Path, move: LogMove) -> Place:
    """Return the recorded place if the file is the one that was read then, or a longer one, else its beginning."""
    place = Place(move.offset, move.line, move.checksum)
    with suppress(ExportFileError):
        if next(iter(LineReader(path, place)), None) is not None:
            return place
    return Place()
