"""The conditions of a list of executions in SQL, by the index that serves them."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from gnomon.domain.records import ExecutionQuery, JobScope
from gnomon.stores.list_filters import OPERATORS
from gnomon_postgres.lists.job_patterns import expression
from gnomon_postgres.schema.view_tables import indexed, shown

Kind: TypeAlias = tuple[str, bool, bool]
"""Status, is_manual, hidden: a list has the rows of each kind in the order of an index."""


class Condition(NamedTuple):
    """The text after WHERE, and its parameters."""

    sql: str = "true"
    parameters: tuple[Any, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        return Condition(f"{self.sql} AND {other.sql}", (*self.parameters, *other.parameters))


def in_scope(scope: JobScope) -> Condition:
    """Return the condition that a row is about a job of the scope."""
    patterns = [expression(shown(pattern)) for pattern in scope.patterns]
    matches = "(job_id = ANY(%s::text[]) OR (job_id <> '' AND job_id ~ ANY(%s::text[])))"
    return Condition(matches, (sorted(map(shown, scope.ids)), patterns))


def in_scopes(query: ExecutionQuery) -> Condition:
    """Return the condition that a row is about a job of each scope of the query."""
    found = Condition()
    for scope in query.scopes:
        found &= in_scope(scope)
    return found


def has_own_index(query: ExecutionQuery) -> bool:
    """Return whether a list asks for texts, labels or actors, each of which has an index, and is not counted."""
    return bool(query.text or query.labels or query.actors)


def of_cells(query: ExecutionQuery) -> Condition:
    """Return the condition on the status, is_manual and hidden."""
    found = Condition()
    if query.status:
        found &= Condition("status = ANY(%s::text[])", (list(query.status),))
    if query.is_manual is not None:
        found &= Condition("is_manual = %s", (query.is_manual,))
    return found if query.hidden else found & Condition("NOT hidden")


def of_kind(kind: Kind) -> Condition:
    """Return the condition that a row is of one kind."""
    return Condition("status = %s AND is_manual = %s AND hidden = %s", kind)


def of_job(query: ExecutionQuery) -> Condition:
    """Return the condition on the job."""
    if query.job_id is None:
        return in_scopes(query)
    return Condition("job_id = %s", (shown(query.job_id),)) & in_scopes(query)


def of_texts(query: ExecutionQuery) -> Condition:
    """Return the condition on texts, labels and actors."""
    found = Condition()
    if query.text:
        text = shown(query.text.casefold())
        found &= Condition("error_text IS NOT NULL AND strpos(error_text, %s) > 0", (text,))
    if query.labels:
        found &= Condition("labels IS NOT NULL AND labels @> %s::text[]", (list(map(shown, query.labels)),))
    if query.actors:
        actors = [indexed(actor) for actor in query.actors]
        found &= Condition("actor IS NOT NULL AND actor = ANY(%s::text[])", (actors,))
    return found


def in_ranges(query: ExecutionQuery) -> Condition:
    """Return the condition on the numbers of a row."""
    found = Condition()
    if query.since is not None:
        found &= Condition("timestamp >= %s", (query.since,))
    if query.until is not None:
        found &= Condition("timestamp < %s", (query.until,))
    for column, bounds in (("late", query.late), ("duration", query.duration)):
        if bounds is not None:
            found &= Condition(f"{column} IS NOT NULL")
            for name, operator in OPERATORS.items():
                if (value := getattr(bounds, name)) is not None:
                    found &= Condition(f"{column} {operator} %s", (value,))
    return found


def matching(query: ExecutionQuery) -> Condition:
    """Return the condition of a row of the list."""
    return of_texts(query) & of_cells(query) & of_job(query) & in_ranges(query)
