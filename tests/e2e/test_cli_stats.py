"""`gnomon stats`: beside a running kernel, and on logs that were written before."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gnomon.domain.events import Event
from gnomon.domain.records import Checkpoint
from gnomon.testing.histories import append, failed, job_added, missed, succeeded
from gnomon_sqlite import SqliteStore
from gnomon_stats.checkpoint import CHECKPOINT, to_checkpoint
from gnomon_stats.fold import Statistics, fold

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def now() -> datetime:
    """Noon of this day, so that what comes an hour later is of the same day."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture
def write_log(configure: Configure) -> Callable[..., None]:
    """Write a log, and statistics of its beginning, right ones or spoilt ones."""
    path = configure(tick="", tock="").with_name("gnomon.db")

    async def write(histories: tuple[list[Event], ...], spoil: Callable[[Statistics], None] | None) -> None:
        async with SqliteStore(path) as store:
            log = await append(store, *histories)
            statistics = Statistics()
            fold(statistics, log[:-2])
            if spoil is not None:
                spoil(statistics)
            await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))

    return lambda *histories, spoil=None: asyncio.run(write(histories, spoil))


def test_beside_a_running_kernel_they_are_exact(
    configure: Configure, start: Callable[..., object], gnomon: Run, folder: Path
) -> None:
    path = configure(tick='every = "50ms"', broken='every = "80ms"', slow="")
    path.write_text(path.read_text() + "[plugins.stats]\nsave_every = '20ms'\n")
    kernel = start("run", "--log-format", "json")
    for _ in range(3):
        kernel.wait_for("failed", job="broken")  # type: ignore[attr-defined]

    done, found = gnomon("stats"), json.loads(gnomon("stats", "--json").stdout)
    proof = gnomon("stats", "--verify")
    kernel.send(signal.SIGTERM)  # type: ignore[attr-defined]
    assert kernel.ends() == 0  # type: ignore[attr-defined]
    at_the_end = {job["job_id"]: job for job in json.loads(gnomon("stats", "--json").stdout)}

    assert done.returncode == proof.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["JOB", "broken", "slow", "tick"]
    assert "100.0%" in done.stdout
    assert [job["job_id"] for job in found] == ["broken", "slow", "tick"]
    assert found[0]["failed"] >= 3
    assert (found[1]["total"], found[1]["last_execution"]) == (0, None)
    assert "✔ the saved statistics (at position" in proof.stdout
    with sqlite3.connect(folder / "gnomon.db") as log:
        rows = log.execute("SELECT job_id, type, count(*) FROM events GROUP BY 1, 2").fetchall()
    log.close()
    ends = {"succeeded": "success", "failed": "failed", "cancelled": "cancelled"}
    told = {(job, ends[kind]): n for job, kind, n in rows if kind in ends}
    assert told
    assert {(job, status): at_the_end[job][status] for job, status in told} == told


def test_one_job_is_shown_in_full(write_log: Callable[..., None], now: datetime, gnomon: Run) -> None:
    yesterday = now - DAY
    write_log(
        *(succeeded("tick", yesterday + n * HOUR) for n in range(3)),
        failed("tick", now),
        missed("tick", now + HOUR, count=5),
    )

    done, found = gnomon("stats", "tick"), json.loads(gnomon("stats", "tick", "--json").stdout)

    told = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert told["runs"].split() == ["9:", "3", "success,", "1", "failed,", "5", "missed"]
    assert told["success rate"].strip() == "75.0%"
    assert told["p50, p95"].strip() == "1.0 s, 1.0 s (±2%)"
    assert told["streak"].strip() == "1 × failed (longest: 3 × success, 1 × failed)"
    assert re.match("·{11,12}[^·]{2}", told["14 days"].strip())  # 11, where midnight has passed since
    assert "up to today, in UTC" in told["14 days"]
    assert (found["success"], found["missed"], found["success_rate"]) == (3, 5, 0.75)
    assert found["p50"] == pytest.approx(1.0, rel=0.02)


def test_a_job_that_never_ran_has_none(write_log: Callable[..., None], now: datetime, gnomon: Run) -> None:
    write_log(job_added("tick", now), succeeded("tock", now))

    done = gnomon("stats", "tick")

    assert done.returncode == 0
    assert "never" in done.stdout


def test_before_the_first_run_nothing_is_counted(configure: Configure, gnomon: Run) -> None:
    configure(tick="")

    done, proof = gnomon("stats"), gnomon("stats", "--verify")

    assert (done.returncode, proof.returncode) == (0, 1)
    assert "nothing has run yet" in done.stderr
    assert "there is no log at" in proof.stderr


def test_an_unknown_job_is_refused_with_a_suggestion(
    write_log: Callable[..., None], now: datetime, gnomon: Run
) -> None:
    write_log(succeeded("tick", now))

    done = gnomon("stats", "tikc")

    assert done.returncode == 1
    assert "there is no job 'tikc'; did you mean 'tick'?" in done.stderr


def test_damaged_statistics_are_found_and_rebuilt(write_log: Callable[..., None], now: datetime, gnomon: Run) -> None:
    def spoil(statistics: Statistics) -> None:
        statistics.jobs["tick"].total.failed = 7

    write_log(succeeded("tick", now), failed("tick", now + HOUR), spoil=spoil)

    bad, report = gnomon("stats", "--verify"), json.loads(gnomon("stats", "--verify", "--json").stdout)
    mended = gnomon("stats", "--rebuild", "--verify")

    assert bad.returncode == 1
    assert "✘ tick, total, failed: saved 8, the log has 1" in bad.stdout
    assert "gnomon stats --rebuild" in bad.stdout
    assert "NOT proved" in bad.stderr
    assert not report["is_proved"]
    assert report["differences"][0] == {
        "job_id": "tick",
        "what": "total, failed",
        "kept": 8,
        "log": 1,
        "label": None,
    }
    assert mended.returncode == 0
    assert "counted again: 1 jobs, up to position 6" in mended.stderr


def test_after_retention_it_reports_since_when_the_log_is_complete(
    write_log: Callable[..., None], now: datetime, folder: Path, gnomon: Run
) -> None:
    write_log(succeeded("tick", now - 40 * DAY), succeeded("tick", now), failed("tick", now + HOUR))

    async def prune() -> None:
        async with SqliteStore(folder / "gnomon.db") as store:
            assert await store.prune(now - 30 * DAY) == 1

    asyncio.run(prune())
    proof, found = gnomon("stats", "--verify"), json.loads(gnomon("stats", "tick", "--json").stdout)
    refused = gnomon("stats", "--rebuild")

    assert proof.returncode == 0
    assert (
        f"the log is complete only for runs that ended since {now:%Y-%m-%d %H:%M} UTC (after position 3)"
        in proof.stdout
    )
    assert "proved: 3 runs of 1 jobs, up to position 9" in proof.stderr
    assert (found["success"], len(found["by_day"])) == (2, 2)
    assert refused.returncode == 1
    assert "the counts from before would be lost" in refused.stdout


def test_unreadable_statistics_are_reported_without_a_traceback(
    write_log: Callable[..., None], now: datetime, folder: Path, gnomon: Run
) -> None:
    write_log(succeeded("tick", now))

    async def spoil() -> None:
        async with SqliteStore(folder / "gnomon.db") as store:
            await store.save_checkpoint(CHECKPOINT, Checkpoint(3, b"no statistics"))

    asyncio.run(spoil())
    done = gnomon("stats", "--verify")

    assert done.returncode == 1
    assert "the statistics saved in this log cannot be used" in done.stderr
    assert "gnomon stats --rebuild" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_verification_covers_all_jobs(configure: Configure, gnomon: Run) -> None:
    configure(tick="")

    done = gnomon("stats", "tick", "--verify")

    assert done.returncode == 2
    assert "leave out JOB" in done.stderr


def test_runs_are_counted_by_label(write_log: Callable[..., None], now: datetime, gnomon: Run) -> None:
    write_log(
        *(succeeded("tick", now + n * HOUR, labels={"tenant": "7"}) for n in range(3)),
        failed("tock", now, labels={"tenant": "acme"}),
    )

    table, found = (
        gnomon("stats", "--label", "tenant"),
        json.loads(gnomon("stats", "--label", "tenant", "--json").stdout),
    )
    one, none = gnomon("stats", "--label", "tenant=7"), gnomon("stats", "--label", "tenant=8")
    mistyped, wrong = gnomon("stats", "--label", "tennant"), gnomon("stats", "--label", "ten ant")

    assert [line.split()[:3] for line in table.stdout.splitlines()[1:]] == [["7", "3", "100.0%"], ["acme", "1", "0.0%"]]
    assert table.stdout.split()[0] == "TENANT"
    assert [(value["value"], value["total"]) for value in found["values"]] == [("7", 3), ("acme", 1)]
    assert "3: 3 success" in one.stdout
    assert none.stderr.strip() == "no run has the label tenant=8"
    assert "did you mean 'tenant'?" in mistyped.stderr
    assert (none.returncode, mistyped.returncode, wrong.returncode) == (0, 0, 2)
    assert "expected the name of a label, such as tenant" in wrong.stderr
    assert gnomon("stats", "tick", "--label", "tenant").returncode == 2
    assert gnomon("stats", "--verify").returncode == 0
