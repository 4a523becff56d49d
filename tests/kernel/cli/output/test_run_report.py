"""The report, the result and the details of a run."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from rich.console import Console

from gnomon.cli.access.short_ids import only_match
from gnomon.cli.commands import runs
from gnomon.cli.commands.runs import details
from gnomon.cli.output.run_report import error, facts, print_report, timeline
from gnomon.cli.output.run_result import summary
from gnomon.cli.output.states import state_of
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import STATUSES, fold
from gnomon.testing.histories import scheduled, snoozed

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


def event(kind: type[Event], after: float = 0.0, version: int = 1, **payload: Any) -> Any:
    at = AT + timedelta(seconds=after)
    return kind(position=version, stream=RUN, version=version, at=at, node="n1", job_id="sync", **payload)


def failed_run() -> list[Event]:
    return [
        event(events.Scheduled, 0, 1, scheduled_time=AT, kwargs={"market": "cn"}),
        event(events.Started, 0.002, 2, runner="thread", worker="pid 7"),
        event(events.Progress, 0.1, 3, step="fetch"),
        event(events.Progress, 0.2, 4, percent=10.0),
        event(events.Progress, 0.3, 5, percent=40.0, message="row 40"),
        event(events.Progress, 0.4, 6, step="store"),
        event(
            events.Failed,
            1.5,
            7,
            reason="exception",
            error_type="ValueError",
            error_message="no table\nat all",
            traceback="Traceback: no table",
            execution_time=1.4981,
        ),
    ]


def test_the_timeline_folds_the_progress_of_a_step_and_keeps_offsets() -> None:
    nodes = timeline(failed_run(), SHANGHAI)

    assert [(round(node.offset, 3), node.text.split(" ")[0]) for node in nodes] == [
        (0.0, "scheduled"),
        (0.002, "started"),
        (0.3, "progress"),
        (0.4, "progress"),
        (1.5, "failed"),
    ]
    assert "×3" in nodes[2].text
    assert "step=store" in nodes[3].text
    assert nodes[4].position == 7


def test_a_report_has_facts_arguments_steps_error_and_events() -> None:
    out = io.StringIO()

    print_report(fold(failed_run()), failed_run(), SHANGHAI, Console(file=out, width=80))

    text = out.getvalue()
    assert "✘ failed" in text
    assert "2026-12-01 18:00:00 +08" in text
    assert "market  cn" in text
    assert "✔ completed in 300 ms" in text
    assert "Traceback: no table" in text
    assert "+1.500 s" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_a_report_has_the_message_that_the_traceback_of_a_stopped_run_lacks() -> None:
    stopped = msgspec.structs.replace(
        fold(failed_run()), error_message="the run took longer than its timeout of 4s", traceback="...\nRunCancelled"
    )

    assert [text for _, text in error(stopped)] == ["the run took longer than its timeout of 4s", "...\nRunCancelled"]


def test_unknown_facts_are_left_out() -> None:
    names = [name for name, _ in facts(fold(failed_run()), SHANGHAI)]

    assert names == ["due", "started", "took", "reason", "ran on"]


def test_a_snoozed_run_is_shown_as_that_and_so_is_the_run_after_it() -> None:
    first = snoozed()
    later = fold(scheduled(attempt=3, snoozes=2, retry_of=first[0].stream, not_before=AT))

    found, after = dict(facts(fold(first), SHANGHAI)), dict(facts(later, SHANGHAI))

    assert state_of(fold(first)) == "snoozed"
    assert "↻ snoozed" in summary(fold(first))
    assert found["snoozed until"].startswith("2026-12-01 20:10:01")
    assert found["runs again as"] == f"run {fold(first).snoozed_to}"
    assert (after["snoozed before"], after["follows"]) == ("2 times", f"run {first[0].stream}")
    assert "attempt" not in after


def test_a_range_of_missed_fires_is_shown_with_its_bounds() -> None:
    missed = event(
        events.Missed, scheduled_time=AT, reason="downtime", count=3, first=AT - timedelta(minutes=2), last=AT
    )

    assert ("fires", "3, from 2026-12-01 17:58 +08 to 2026-12-01 18:00 +08") in facts(fold([missed]), SHANGHAI)
    assert details(fold([missed])) == "3 fires, downtime"


def test_the_summary_of_a_vetoed_run_names_the_option_force() -> None:
    missed = event(events.Missed, scheduled_time=AT, reason="guard", detail="the exchange is closed", is_manual=True)

    assert summary(fold([missed])) == (
        f"○ missed  sync  (guard: the exchange is closed; --force skips the guards)  {RUN}"
    )


def test_a_shortened_id_must_match_one_run_only() -> None:
    one, other = fold(failed_run()), fold(failed_run())
    other.id = "6a6d4b00ffffffffffffffff"

    assert only_match("6a6d4b00aa", [one, other]) is one
    assert only_match("7", [one, other]) is None
    with pytest.raises(Exception, match="matches 2 ids"):
        only_match("6a6d4b00", [one, other])


def test_the_command_offers_every_status() -> None:
    assert runs.STATUSES == STATUSES
