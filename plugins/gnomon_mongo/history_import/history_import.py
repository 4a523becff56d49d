"""Takes over the documents of an older scheduler as history: each becomes an event, and makes way for its view.

Every step can be repeated. An event is durable before its document is changed, and a document whose event is in the log
already is only replaced by its view. So an import that was interrupted is completed by the next one, and one that is
complete has nothing to do.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec
from pymongo import DeleteOne, ReplaceOne

from gnomon.domain import execution, job_state
from gnomon.domain.events import ActionImported, Event, Imported, JobDescribed, job_stream
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import StoreError
from gnomon_mongo import schema
from gnomon_mongo.documents.conversion import event_document, execution_document, execution_key
from gnomon_mongo.documents.foreign_documents import find_foreign, foreign
from gnomon_mongo.drivers import Document
from gnomon_mongo.history_import.foreign_records import (
    UnreadableError,
    action_fields,
    description_of,
    execution_fields,
    stream_of,
)
from gnomon_mongo.lists import queries
from gnomon_mongo.server import LIST_LIMIT_S, WORK_LIMIT_S, Server

PAGE = 200
"""Documents that are imported at a time."""
ACTOR = "import"
Append = Callable[[Sequence[Event], Sequence[Execution], Sequence[JobState]], Awaitable[None]]


class Refused(msgspec.Struct, frozen=True):
    """A document that was left as it is, and why."""

    collection: str
    identity: str
    problem: str


class ImportReport(msgspec.Struct):
    """What was taken over: `runs` by status, of which `lost` were recorded as running; acts; names and notes."""

    runs: Counter[str] = msgspec.field(default_factory=Counter)
    lost: int = 0
    actions: int = 0
    described: int = 0
    already: int = 0
    cut: list[str] = []
    kept: list[str] = []
    refused: list[Refused] = []

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.runs or self.actions or self.described or self.already or self.refused)


class HistoryImport:
    """One import. `append` adds events at the end of the log; with `is_trial` nothing is written."""

    def __init__(self, server: Server, append: Append, head: int, zone: tzinfo, *, is_trial: bool) -> None:
        self.report = ImportReport()
        self._server = server
        self._append = append
        self._position = head
        self._zone = zone
        self._is_trial = is_trial
        self._node = socket.gethostname()
        self._jobs: dict[str, JobState] = {}
        self._taken: dict[str, set[str]] = {}

    async def run(self) -> ImportReport:
        """Import everything that can be, and report it."""
        self._jobs = {state.job_id: state for state in await queries.jobs(self._server)}
        await self._pages(schema.METADATA, self._take_descriptions)
        await self._pages(schema.SET_ASIDE, self._take_descriptions)
        await self._pages(schema.HISTORY, self._take_actions)
        await self._pages(schema.EXECUTIONS, self._take_executions)
        await find_foreign(self._server)
        return self.report

    async def _pages(self, collection: str, take: Callable[[str, list[Document]], Awaitable[int]]) -> None:
        """Pass the documents of other programs on in pages; those that are refused stay, and are passed over."""
        where, left = {} if collection == schema.SET_ASIDE else foreign(collection), 0
        while True:
            async with self._server.reading(LIST_LIMIT_S):
                cursor = self._server[collection].find(where).sort("_id", 1).skip(left).limit(PAGE)
                page = await cursor.to_list(None)
            if not page:
                return
            stay = await take(collection, page)
            left += len(page) if self._is_trial else stay

    def _refuse(self, collection: str, document: Document, problem: object) -> int:
        self.report.refused.append(Refused(collection, str(document["_id"]), str(problem)))
        return 1

    # --- runs ---

    async def _take_executions(self, collection: str, page: list[Document]) -> int:
        known = await self._known_streams(page)
        new: list[Event] = []
        views: list[tuple[Document, Execution]] = []
        stay = 0
        for document in page:
            stream = stream_of(document)
            if stream in known:
                self.report.already += 1
                views.append((document, execution.fold(await queries.stream(self._server, stream))))
                continue
            try:
                event = self._imported(collection, document, stream, self._position + len(new) + 1)
            except (UnreadableError, StoreError, msgspec.ValidationError) as exc:
                stay += self._refuse(collection, document, exc)
                continue
            self.report.runs[event.status] += 1
            self.report.lost += event.reason == "lost"
            new.append(event)
            views.append((document, execution.begin(event)))
        await self._add(new)
        await self._replace(views)
        return stay

    def _imported(self, collection: str, document: Document, stream: str, position: int) -> Imported:
        fields = execution_fields(document, self._zone)
        place = {"position": position, "stream": stream, "version": 1, "at": datetime.now(UTC), "node": self._node}
        event = msgspec.convert({**place, **fields, "source": self._source(collection)}, Imported)
        event_document(event, position)  # raises StoreError for one that is too large
        return event

    async def _known_streams(self, page: Sequence[Document]) -> set[str]:
        async with self._server.reading(LIST_LIMIT_S):
            where = {"stream": {"$in": [stream_of(document) for document in page]}, "version": 1}
            found = await self._server[schema.EVENTS].find(where, {"stream": 1}).to_list(None)
        return {document["stream"] for document in found}

    async def _replace(self, views: Sequence[tuple[Document, Execution]]) -> None:
        """Put the views in the place of the documents that they come from."""
        where = foreign(schema.EXECUTIONS)
        requests: list[Any] = []
        for document, view in views:
            key = execution_key(view.id)
            if document["_id"] == key:
                requests.append(ReplaceOne({"_id": key, **where}, execution_document(view)))
            else:
                requests.append(ReplaceOne({"_id": key}, execution_document(view), upsert=True))
                requests.append(DeleteOne({"_id": document["_id"], **where}))
        if requests and not self._is_trial:
            async with self._server.writing(WORK_LIMIT_S):
                await self._server[schema.EXECUTIONS].bulk_write(requests)

    # --- operators' acts, names and notes ---

    async def _take_actions(self, collection: str, page: list[Document]) -> int:
        new: list[Event] = []
        done: list[Document] = []
        for document in page:
            try:
                fields = action_fields(document, self._zone)
            except UnreadableError as exc:
                self._refuse(collection, document, exc)
                continue
            done.append(document)
            if fields["source_id"] in await self._taken_actions(fields["job_id"]):
                self.report.already += 1
                continue
            self._taken[fields["job_id"]].add(fields["source_id"])
            new.append(self._of_job(ActionImported, len(new), **fields, source=self._source(collection)))
            self.report.actions += 1
        await self._add(new)
        await self._delete(collection, done)
        return len(page) - len(done)

    async def _taken_actions(self, job_id: str) -> set[str]:
        if job_id not in self._taken:
            history = await queries.stream(self._server, job_stream(job_id)) if job_id in self._jobs else []
            self._taken[job_id] = {event.source_id for event in history if isinstance(event, ActionImported)}
        return self._taken[job_id]

    async def _take_descriptions(self, collection: str, page: list[Document]) -> int:
        new: list[Event] = []
        done: list[Document] = []
        for document in page:
            try:
                found = description_of(document)
            except UnreadableError as exc:
                self._refuse(collection, document, exc)
                continue
            done.append(document)
            state = self._jobs.get(found.job_id)
            have = (state.display_name, state.note) if state is not None else ("", "")
            wanted = {"display_name": found.display_name, "note": found.note}
            texts = {
                name: text for (name, text), present in zip(wanted.items(), have, strict=True) if text and not present
            }
            if any(text and present not in {"", text} for text, present in zip(wanted.values(), have, strict=True)):
                self.report.kept.append(found.job_id)
            if found.is_cut:
                self.report.cut.append(found.job_id)
            if texts:
                new.append(self._of_job(JobDescribed, len(new), job_id=found.job_id, actor=ACTOR, **texts))
                self.report.described += 1
        await self._add(new)
        await self._delete(collection, done)
        return len(page) - len(done)

    def _of_job(self, kind: type[Event], ahead: int, **fields: Any) -> Event:
        """Return the next event of a job, and fold it into the state of the job."""
        job_id = fields["job_id"]
        state = self._jobs.get(job_id)
        place: dict[str, Any] = {
            "position": self._position + ahead + 1,
            "stream": job_stream(job_id),
            "node": self._node,
        }
        version = state.version + 1 if state is not None else 1
        event = kind(**place, version=version, at=datetime.now(UTC), **fields)
        if state is None:
            self._jobs[job_id] = job_state.begin(event)
        else:
            state.apply(event)
        return event

    # --- writing ---

    async def _add(self, new: Sequence[Event]) -> None:
        """Append events; the views of runs follow, in the places of the documents that they come from."""
        if not new or self._is_trial:
            self._position += len(new)
            return
        await self._append(new, [], [self._jobs[job_id] for job_id in sorted(_jobs_of(new))])
        self._position += len(new)

    async def _delete(self, collection: str, documents: Sequence[Document]) -> None:
        if documents and not self._is_trial:
            where = {} if collection == schema.SET_ASIDE else foreign(collection)
            async with self._server.writing(WORK_LIMIT_S):
                ids = [document["_id"] for document in documents]
                await self._server[collection].delete_many({"_id": {"$in": ids}, **where})

    def _source(self, collection: str) -> str:
        return f"{collection} of {self._server.address}"


def _jobs_of(events: Iterable[Event]) -> set[str]:
    return {event.job_id for event in events if not isinstance(event, Imported)}
