"""The SQL views have the documented columns, and say what the store, and the book of alerts, say."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.rows import dict_row

from gnomon.domain import events
from gnomon.domain.events import AlertEvent, Event
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.testing.histories import NOON, append, every_type, failed, numbered
from gnomon_alerts.book import Book, shown
from gnomon_postgres.store import PostgresStore

PAGE = Path(__file__).parents[3] / "docs/reference/sql.md"
TYPES = {"timestamp with time zone": "timestamptz", "ARRAY": "text[]"}
COLUMNS = """SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = 'gnomon' AND table_name = ANY(%s) ORDER BY table_name, ordinal_position"""


UNUSUAL = {
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "DateStyle": "German",
    "TimeZone": "Asia/Shanghai",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "default_transaction_isolation": "serializable",
    "array_nulls": "off",
}
"""What a role or a database may have as its settings."""


@pytest.fixture
async def store(dsn: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    """Provide a store whose role has unusual settings."""
    patience = timedelta(seconds=30)
    options = quote(" ".join(f"-c {name}={value}" for name, value in UNUSUAL.items()))
    opened = PostgresStore(
        f"{dsn}?options={options}", spool=tmp_path / "spool.db", timeout=patience, lease=2 * patience
    )
    async with opened as store:
        yield store


def select(dsn: str, sql: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(sql).fetchall()


async def test_the_columns_are_those_of_the_documentation(store: PostgresStore, dsn: str) -> None:
    documented: dict[str, list[tuple[str, str]]] = {}
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| (\w+) \| ([\w\[\] ]+) \|", section, flags=re.MULTILINE)
        documented[section.split("\n")[0]] = rows[1:]

    found: dict[str, list[tuple[str, str]]] = {}
    with psycopg.connect(dsn) as connection:
        for view, column, kind in connection.execute(COLUMNS, ([*documented],)).fetchall():
            found.setdefault(view, []).append((column, TYPES.get(str(kind), str(kind))))

    assert store.name == "postgres"
    assert found == documented


async def test_the_views_say_what_the_store_says(store: PostgresStore, dsn: str) -> None:
    nul = failed("nul", error="a\0b \\u0000", labels={"tenant": "7", "kind": "a:b"}, actor="a\0", is_manual=True)
    await append(store, *every_type(), nul)
    runs = {view.id: view for view in (await store.executions(ExecutionQuery(limit=500, hidden=True))).items}
    acts = (await store.actions(ActionQuery(limit=500))).items

    rows = select(dsn, "SELECT * FROM gnomon.executions")
    assert {row["id"] for row in rows} == set(runs)
    for row in rows:
        run = runs[row["id"]]
        assert (row["job_id"], row["status"], row["is_manual"]) == (run.job_id, run.status, run.is_manual)
        assert (row["scheduled_time"], row["timestamp"]) == (run.scheduled_time, run.timestamp)
        assert (row["late"], row["duration"]) == (run.delay, run.execution_time)
        assert (row["attempt"], row["count"]) == (run.attempt, run.count)
        assert (row["error_message"] is None) == (run.error_message is None)
    (row,) = (row for row in rows if row["id"] == nul[0].stream)
    assert (row["actor"], row["labels"]) == ("a\ufffd", ["tenant:7", "kind:a:b"])
    assert (row["error_message"], row["record"]["error_message"]) == ("a\ufffdb \\u0000",) * 2

    found = select(dsn, "SELECT * FROM gnomon.actions ORDER BY position DESC")
    assert [(row["action"], row["actor"], row["at"], row["detail"]) for row in found] == [
        (act.action, act.actor.replace("\0", "\ufffd"), act.at, act.detail) for act in acts
    ]
    jobs = select(dsn, "SELECT * FROM gnomon.jobs ORDER BY id")
    assert [(row["id"], row["paused"], row["removed"], row["last_fire"]) for row in jobs] == [
        (state.job_id, state.paused, state.removed, state.last_fire) for state in await store.jobs()
    ]


def alerts_of(chance: random.Random) -> list[Event]:
    """Return random events about a few alerts, in one stream; acts may come at any time."""
    now = datetime.now(UTC)
    history: list[Event] = []
    for number in range(150):
        about: dict[str, Any] = {"alert_id": f"{chance.randrange(8):024x}"}
        kind = chance.choice(["opened", "repeated", "repeated", "acknowledged", "snoozed", "resolved"])
        until = now + chance.choice([-1, 1]) * timedelta(days=1)
        withdrawn = chance.random() < 0.3
        run = chance.choice([None, f"{number:024x}"])
        made: tuple[type[AlertEvent], dict[str, Any]]
        if kind == "opened":
            more: dict[str, Any] = {"rule": "r", "kind": "failed", "severity": "error", "since": NOON, "message": "m"}
            made = events.AlertOpened, more | {"execution_id": run, "count": chance.randrange(1, 3)}
        elif kind == "repeated":
            more = {"count": chance.randrange(1, 6), "last": NOON, "message": f"m {number}", "execution_id": run}
            made = events.AlertRepeated, more
        elif kind == "acknowledged":
            more = {"actor": "ann", "until": chance.choice([None, until]), "until_next": chance.random() < 0.5}
            made = events.AlertAcknowledged, more | {"withdrawn": withdrawn}
        elif kind == "snoozed":
            made = events.AlertSnoozed, {"actor": "bob", "until": until, "withdrawn": withdrawn}
        elif chance.random() < 0.4:
            made = events.AlertResolved, {"why": "by_hand", "actor": "cid"}
        else:
            continue
        event_type, payload = made
        place: dict[str, Any] = {
            "stream": "kernel:" + "a" * 24,
            "version": len(history) + 1,
            "at": NOON,
            "node": "n",
            "job_id": "sync",
        }
        history.append(event_type(**place, **about, **payload))
    return history


async def test_alerts_are_folded_as_in_the_book(store: PostgresStore, dsn: str) -> None:
    chance = random.Random(3)
    log = numbered(alerts_of(chance))
    book = Book()
    for event in log:
        assert isinstance(event, AlertEvent)
        book.apply(event)
    await append(store, log)
    await store.jobs()  # until their rows are known

    rows = {row["id"]: row for row in select(dsn, "SELECT * FROM gnomon.alerts")}

    now = datetime.now(UTC)
    alerts = [shown(alert, now) for alert in book.alerts.values()]
    assert {alert.state for alert in alerts} >= {"firing", "resolved"}
    assert set(rows) == {alert.id for alert in alerts}
    for alert in alerts:
        row = rows[alert.id]
        assert (row["state"], row["count"], row["message"]) == (alert.state, alert.count, alert.message), alert
        assert (row["last_execution"], row["resolution"]) == (alert.last_execution, alert.resolution), alert
        ack = alert.acknowledgement
        assert row["acknowledged_by"] == (ack.by if ack is not None else None), alert
