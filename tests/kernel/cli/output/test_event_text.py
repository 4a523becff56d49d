"""Events as log lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon.cli.output.event_text import describe
from gnomon.domain import events
from gnomon.domain.events import Event

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


def event(kind: type[Event], after: float = 0.0, version: int = 1, **payload: Any) -> Any:
    at = AT + timedelta(seconds=after)
    return kind(position=version, stream=RUN, version=version, at=at, node="n1", job_id="sync", **payload)


@pytest.mark.parametrize(
    ("event_", "level", "line"),
    [
        (event(events.Scheduled, scheduled_time=AT), "debug", {}),
        (event(events.Scheduled, scheduled_time=AT, attempt=2, retry_of="x"), "info", {"attempt": 2}),
        (event(events.Started, runner="async", delay=0.2), "info", {}),
        (event(events.Started, runner="async", delay=61.0), "info", {"late_s": 61.0}),
        (event(events.Succeeded, execution_time=1.23456), "info", {"took_s": 1.235}),
        (
            event(events.Failed, reason="exception", error_type="ValueError", error_message="no\ntable"),
            "error",
            {"reason": "exception", "error": "ValueError: no"},
        ),
        (
            event(events.Missed, scheduled_time=AT, reason="overlap", detail="still going on"),
            "warning",
            {"reason": "overlap", "detail": "still going on", "due": AT},
        ),
        (event(events.Cancelled, actor="ana", reason="late"), "warning", {"by": "ana", "reason": "late"}),
        (
            event(events.Cancelled, reason="snoozed for 1m", execution_time=0.5, snoozed_until=AT, snoozed_to="x"),
            "info",
            {"until": AT, "next": "x", "reason": "snoozed for 1m", "took_s": 0.5},
        ),
        (
            event(events.Scheduled, scheduled_time=AT, attempt=4, snoozes=2, not_before=AT),
            "info",
            {"attempt": 2, "snoozes": 2, "not_before": AT},
        ),
    ],
)
def test_each_event_is_one_line_with_its_facts(event_: Event, level: str, line: dict[str, Any]) -> None:
    found = describe(event_)

    assert found.level == level
    assert found.facts == {"job": "sync", "run": RUN, **line}


def test_progress_is_logged_at_info_only_for_a_new_step() -> None:
    assert describe(event(events.Progress, step="store"), "fetch").level == "info"
    assert describe(event(events.Progress, step="store"), "store").level == "debug"
    assert describe(event(events.Progress, percent=3.0), "store").level == "debug"


def test_a_pause_is_described_with_actor_and_reason() -> None:
    paused = events.JobPaused(
        stream="job:sync", version=2, at=AT, node="n1", job_id="sync", actor="ana", reason="month end"
    )

    assert describe(paused).summary == "job paused"
    assert describe(paused).facts == {"job": "sync", "by": "ana", "reason": "month end"}
