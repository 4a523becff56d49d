"""The tables of a log, all in one schema of a database, except for those of views and of orders."""

from __future__ import annotations

LAYOUT = 1
"""Version of the tables and of what is in their rows."""
LONGEST_NAME = 63
"""Bytes of a name: PostgreSQL cuts longer ones off."""
NOT_FOLDED = -1
"""Is `filed` in `log` while views are missing, which the next start folds from the whole log."""

# Positions are those of events, times are µs since 1970 except in columns of the type timestamptz, bodies are JSON.
#
# A row of `commits` holds all events of an append, up to 256 of them, as in SQLite's store. `previous` holds, for each
# event, the position of the event before it in its stream, 0 for the first one; the chain starts at `last` of a view,
# or of `streams` for a stream without a view. `latest` is the latest time up to this row, so it never decreases;
# `setback` is the largest amount by which an event up to this row lies before an earlier one. Together they bound a
# search by time. `checksum` is the CRC-32 of the row (gnomon.stores.commit_rows), and
# `identity` the one with which it was written: it stays when events are deleted. An append names the row before it.
#
# An append writes its events and nothing else. The views that follow from them are filed behind, in transactions of
# their own; `filed` in `log` is the position up to which this is done.
#
# The row of `lease` names the term of the kernel that leads, or the newest epoch without an owner. The unique index
# makes a change of the owner or of the epoch wait for appends in flight, which lock the row FOR KEY SHARE; renewals,
# which change neither, do not wait.
#
# Texts are compared by code points, as Python does, whatever the collation of the database. Partitions of `commits` are
# made by partitions.py.
STATEMENTS: tuple[str, ...] = (
    """CREATE TABLE {schema}.log (
        is_log boolean PRIMARY KEY DEFAULT true CHECK (is_log),
        log_id text NOT NULL,
        layout integer NOT NULL,
        filed bigint NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE {schema}.lease (
        is_lease boolean PRIMARY KEY DEFAULT true CHECK (is_lease),
        owner text,
        epoch bigint NOT NULL DEFAULT 0,
        renewals bigint NOT NULL DEFAULT 0,
        seconds double precision NOT NULL DEFAULT 0,
        cut_off text NOT NULL DEFAULT 'hold',
        node text,
        pid integer,
        started text,
        place text,
        since timestamptz,
        renewed timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires timestamptz NOT NULL DEFAULT clock_timestamp(),
        renewed_here double precision
    ) WITH (fillfactor = 20)""",
    "CREATE UNIQUE INDEX lease_term ON {schema}.lease (owner, epoch)",
    """CREATE TABLE {schema}.commits (
        first bigint PRIMARY KEY,
        last bigint NOT NULL,
        earliest bigint NOT NULL,
        latest bigint NOT NULL,
        setback bigint NOT NULL,
        previous bytea NOT NULL,
        events bytea NOT NULL,
        checksum bigint NOT NULL,
        identity bigint NOT NULL
    ) PARTITION BY RANGE (first)""",
    "CREATE INDEX commits_by_time ON {schema}.commits (latest)",
    "CREATE TABLE {schema}.lasting (first bigint PRIMARY KEY)",
    """CREATE TABLE {schema}.streams (
        name text COLLATE "C" PRIMARY KEY,
        version bigint NOT NULL,
        last bigint NOT NULL
    )""",
    """CREATE TABLE {schema}.checkpoints (
        name text COLLATE "C" PRIMARY KEY,
        position bigint NOT NULL,
        view bytea
    )""",
    """CREATE TABLE {schema}.log_lines (
        execution_id text COLLATE "C" NOT NULL,
        number bigint NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (execution_id, number)
    )""",
    """CREATE TABLE {schema}.late_ends (
        stream text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        body bytea NOT NULL,
        kept timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (stream, version)
    )""",
)


def problem_of_name(name: str) -> str | None:
    """Return why a name cannot be that of a schema, or None."""
    if not name or "\0" in name:
        return "expected a name"
    try:
        size = len(name.encode())
    except UnicodeError:
        return "it has half a character (a lone surrogate), which is not text"
    if size > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} bytes"
    if name.startswith("pg_") or name == "information_schema":
        return "information_schema and names that begin with pg_ belong to the server"
    return None
