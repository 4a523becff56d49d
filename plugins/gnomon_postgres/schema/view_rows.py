"""Rows of runs, jobs and acts on their way to the server: copied, or as parameters, one array for each column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from gnomon.domain.brief import decode_brief
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.labels import label_texts
from gnomon.domain.records import Action
from gnomon.errors import StoreError
from gnomon.json_depth import decode_cut
from gnomon.stores.commit_rows import End
from gnomon.stores.removed_jobs import gone_since
from gnomon.stores.view_columns import end_of, searched_text, sorted_columns
from gnomon_postgres.schema.view_tables import indexed, shown
from gnomon_postgres.server import Connection, Row

Columns: TypeAlias = tuple[tuple[str, str], ...]
"""Names and types."""

VIEW: Final[Columns] = (
    ("id", "text"),
    ("version", "int4"),
    ("last", "int8"),
    ("began", "int8"),
    ("job_id", "text"),
    ("status", "text"),
    ("is_manual", "bool"),
    ("hidden", "bool"),
    ("timestamp", "timestamptz"),
    ("ended_at", "timestamptz"),
    ("error_text", "text"),
    ("labels", "text[]"),
    ("late", "float8"),
    ("duration", "float8"),
    ("actor", "text"),
    ("progress", "float8"),
    ("body", "bytea"),
)
"""The columns of a run in `live` and in `ended`."""
BODY: Final = len(VIEW) - 1
"""The place of the body."""
JOB: Final[Columns] = (("id", "text"), ("removed_at", "timestamptz"), ("body", "bytea"))
FIRES: Final[Columns] = (("job_id", "text"), ("last_fire", "timestamptz"), ("newest_fire", "timestamptz"))
ACT: Final[Columns] = (
    ("position", "int8"),
    ("at", "timestamptz"),
    *((name, "text") for name in ("job_id", "execution_id", "action", "status", "actor")),
    ("body", "bytea"),
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Execution).decode
_decode_job = msgspec.json.Decoder(JobState).decode
_decode_action = msgspec.json.Decoder(Action).decode


async def copy(connection: Connection, table: str, columns: Columns, rows: Iterable[Row]) -> None:
    """Insert rows into a table."""
    statement = f"COPY {{schema}}.{table} ({names(columns)}) FROM STDIN (FORMAT BINARY)"
    async with connection.link.cursor() as cursor, cursor.copy(connection.sql(statement)) as writer:
        writer.set_types([kind for _, kind in columns])
        for row in rows:
            await writer.write_row(row)


def names(columns: Columns) -> str:
    """Return the names of columns, separated by commas."""
    return ", ".join(name for name, _ in columns)


def given(columns: Columns) -> str:
    """Return the text after FROM for rows that are parameters, one for each column, under the name `new`."""
    places = ", ".join(f"{'%b' if kind == 'bytea' else '%s'}::{kind}[]" for _, kind in columns)
    return f"unnest({places}) AS new ({names(columns)})"


def arrays(rows: Iterable[Row]) -> list[list[Any] | str]:
    """Return the parameters for rows, of which there is at least one."""
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(column: Sequence[Any]) -> list[Any] | str:
    """Return a column written out, as JSON but for its brackets: the driver would take 2 to 6 µs for each value.

    Bodies, which are bytes, are left to the driver.
    """
    if isinstance(column[0], bytes):
        return list(column)
    text = _encode(column).decode()
    if "\\" in text:  # JSON escapes more than an array of PostgreSQL
        text = f"[{','.join(map(_element, column))}]"
    return f"{{{text[1:-1]}}}"


def _element(value: str | None) -> str:
    if value is None:
        return "null"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def row_of(view: Execution, end: End, began: int) -> Row:
    """Return a run as a row of VIEW; `began` is the position of its first event."""
    late, duration, actor, progress = sorted_columns(view)
    error, labels = searched_text(view), label_texts(view.labels)
    return (
        view.id,
        *end,
        began,
        shown(view.job_id),
        view.status,
        view.is_manual,
        view.hidden,
        view.timestamp,
        end_of(view),
        None if error is None else shown(error),
        labels or None,
        late,
        duration,
        None if actor is None else indexed(actor),
        progress,
        encode_view(view),
    )


def encode_view(view: Execution) -> bytes:
    """Return the body of a run."""
    return _encode(view)


def view_of(body: bytes, *, is_brief: bool = False) -> Execution:
    """Parse the body of a run, cut for a list if it `is_brief`."""
    view: Execution = _read(decode_brief if is_brief else lambda text: decode_cut(_decode, text), body, "an execution")
    return view


def job_row(state: JobState) -> Row:
    """Return the state of a job as a row of JOB."""
    return state.job_id, gone_since(state), _encode(state)


def fires_row(state: JobState) -> Row:
    """Return the newest fires of a job as a row of FIRES: most changes of a state are these alone."""
    return state.job_id, state.last_fire, state.newest_fire


def job_of(body: bytes, last_fire: Any, newest_fire: Any) -> JobState:
    """Parse the state of a job, and add its newest fires."""
    state: JobState = _read(lambda text: decode_cut(_decode_job, text), body, "the state of a job")
    state.last_fire, state.newest_fire = last_fire, newest_fire
    return state


def act_row(position: int, act: Action) -> Row:
    """Return the act of an operator as a row of ACT."""
    texts = (act.job_id, act.execution_id, act.action, act.status, act.actor)
    return position, act.at, *(None if text is None else shown(text) for text in texts), _encode(act)


def act_of(body: bytes) -> Action:
    """Parse the act of an operator."""
    act: Action = _read(_decode_action, body, "an act")
    return act


def _read(decode: Callable[[bytes], Any], body: bytes, what: str) -> Any:
    try:
        return decode(body)
    except msgspec.DecodeError as exc:
        raise StoreError(f"{what} in the log cannot be read ({exc}): {body[:80]!r}") from exc
