"""The conditions of a list of executions in SQL, by the index that serves them."""

from __future__ import annotations

import sqlite3
from typing import Any, TypeAlias

import msgspec

from gnomon.domain.records import ExecutionQuery, JobScope
from gnomon.stores.list_filters import OPERATORS
from gnomon.stores.microseconds import to_micros
from gnomon.stores.run_counts import ALL_JOBS
from gnomon_sqlite.views.projection_writer import SEPARATOR

Part: TypeAlias = tuple[str, list[Any]]
"""The text after FROM for some of the rows of a list, and its parameters."""


def in_scope(scope: JobScope) -> tuple[str, list[str]]:
    """Return the condition that a row is about a job of the scope, with its parameters."""
    patterns = [pattern.replace("[!", "[^") for pattern in scope.patterns]  # GLOB differs from fnmatch in this alone
    ids = msgspec.json.encode(sorted(scope.ids)).decode()
    matches = ["job_id IN (SELECT value FROM json_each(?))", *["(job_id <> '' AND job_id GLOB ?)"] * len(patterns)]
    return f"({' OR '.join(matches)})", [ids, *patterns]


def in_scopes(part: Part, query: ExecutionQuery) -> Part:
    """Add the conditions that a row is about a job of each scope of the query."""
    sql, parameters = part
    for scope in query.scopes:
        within, bound = in_scope(scope)
        sql, parameters = f"{sql} AND {within}", [*parameters, *bound]
    return sql, parameters


def own_index_part(query: ExecutionQuery) -> Part | None:
    """Return the flushed rows of a list that asks for texts, labels or actors, each of which has its own index."""
    if query.text:
        return filtered("executions INDEXED BY executions_with_error", query)
    if query.labels:
        return filtered("executions INDEXED BY executions_with_labels", query)
    return filtered("executions INDEXED BY executions_by_actor", query) if query.actors else None


def chosen_cells(query: ExecutionQuery) -> Part:
    """Return the statement for the cells of each job that a list includes."""
    sql, bound = "job_id <> ?", list[Any]([ALL_JOBS])
    if query.job_id is not None:
        sql, bound = "job_id = ?", [query.job_id]
    sql, bound = in_scopes((sql, bound), query)
    if query.status:
        sql, bound = f"{sql} AND status IN ({', '.join('?' * len(query.status))})", [*bound, *query.status]
    if query.is_manual is not None:
        sql, bound = f"{sql} AND is_manual = ?", [*bound, query.is_manual]
    if not query.hidden:
        sql += " AND hidden = 0"
    return f"SELECT job_id, status, is_manual, hidden FROM counts WHERE {sql} AND n > 0", bound  # noqa: S608 - our own names


def count_cells(connection: sqlite3.Connection, query: ExecutionQuery) -> dict[tuple[str, int, int], int]:
    """Return how many executions there are by (status, is_manual, hidden), without those that the query excludes."""
    sql, bound = "job_id = ?", [query.job_id if query.job_id is not None else ALL_JOBS]
    if query.scopes:
        of_job, job_id = ("job_id <> ?", ALL_JOBS) if query.job_id is None else ("job_id = ?", query.job_id)
        sql, bound = in_scopes((of_job, [job_id]), query)
    sql = (
        f"SELECT status, is_manual, hidden, sum(n) FROM counts WHERE {sql} AND n > 0 GROUP BY status, is_manual, hidden"  # noqa: S608 - our own names
    )
    return {
        (status, is_manual, hidden): n
        for status, is_manual, hidden, n in connection.execute(sql, bound).fetchall()
        if (not query.status or status in query.status)
        and query.is_manual in {None, bool(is_manual)}
        and (query.hidden or not hidden)
    }


MOST_PARTS = 64
"""Cells of single jobs that are merged; SQLite plans each of them."""


def parts_of_jobs(connection: sqlite3.Connection, query: ExecutionQuery) -> list[Part] | None:
    """Return the flushed rows of the jobs of a query by the index of jobs; None where these have many cells."""
    if query.job_id is not None or not query.scopes:
        return None
    sql, bound = chosen_cells(query)
    cells = connection.execute(f"{sql} LIMIT ?", [*bound, MOST_PARTS + 1]).fetchall()
    if len(cells) > MOST_PARTS:
        return None
    only = "executions INDEXED BY executions_by_job WHERE job_id = ? AND status = ? AND is_manual = ? AND hidden = ?"
    numbers, bounds = in_ranges(query)
    return [(only + numbers, [*cell, *bounds]) for cell in cells]


def in_cell(query: ExecutionQuery, status: str, is_manual: int, hidden: int) -> Part:
    """Return the flushed rows of one cell, which an index has in order."""
    index = "executions_by_status" if query.job_id is None else "executions_by_job"
    sql = f"executions INDEXED BY {index} WHERE status = ? AND is_manual = ? AND hidden = ?"
    return _bounded((sql, [status, is_manual, hidden]), query)


def filtered(table: str, query: ExecutionQuery) -> Part:
    """Scan a table, or the index of runs that failed with a message, for everything that the query asks for."""
    sql, parameters = f"{table} WHERE 1", list[Any]()
    if query.text:
        sql += " AND error_text IS NOT NULL AND instr(error_text, ?)"
        parameters.append(query.text.casefold())
    if query.labels:
        sql += " AND labels IS NOT NULL" + " AND instr(labels, ?)" * len(query.labels)
        parameters += [f"{SEPARATOR}{label}{SEPARATOR}" for label in query.labels]
    if query.actors:
        sql += f" AND actor IN ({', '.join('?' * len(query.actors))})"
        parameters += query.actors
    if not query.hidden:
        sql += " AND hidden = 0"
    if query.status:
        sql += f" AND status IN ({', '.join('?' * len(query.status))})"
        parameters += query.status
    if query.is_manual is not None:
        sql += " AND is_manual = ?"
        parameters.append(query.is_manual)
    return _bounded((sql, parameters), query)


def _bounded(part: Part, query: ExecutionQuery) -> Part:
    sql, parameters = part
    if query.job_id is not None:
        sql, parameters = f"{sql} AND job_id = ?", [*parameters, query.job_id]
    sql, parameters = in_scopes((sql, parameters), query)
    numbers, bounds = in_ranges(query)
    return sql + numbers, [*parameters, *bounds]


def in_ranges(query: ExecutionQuery) -> Part:
    """Return the conditions on the numbers of a row, each after an AND."""
    sql, parameters = "", list[Any]()
    if query.since is not None:
        sql, parameters = f"{sql} AND timestamp >= ?", [*parameters, to_micros(query.since)]
    if query.until is not None:
        sql, parameters = f"{sql} AND timestamp < ?", [*parameters, to_micros(query.until)]
    for column, bounds in (("late", query.late), ("duration", query.duration)):
        if bounds is not None:
            given = {name: value for name in OPERATORS if (value := getattr(bounds, name)) is not None}
            sql += f" AND {column} IS NOT NULL" + "".join(f" AND {column} {OPERATORS[name]} ?" for name in given)
            parameters += given.values()
    return sql, parameters
