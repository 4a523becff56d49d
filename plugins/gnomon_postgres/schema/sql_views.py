"""Views for people who read the log with SQL: `executions`, `jobs`, `actions` and `alerts`, with documented columns.

They are what other programs may rely on; the tables are not. docs/reference/sql.md describes the columns.
"""

from __future__ import annotations

from typing import Final


def _json(column: str) -> str:
    """Return a body as jsonb, which cannot hold NUL: a REPLACEMENT stands for it, as in columns (view_tables.py).

    Escaped backslashes are out of the way meanwhile, as a character that no JSON has: behind one, u0000 is text.
    """
    text = f"convert_from({column}, 'UTF8')"
    return rf"replace(replace(replace({text}, E'\\\\', E'\x01'), E'\\u0000', E'\\ufffd'), E'\x01', E'\\\\')::jsonb"


# Columns come from the columns of the tables where these have them, so that a condition on them uses an index; what is
# read from a body costs about 10 µs for each row.
_RUN: Final = f"""
    SELECT id, job_id, body ->> 'job_name' AS job_name, status, is_manual, hidden,
        (body ->> 'scheduled_time')::timestamptz AS scheduled_time, timestamp, ended_at,
        duration, late, progress, actor, labels,
        coalesce((body ->> 'attempt')::integer, 1) AS attempt, coalesce((body ->> 'count')::integer, 1) AS count,
        body ->> 'retry_of' AS retry_of, body ->> 'triggered_by' AS triggered_by, body ->> 'node' AS node,
        body ->> 'runner' AS runner, body ->> 'queue' AS queue, body ->> 'reason' AS reason,
        body ->> 'detail' AS detail, body ->> 'error_type' AS error_type, body ->> 'error_message' AS error_message,
        body AS record
    FROM (SELECT id, job_id, status, is_manual, hidden, timestamp, ended_at, duration, late, progress, actor, labels,
        {_json("body")} AS body FROM {{schema}}.{{table}}) AS {{table}}"""  # noqa: S608 - our own names
_JOBS: Final = f"""CREATE VIEW {{schema}}.jobs AS
    SELECT id, coalesce(nullif(state ->> 'display_name', ''), state -> 'definition' ->> 'name', id) AS name,
        coalesce(nullif(state ->> 'note', ''), state -> 'definition' ->> 'description') AS description,
        coalesce((state ->> 'paused')::boolean, false) AS paused, state ->> 'paused_by' AS paused_by,
        state ->> 'paused_reason' AS paused_reason, (state ->> 'paused_at')::timestamptz AS paused_at,
        coalesce((state ->> 'removed')::boolean, false) AS removed, removed_at, last_fire,
        state ->> 'owner' AS owner, state -> 'definition' AS definition
    FROM (SELECT id, removed_at, {_json("body")} AS state FROM {{schema}}.job_states) AS job
    LEFT JOIN {{schema}}.fires ON job_id = id"""  # noqa: S608 - our own names
_ACTIONS: Final = f"""CREATE VIEW {{schema}}.actions AS
    SELECT position, at, nullif(job_id, '') AS job_id, execution_id, action, status, actor,
        act ->> 'detail' AS detail, act ->> 'error_message' AS error_message
    FROM (SELECT *, {_json("body")} AS act FROM {{schema}}.acts) AS act"""  # noqa: S608 - our own names
# The same fold as gnomon_alerts/book.py: an alert is opened once, and ends once; acts on an ended one change nothing.
_ALERTS: Final = f"""CREATE VIEW {{schema}}.alerts AS
    WITH facts AS MATERIALIZED (
        SELECT (fact ->> 'position')::bigint AS position, (fact ->> 'at')::timestamptz AS at, fact ->> 'type' AS type,
            fact ->> 'alert_id' AS id, fact, coalesce((fact ->> 'withdrawn')::boolean, false) AS withdrawn
        FROM {{schema}}.commits JOIN {{schema}}.lasting USING (first)
        CROSS JOIN LATERAL jsonb_array_elements({_json("events")}) AS fact
        WHERE position('"alert_id":'::bytea IN events) > 0 AND fact ->> 'alert_id' IS NOT NULL),
    opened AS (SELECT DISTINCT ON (id) * FROM facts WHERE type = 'alert_opened' ORDER BY id, position),
    ended AS (
        SELECT DISTINCT ON (id) fact.* FROM facts AS fact JOIN opened USING (id)
        WHERE fact.type = 'alert_resolved' AND fact.position > opened.position ORDER BY id, fact.position),
    changes AS (
        SELECT fact.* FROM facts AS fact JOIN opened USING (id) LEFT JOIN ended USING (id)
        WHERE fact.position > opened.position AND (ended.position IS NULL OR fact.position < ended.position)),
    repetitions AS (
        SELECT change.*, (change.fact ->> 'count')::integer AS count FROM changes AS change JOIN opened USING (id)
        WHERE change.type = 'alert_repeated'
            AND (change.fact ->> 'count')::integer > coalesce((opened.fact ->> 'count')::integer, 1)),
    repeated AS (SELECT DISTINCT ON (id) * FROM repetitions ORDER BY id, count DESC, position),
    runs AS (
        SELECT DISTINCT ON (id) id, fact ->> 'execution_id' AS run FROM repetitions
        WHERE fact ->> 'execution_id' IS NOT NULL ORDER BY id, count DESC, position),
    acknowledged AS (
        SELECT DISTINCT ON (id) * FROM changes WHERE type = 'alert_acknowledged' ORDER BY id, position DESC),
    snoozed AS (
        SELECT DISTINCT ON (id) * FROM changes
        WHERE type = 'alert_snoozed' OR (type = 'alert_acknowledged' AND NOT withdrawn) ORDER BY id, position DESC),
    acks AS (
        SELECT ack.id, ack.at, ack.fact ->> 'actor' AS actor, (ack.fact ->> 'until')::timestamptz AS until
        FROM acknowledged AS ack LEFT JOIN repeated USING (id)
        WHERE NOT ack.withdrawn AND ((ack.fact ->> 'until')::timestamptz IS NULL
            OR (ack.fact ->> 'until')::timestamptz > now())
            AND NOT (coalesce((ack.fact ->> 'until_next')::boolean, false)
                AND coalesce(repeated.position, 0) > ack.position)),
    snoozes AS (
        SELECT id, (fact ->> 'until')::timestamptz AS until FROM snoozed
        WHERE type = 'alert_snoozed' AND NOT withdrawn AND (fact ->> 'until')::timestamptz > now())
    SELECT id, opened.fact ->> 'rule' AS rule, opened.fact ->> 'kind' AS kind, opened.fact ->> 'severity' AS severity,
        CASE WHEN ended.id IS NOT NULL THEN 'resolved' WHEN snoozes.id IS NOT NULL THEN 'snoozed'
            WHEN acks.id IS NOT NULL THEN 'acknowledged' ELSE 'firing' END AS state,
        nullif(opened.fact ->> 'job_id', '') AS job_id, nullif(opened.fact ->> 'subject', '') AS subject,
        coalesce(repeated.fact, opened.fact) ->> 'message' AS message,
        coalesce((coalesce(repeated.fact, opened.fact) ->> 'count')::integer, 1) AS count,
        (opened.fact ->> 'since')::timestamptz AS since, opened.at AS opened_at,
        opened.fact ->> 'execution_id' AS first_execution,
        coalesce(runs.run, opened.fact ->> 'last_execution_id', opened.fact ->> 'execution_id') AS last_execution,
        acks.actor AS acknowledged_by, acks.at AS acknowledged_at, acks.until AS acknowledged_until,
        snoozes.until AS snoozed_until,
        coalesce((ended.fact ->> 'ended')::timestamptz, ended.at) AS resolved_at, ended.fact ->> 'why' AS resolution,
        ended.fact ->> 'actor' AS resolved_by
    FROM opened LEFT JOIN repeated USING (id) LEFT JOIN runs USING (id) LEFT JOIN acks USING (id)
        LEFT JOIN snoozes USING (id) LEFT JOIN ended USING (id)"""  # noqa: S608 - our own names

STATEMENTS: Final = (
    "CREATE VIEW {schema}.executions AS "
    + " UNION ALL ".join(_RUN.replace("{table}", table) for table in ("live", "ended")),
    _JOBS,
    _ACTIONS,
    _ALERTS,
)
"""What makes them, once the tables are there."""
