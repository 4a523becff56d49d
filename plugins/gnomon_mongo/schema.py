"""The collections of a log and their indexes. A start creates the missing ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.errors import StoreError
from gnomon.tasks import at_once
from gnomon_mongo.drivers import Database

EVENTS = "scheduler_events"
EXECUTIONS = "scheduler_executions"
HISTORY = "scheduler_history"
METADATA = "scheduler_metadata"
CHECKPOINTS = "scheduler_checkpoints"
LINES = "scheduler_log_lines"
SET_ASIDE = "scheduler_metadata_of_others"
"""Metadata of another program that were in the way; an import takes them from there."""
LATE_ENDS = "scheduler_late_ends"
"""Ends of runs from kernels that do not lead any more, until the leader has recorded them."""
ORDERS = "scheduler_orders"
"""Orders for the leader and their answers, which are deleted an hour after the last sign of their senders."""
KERNEL = "scheduler_kernel"
"""Two documents: `log`, the identity of the log, and `writer`, the lease of the one kernel that writes."""
LOG, WRITER = "log", "writer"
"""Their ids."""


class Index(msgspec.Struct, frozen=True):
    """An index that the store needs; `keys` are fields with their direction, 1 or -1."""

    collection: str
    keys: tuple[tuple[str, int], ...]
    unique: bool = False
    sparse: bool = False
    expires_s: int | None = None

    @property
    def name(self) -> str:
        """The default name that drivers use."""
        return "_".join(f"{field}_{direction}" for field, direction in self.keys)

    def __str__(self) -> str:
        fields = ", ".join(f"{field}: {direction}" for field, direction in self.keys)
        return f"{{{fields}}}{' unique' if self.unique else ''}{' sparse' if self.sparse else ''}"


# The position of an event is its `_id`, and thereby unique. Every further index costs page writes for each event.
#
# Every list of executions in queries.py uses one of their first three indexes. The sparse index contains only hidden
# executions, so that totals can subtract them without reading every document.
INDEXES = (
    Index(EVENTS, (("stream", 1), ("version", 1)), unique=True),
    Index(EVENTS, (("job_id", 1), ("at", 1))),
    Index(EXECUTIONS, (("job_id", 1), ("timestamp", -1))),
    Index(EXECUTIONS, (("status", 1), ("timestamp", -1))),
    Index(EXECUTIONS, (("is_manual", 1), ("timestamp", -1))),
    Index(EXECUTIONS, (("labels", 1), ("timestamp", -1)), sparse=True),
    Index(EXECUTIONS, (("gnomon.late", 1), ("timestamp", -1)), sparse=True),
    Index(EXECUTIONS, (("gnomon.hidden", 1),), sparse=True),
    Index(HISTORY, (("job_id", 1), ("_id", -1))),
    Index(HISTORY, (("execution_id", 1),)),
    Index(LINES, (("execution_id", 1), ("number", 1)), unique=True),
    Index(ORDERS, (("waiting", 1),), sparse=True),
    Index(ORDERS, (("kept", 1),), expires_s=3600),
)


async def make_indexes(database: Database) -> None:
    """Create the missing indexes; raise StoreError for an existing one with another definition."""
    for index in await missing_indexes(database):
        kind: dict[str, Any] = {"unique": index.unique, "sparse": index.sparse}
        if index.expires_s is not None:
            kind["expireAfterSeconds"] = index.expires_s
        await database[index.collection].create_index(list(index.keys), name=index.name, **kind)


async def missing_indexes(database: Database) -> list[Index]:
    """Return the missing indexes; raise StoreError for an existing one with another definition."""
    names = sorted({index.collection for index in INDEXES})
    there = dict(zip(names, await at_once(*(database[name].index_information() for name in names)), strict=True))
    return [index for index in INDEXES if not _is_there(index, there[index.collection])]


def _is_there(index: Index, there: Mapping[str, Any]) -> bool:
    same_fields = [name for name, found in there.items() if _keys(found) == index.keys]
    for name in same_fields:
        _check(index, name, there[name])
    if not same_fields and index.name in there:
        raise _conflict(index, index.name, "on other fields")
    return bool(same_fields)


def _check(index: Index, name: str, found: Mapping[str, Any]) -> None:
    for restriction in ("partialFilterExpression", "collation", *(() if index.sparse else ("sparse",))):
        if found.get(restriction):
            raise _conflict(index, name, f"restricted by {restriction}")
    if bool(found.get("unique")) != index.unique:
        raise _conflict(index, name, "unique" if found.get("unique") else "not unique")


def _conflict(index: Index, name: str, found: str) -> StoreError:
    return StoreError(
        f"collection {index.collection} has an index {name!r} that is {found}; expected {index}: "
        f"find out who created it, then drop it; the next start creates the expected one"
    )


def _keys(found: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    # Shells store the directions as 1.0.
    return tuple((field, int(value) if isinstance(value, float) else value) for field, value in found["key"])
