"""The newest runs of each job, in one query: the index of a job yields the newest rows of each of its cells."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.stores.microseconds import to_micros
from gnomon.stores.newest_runs import newest_of_each_job
from gnomon_sqlite.lists.list_conditions import Part, chosen_cells, filtered, in_ranges, own_index_part
from gnomon_sqlite.log.checksums import INDEXES, DamagedRowError
from gnomon_sqlite.views.unflushed_reader import Reader


def newest_per_job(reader: Reader, query: ExecutionQuery, most: int) -> list[Execution]:
    """Return the newest `most` matching runs of each job, newest first; called within a snapshot."""
    rows = [(*row, False) for row in _rows(reader, _flushed(query, most))]
    rows += [(*row, True) for row in _rows(reader, _keys(filtered("unflushed", query), "0"))]
    chosen = newest_of_each_job(sorted(rows, key=lambda row: row[:2], reverse=True), most, lambda row: str(row[2]))
    bodies = _bodies(reader, [row[3] for row in chosen if not row[4]], [row[1] for row in chosen if row[4]])
    found = [reader.view_of(name, *bodies[name], is_brief=query.brief) for _, name, *_ in chosen]
    for (timestamp, name, job_id, *_), view in zip(chosen, found, strict=True):
        if (to_micros(view.timestamp), view.job_id) != (timestamp, job_id):
            raise DamagedRowError(INDEXES, name)
    return found


def _rows(reader: Reader, part: Part) -> list[tuple[Any, ...]]:
    sql, parameters = part
    return reader.execute(sql, parameters).fetchall()


def _flushed(query: ExecutionQuery, most: int) -> Part:
    """Return the statement for the keys of flushed runs that may be among the newest of their job."""
    if (searched := own_index_part(query)) is not None:
        return _keys(searched, "rowid")
    cells, parameters = chosen_cells(query)
    numbers, bounds = in_ranges(query)
    return (
        f"""SELECT timestamp, id, run.job_id, run.rowid FROM ({cells}) AS cell
        JOIN executions AS run ON run.rowid IN (
            SELECT rowid FROM executions INDEXED BY executions_by_job
            WHERE job_id = cell.job_id AND status = cell.status AND is_manual = cell.is_manual
                AND hidden = cell.hidden{numbers}
            ORDER BY timestamp DESC, id DESC LIMIT ?)""",  # noqa: S608 - our own names
        [*parameters, *bounds, max(most, 0)],
    )


def _keys(part: Part, row: str) -> Part:
    sql, parameters = part
    return f"SELECT timestamp, id, job_id, {row} FROM {sql}", parameters  # noqa: S608 - our own names


def _bodies(reader: Reader, rows: list[int], unflushed: list[str]) -> dict[str, tuple[bytes, int]]:
    sql = """SELECT id, body, checksum FROM executions WHERE rowid IN (SELECT value FROM json_each(?))
        UNION ALL SELECT id, body, checksum FROM unflushed WHERE id IN (SELECT value FROM json_each(?))"""
    parameters = [msgspec.json.encode(names).decode() for names in (rows, unflushed)]
    return {name: (body, checksum) for name, body, checksum in reader.execute(sql, parameters)}
