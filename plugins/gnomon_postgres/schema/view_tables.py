"""The tables of what follows from the log: runs, jobs, operators' acts, and how many there are of them.

Views are filed behind the events (projection_writer.py): unfinished runs in `live`, finished ones in `ended`, whose
partitions cover the same positions as those of `commits`. `log.filed` is the position up to which this is done.

Bodies are JSON in bytes: a text of PostgreSQL cannot hold NUL, which JSON may escape. In the other columns a
REPLACEMENT stands for it. They have the collation "C", so that rows are ordered as Python orders them.

`final` of a finished run is the position up to which it was folded when it was filed as finished, and decides about its
partition. `began` is the position of its first event. `is_split` marks runs whose events may lie in earlier partitions
than `final`, and those with a later `last` were changed after their end: what a partition that is dropped has to look
for elsewhere is found by these two indexes.

The index `by_status` holds everything that a list needs to find and sort its rows, for any job, so that a list sorted
by another column than the time scans the index alone. `counts` has a row for each cell (job, status, is_manual,
hidden) of `ended`, and one for the cell over all jobs, with an empty job_id: once for each partition, whose first
position is `part`, and once for all, with ALL_PARTS. A list reads from there which partitions have rows for it.

`partitions` has the bounds of each partition, and the times of the runs in it: a list, newest first, reads no more
partitions than it needs. A bare one has only events that survived its runs, and no partition of `ended`.
"""

from __future__ import annotations

import hashlib
from typing import Final

REPLACEMENT: Final = "\ufffd"
LONGEST_INDEXED, LONGEST_BEGIN = 255, 200
"""Characters of an indexed text, and those that stay of the beginning of a longer one: an entry of an index has room
for 2,704 bytes."""
ALL_PARTS: Final = -1
ALL_JOBS: Final = ""

_VIEW_COLUMNS: Final = """
    id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    last bigint NOT NULL,
    began bigint NOT NULL,
    job_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    is_manual boolean NOT NULL,
    hidden boolean NOT NULL,
    timestamp timestamptz NOT NULL,
    ended_at timestamptz,
    error_text text COLLATE "C",
    labels text[] COLLATE "C",
    late double precision,
    duration double precision,
    actor text COLLATE "C",
    progress double precision,
    body bytea NOT NULL
"""

STATEMENTS: Final = (
    # Rows of `live` are updated with each event of a run: with room on its page, an update touches no index.
    f"CREATE TABLE {{schema}}.live ({_VIEW_COLUMNS}, PRIMARY KEY (id)) WITH (fillfactor = 50)",
    f"""CREATE TABLE {{schema}}.ended ({_VIEW_COLUMNS},
        final bigint NOT NULL,
        is_split boolean NOT NULL,
        PRIMARY KEY (id, final)
    ) PARTITION BY RANGE (final)""",
    """CREATE INDEX ended_by_status ON {schema}.ended (status, is_manual, hidden, timestamp, id)
        INCLUDE (job_id, late, duration, actor, final)""",
    "CREATE INDEX ended_by_job ON {schema}.ended (job_id, status, is_manual, hidden, timestamp, id)",
    "CREATE INDEX ended_by_actor ON {schema}.ended (actor, timestamp, id) WHERE actor IS NOT NULL",
    "CREATE INDEX ended_with_error ON {schema}.ended (timestamp, id) WHERE error_text IS NOT NULL",
    "CREATE INDEX ended_with_labels ON {schema}.ended (timestamp, id) WHERE labels IS NOT NULL",
    "CREATE INDEX ended_split ON {schema}.ended (began) WHERE is_split",
    "CREATE INDEX ended_changed ON {schema}.ended (last) WHERE last <> final",
    """CREATE TABLE {schema}.partitions (
        first bigint PRIMARY KEY,
        next bigint NOT NULL,
        is_bare boolean NOT NULL DEFAULT false,
        begun_at timestamptz,
        oldest timestamptz,
        newest timestamptz,
        latest_end timestamptz,
        without_progress_before timestamptz
    )""",
    """CREATE TABLE {schema}.counts (
        part bigint NOT NULL,
        job_id text COLLATE "C" NOT NULL,
        status text COLLATE "C" NOT NULL,
        is_manual boolean NOT NULL,
        hidden boolean NOT NULL,
        n bigint NOT NULL,
        PRIMARY KEY (job_id, part, status, is_manual, hidden)
    ) WITH (fillfactor = 70)""",
    "CREATE INDEX counts_by_part ON {schema}.counts (part)",
    """CREATE TABLE {schema}.acts (
        position bigint PRIMARY KEY,
        at timestamptz NOT NULL,
        job_id text COLLATE "C" NOT NULL,
        execution_id text COLLATE "C",
        action text COLLATE "C" NOT NULL,
        status text COLLATE "C" NOT NULL,
        actor text COLLATE "C" NOT NULL,
        body bytea NOT NULL
    )""",
    "CREATE INDEX acts_by_job ON {schema}.acts (job_id, position)",
    "CREATE INDEX acts_by_execution ON {schema}.acts (execution_id) WHERE execution_id IS NOT NULL",
    """CREATE TABLE {schema}.job_states (
        id text COLLATE "C" PRIMARY KEY,
        removed_at timestamptz,
        body bytea NOT NULL
    )""",
    "CREATE INDEX job_states_by_removal ON {schema}.job_states (removed_at, id) WHERE removed_at IS NOT NULL",
    """CREATE TABLE {schema}.fires (
        job_id text COLLATE "C" PRIMARY KEY,
        last_fire timestamptz,
        newest_fire timestamptz
    ) WITH (fillfactor = 70)""",
)
"""What makes them, in an empty schema."""


def shown(text: str) -> str:
    """Return a text as a column for lists holds it."""
    return text.replace("\0", REPLACEMENT)


def indexed(text: str) -> str:
    """Return a text as an indexed column holds it: a digest takes the place of what is too much of a long one."""
    text = shown(text)
    if len(text) <= LONGEST_INDEXED:
        return text
    return f"{text[:LONGEST_BEGIN]}…{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"
