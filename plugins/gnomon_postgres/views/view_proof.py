"""The proof of the views: whether each run's view is the fold of its events, and whether each view has events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.stores.view_folds import fold_runs
from gnomon_postgres.lists import queries
from gnomon_postgres.log import event_reads
from gnomon_postgres.server import SNAPSHOT, WORK_LIMIT_S, Connection, Server

PAGE: Final = 2_000
"""Events that are folded at a time."""

# A position has its event in the row with the greatest `first` up to it. `to_json` quotes an id as the log does.
_WITHOUT_EVENTS: Final = """
    SELECT id FROM (SELECT id, began FROM {schema}.live UNION ALL SELECT id, began FROM {schema}.ended) AS view
    LEFT JOIN LATERAL (
        SELECT last, events FROM {schema}.commits WHERE first <= began ORDER BY first DESC LIMIT 1
    ) AS row ON true
    WHERE row.last IS NULL OR row.last < began
        OR position(convert_to('"stream":' || to_json(id), 'UTF8') IN events) = 0
    ORDER BY id
"""


async def without_events(server: Server) -> list[str]:
    """Return the runs of which the log has no event, so that nothing proves their view."""
    async with server.reading(WORK_LIMIT_S) as connection:
        return [row[0] for row in await connection.fetch(_WITHOUT_EVENTS)]


async def differences(server: Server) -> list[str]:
    """Return the runs whose view differs from their events, except those whose progress was deleted earlier.

    Reads the log once, a page at a time, and each view in the same snapshot as the page in which its run has ended. A
    kernel may write meanwhile.
    """
    proof = _Proof()
    while True:
        async with server.reading(WORK_LIMIT_S) as connection, connection.transaction(SNAPSHOT):
            filed = await event_reads.filed(connection)
            events = await event_reads.read(connection, proof.after, PAGE)
            events = [event for event in events if event.position <= filed]
            await proof.compare(connection, proof.fold(events) if events else proof.rest(), is_end=not events)
            if not events:
                return [one for one in proof.different if await _is_there(connection, proof.began[one])]


async def _is_there(connection: Connection, position: int) -> bool:
    """Return whether an event was not deleted meanwhile, with its run."""
    return await event_reads.event_at(connection, position) is not None


class _Proof:
    """The folds of the runs that have not ended at the position `after`, and what was found so far."""

    def __init__(self) -> None:
        self.after = 0
        self.different: list[str] = []
        self.began: dict[str, int] = {}
        self._folds: dict[str, Execution] = {}
        self._incomplete: set[str] = set()

    def fold(self, events: Sequence[Event]) -> list[Execution]:
        """Fold the next events; return the runs among them that have ended."""
        for event in events:
            known = self._folds.get(event.stream)
            if known is not None and event.version != known.version + 1:
                self._incomplete.add(event.stream)
            if event.stream in fold_runs(self._folds, [event]) and known is None:
                self.began[event.stream] = event.position
        self.after = events[-1].position
        changed = {event.stream for event in events} & self._folds.keys()
        return [self._folds[one] for one in changed if self._folds[one].is_over]

    def rest(self) -> list[Execution]:
        """Return the folds that are left at the end of the log."""
        return list(self._folds.values())

    async def compare(self, connection: Connection, folds: Collection[Execution], *, is_end: bool) -> None:
        """Compare folds with the views, and forget those that have no further events in this snapshot."""
        views = {view.id: view for view in await queries.executions_by_id(connection, [fold.id for fold in folds])}
        for fold in folds:
            view = views.get(fold.id)
            if view is not None and view.version > fold.version and not is_end:
                continue  # it has changed after its end: that event comes later
            if fold.id not in self._incomplete and view != fold:
                self.different.append(fold.id)
            else:
                del self.began[fold.id]
            del self._folds[fold.id]
            self._incomplete.discard(fold.id)
