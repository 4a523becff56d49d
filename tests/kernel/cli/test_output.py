from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from rich.console import Console

from gnomon.analysis.upcoming import state_of, upcoming
from gnomon.cli.access.short_ids import only_match
from gnomon.cli.commands.check import outlook, policies
from gnomon.cli.commands.runs import what
from gnomon.cli.output.console_plugin import tell
from gnomon.cli.output.job_lines import job_line
from gnomon.cli.output.progress_bar import in_words
from gnomon.cli.output.run_ending import ending
from gnomon.cli.output.run_report import error, facts, print_report, timeline
from gnomon.cli.output.states import with_glyph, written_facts
from gnomon.cli.output.tables import Column, fitting, print_table
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import STATUSES, fold
from gnomon.domain.job_state import JobState
from gnomon.domain.progress import ProgressView, Timing, estimate
from gnomon.durations import Duration
from gnomon.jobs.job import Job, Retry
from gnomon.text import length, moment

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


def body() -> None:
    pass


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


def printed(width: int, *columns: Column, rows: list[list[str]]) -> list[str]:
    out = io.StringIO()
    print_table(columns, rows, Console(file=out, width=width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        (AT, SHANGHAI, "2026-12-01 18:00 +08"),
        (AT, ZoneInfo("UTC"), "2026-12-01 10:00 UTC"),
        (AT, ZoneInfo("Asia/Kolkata"), "2026-12-01 15:30 +05:30"),
        (AT, ZoneInfo("America/St_Johns"), "2026-12-01 06:30 -03:30"),
        (AT, ZoneInfo("Europe/London"), "2026-12-01 10:00 +00"),
        (AT + timedelta(seconds=7), SHANGHAI, "2026-12-01 18:00:07 +08"),
        (None, SHANGHAI, "-"),
    ],
)
def test_a_time_is_written_in_its_zone_with_the_offset(at: datetime | None, zone: ZoneInfo, expected: str) -> None:
    assert moment(at, zone) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (0.0034, "3 ms"),
        (1.24, "1.2 s"),
        (59.96, "1 m 00 s"),
        (303, "5 m 03 s"),
        (7500, "2 h 05 m"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_is_written_with_what_matters_of_it(seconds: float | None, expected: str) -> None:
    assert length(seconds) == expected


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_a_sign_of_its_own_beside_its_word(status: str) -> None:
    others = {with_glyph(other)[0] for other in STATUSES if other != status}

    assert with_glyph(status).endswith(f" {status}")
    assert with_glyph(status)[0] not in others


def test_the_least_important_columns_go_first_where_there_is_no_room() -> None:
    columns = [Column("id", 10), Column("what", 10, 2), Column("took", 10, 1)]

    assert fitting(columns, 34) == [0, 1, 2]
    assert fitting(columns, 33) == [0, 2]
    assert fitting(columns, 21) == [0]
    assert fitting(columns, 3) == [0]


def test_long_words_are_folded_and_never_cut() -> None:
    lines = printed(20, Column("id", 4), Column("job", 8), rows=[["abcd", "x" * 30]])

    assert "".join(line[6:].strip() for line in lines[1:]) == "x" * 30
    assert max(map(len, lines)) <= 20


def test_a_column_that_holds_is_never_torn_where_another_can_go() -> None:
    columns = [Column("job", 4), Column("next fire", 4, holds=True), Column("running", 3, 1)]

    lines = printed(36, *columns, rows=[["tick", "2026-11-25 14:16 UTC\n2026-11-25 14:16:40 UTC", "-"]])

    assert lines == ["JOB   NEXT FIRE", "tick  2026-11-25 14:16 UTC", "      2026-11-25 14:16:40 UTC"]


@pytest.mark.parametrize("width", range(50, 120))
def test_nothing_that_a_table_shows_is_cut_off_at_any_width(width: int) -> None:
    columns = [Column("job", 12), Column("schedule", 12), Column("next", 4, holds=True), Column("policies", 10)]
    row = [
        "mongo.progress_retention",
        "At 03:15 every day (UTC)",
        "03:15 UTC",
        "retry = attempts 3, delay 1m\nrunner = x",
    ]

    lines = printed(width, *columns, rows=[row])

    assert max(map(len, lines)) <= width
    shown = "".join("".join(lines).split())
    assert sorted(shown) == sorted(
        "".join([*(column.title.upper() for column in columns), *row]).replace(" ", "").replace("\n", "")
    )


def test_names_are_not_read_as_markup() -> None:
    assert printed(40, Column("job", 8), rows=[["[bold]a[/bold]"]])[1] == "[bold]a[/bold]"


def test_the_timeline_folds_progress_of_one_step_and_keeps_offsets() -> None:
    nodes = timeline(failed_run(), SHANGHAI)

    assert [(round(node.offset, 3), node.what.split(" ")[0]) for node in nodes] == [
        (0.0, "scheduled"),
        (0.002, "started"),
        (0.3, "progress"),
        (0.4, "progress"),
        (1.5, "failed"),
    ]
    assert "×3" in nodes[2].what
    assert "step=store" in nodes[3].what
    assert nodes[4].position == 7


def test_a_report_has_facts_parameters_steps_error_and_events() -> None:
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


def test_a_report_tells_the_reason_where_the_traceback_is_that_of_the_stop() -> None:
    stopped = msgspec.structs.replace(
        fold(failed_run()), error_message="the run took longer than its timeout of 4s", traceback="...\nRunCancelled"
    )

    assert [text for _, text in error(stopped)] == ["the run took longer than its timeout of 4s", "...\nRunCancelled"]


def test_facts_that_there_are_not_are_left_out() -> None:
    names = [name for name, _ in facts(fold(failed_run()), SHANGHAI)]

    assert names == ["due", "started", "took", "reason", "ran on"]


def test_a_range_of_missed_fires_is_told_with_its_bounds() -> None:
    missed = event(
        events.Missed, scheduled_time=AT, reason="downtime", count=3, first=AT - timedelta(minutes=2), last=AT
    )

    assert ("fires", "3, from 2026-12-01 17:58 +08 to 2026-12-01 18:00 +08") in facts(fold([missed]), SHANGHAI)
    assert what(fold([missed])) == "3 fires, downtime"


@pytest.mark.parametrize(
    ("told", "level", "line"),
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
    ],
)
def test_each_event_is_one_line_with_its_facts(told: Event, level: str, line: dict[str, Any]) -> None:
    found = tell(told)

    assert found.level == level
    assert found.facts == {"job": "sync", "run": RUN, **line}


def test_facts_are_written_for_people_with_their_units_and_in_their_zone() -> None:
    facts = {"due": AT + timedelta(milliseconds=250), "not_before": AT, "took_s": 0.086, "late_s": 61.0, "fires": 3}

    assert written_facts(facts, SHANGHAI) == {
        "due": "2026-12-01 18:00:00.250 +08",
        "not_before": "2026-12-01 18:00 +08",
        "took": "86 ms",
        "late": "1 m 01 s",
        "fires": 3,
    }


@pytest.mark.parametrize(
    ("style", "due", "took"),
    [
        ("console", "due='2026-12-01 10:00 UTC'", "took='86 ms'"),
        ("logfmt", "due=2026-12-01T10:00:00Z", "took_s=0.086"),
        ("json", '"due": "2026-12-01T10:00:00Z"', '"took_s": 0.086'),
    ],
)
def test_a_log_line_tells_people_and_machines_the_same_time_each_in_their_way(style: str, due: str, took: str) -> None:
    code = (
        "from datetime import UTC, datetime; import structlog; from gnomon.cli.output.log_output import begin_log\n"
        f"begin_log('info', {style!r})\n"
        "structlog.stdlib.get_logger('x').info('missed', due=datetime(2026, 12, 1, 10, tzinfo=UTC), took_s=0.086)"
    )
    environment = os.environ | {"TZ": "UTC"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment
    )

    assert due in done.stderr
    assert took in done.stderr


@pytest.mark.parametrize("logger", ["logging.getLogger('acme')", "structlog.stdlib.get_logger('acme')"])
def test_a_log_line_says_which_plugin_has_written_it(logger: str) -> None:
    code = (
        "import logging, threading, structlog; from gnomon.cli.output.log_output import begin_log\n"
        "from gnomon.threads import thread_of\n"
        "begin_log('info', 'logfmt')\n"
        f"write = {logger}.warning\n"
        "thread = threading.Thread(target=write, args=('the server is away',), name=thread_of('pager'))\n"
        "thread.start(); thread.join(); write('here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    told, untold = done.stderr.splitlines()
    assert 'event="the server is away" plugin=pager' in told
    assert "plugin" not in untold


def test_only_a_new_step_makes_progress_worth_a_line_for_everybody() -> None:
    assert tell(event(events.Progress, step="store"), "fetch").level == "info"
    assert tell(event(events.Progress, step="store"), "store").level == "debug"
    assert tell(event(events.Progress, percent=3.0), "store").level == "debug"


def test_a_pause_is_told_with_who_and_why() -> None:
    paused = events.JobPaused(
        stream="job:sync", version=2, at=AT, node="n1", job_id="sync", actor="ana", reason="month end"
    )

    assert tell(paused).what == "job paused"
    assert tell(paused).facts == {"job": "sync", "by": "ana", "reason": "month end"}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (ProgressView(), "3.0 s"),
        (ProgressView(percent=50.0), "50 %  3.0 s, some 3.0 s left"),
        (
            ProgressView(step="store", message="row 7", processed_items=7, total_items=20),
            "store: row 7 (7/20)  3.0 s",
        ),
    ],
)
def test_the_words_beside_the_bar_tell_what_is_known(view: ProgressView, expected: str) -> None:
    assert in_words(view, estimate(view, 3.0)) == expected


def test_past_runs_tell_what_is_left_where_the_run_does_not() -> None:
    assert in_words(ProgressView(), Timing(3.0, 10.0, 7.0)) == "3.0 s, some 7.0 s left"


def test_the_ending_of_a_refused_run_tells_how_to_force_it() -> None:
    missed = event(events.Missed, scheduled_time=AT, reason="guard", detail="the exchange is closed", is_manual=True)

    assert ending(fold([missed])) == (
        f"○ missed  sync  (guard: the exchange is closed; --force does not ask guards)  {RUN}"
    )


def test_a_shortened_id_finds_its_run_if_it_is_the_only_one() -> None:
    one, other = fold(failed_run()), fold(failed_run())
    other.id = "6a6d4b00ffffffffffffffff"

    assert only_match("6a6d4b00aa", [one, other]) is one
    assert only_match("7", [one, other]) is None
    with pytest.raises(Exception, match="the beginning of 2 ids"):
        only_match("6a6d4b00", [one, other])


def job(**keys: Any) -> Job:
    return Job(id="sync", func=body, timezone="Asia/Shanghai", **keys)


def known(of: Job, **keys: Any) -> JobState:
    return JobState(job_id=of.id, definition=of.definition(), anchor=AT - timedelta(hours=1), **keys)


def test_only_policies_that_differ_are_shown() -> None:
    strict = job(cron="0 18 * * *", overlap="queue", timeout=Duration(hours=2), retry=Retry(attempts=2))

    assert policies(job(cron="0 18 * * *")) == {}
    assert policies(strict).keys() == {"overlap", "timeout", "retry"}


def test_the_outlook_of_a_job_is_in_its_own_zone() -> None:
    found = outlook(job(cron="0 18 * * *"), AT)

    assert [moment(fire, SHANGHAI) for fire in found["next_fires"][:2]] == [
        "2026-12-02 18:00 +08",
        "2026-12-03 18:00 +08",
    ]


def test_an_interval_goes_on_from_its_last_fire() -> None:
    every = job(every=Duration(minutes=10))
    state = known(every, last_fire=AT - timedelta(minutes=3))

    assert upcoming(every, state, AT, 2).fires == [AT + timedelta(minutes=7), AT + timedelta(minutes=17)]


def test_a_fire_that_no_kernel_came_to_is_overdue_and_the_next_ones_follow() -> None:
    every = job(every=Duration(minutes=10))
    state = known(every, last_fire=AT - timedelta(minutes=13))

    found = upcoming(every, state, AT, 1)

    assert found.overdue == AT - timedelta(minutes=3)
    assert found.fires == [AT + timedelta(minutes=7)]


def test_after_years_without_a_kernel_fires_are_counted_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.analysis.upcoming.MOST_PAST_FIRES", 10)
    every = job(every=Duration(seconds=1))

    found = upcoming(every, known(every), AT, 2)

    assert found.overdue == AT - timedelta(hours=1) + timedelta(seconds=1)
    assert found.fires == [AT + timedelta(seconds=1), AT + timedelta(seconds=2)]


def test_a_date_in_the_past_is_overdue_once_and_never_comes_again() -> None:
    once = job(at=AT - timedelta(minutes=5))

    found = upcoming(once, known(once), AT, 5)

    assert (found.overdue, found.fires) == (AT - timedelta(minutes=5), [])


def test_a_paused_job_has_nothing_to_come() -> None:
    every = job(every=Duration(minutes=10))
    state = known(every, paused=True, paused_by="ana")

    found = job_line(every, state, None, [], AT)

    assert (found.state, found.paused_by, found.next_fire) == ("paused", "ana", None)


def test_a_definition_that_the_log_does_not_have_yet_is_told_from_one_that_it_has() -> None:
    old, new = job(every=Duration(minutes=10)), job(every=Duration(minutes=5))

    assert state_of(old, None) == "new"
    assert state_of(old, known(old, removed=True)) == "new"
    assert state_of(old, known(old)) == "active"
    assert state_of(new, known(old)) == "changed"


def test_an_operators_words_are_shown_and_else_those_of_the_definition() -> None:
    named = job(every=Duration(minutes=10), name="Sync", description="Every noon")

    shown = [
        (found.name, found.display_name, found.note)
        for found in (
            job_line(named, known(named, display_name="Prices", note="ask Bob first"), None, [], AT),
            job_line(named, known(named), None, [], AT),
        )
    ]

    assert shown == [("Sync", "Prices", "ask Bob first"), ("Sync", "Sync", "Every noon")]
