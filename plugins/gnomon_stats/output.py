"""The statistics and the result of a verification as `gnomon stats` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
from rich.table import Table
from rich.text import Text

from gnomon.cli.output.console import echo
from gnomon.cli.output.json_output import print_json
from gnomon.cli.output.states import style_of, with_glyph
from gnomon.cli.output.tables import Column, output, print_table
from gnomon.text import length

if TYPE_CHECKING:
    from gnomon.wire.statistics import Day, EtaAccuracy, JobStatistics, LabelValueStatistics
    from gnomon_stats.verification import Verification

DAYS = 14
"""Days in a row of bars; the last one is today."""
SHOWN = 20
"""Differences that are printed; `--json` prints all of them."""


Ends: TypeAlias = "JobStatistics | LabelValueStatistics"


class Counted(NamedTuple):
    """The statistics of jobs, the current day where they were counted, and the zone of days, where that is known."""

    jobs: Sequence[JobStatistics]
    today: date
    zone: str | None


def print_jobs(counted: Counted) -> None:
    """Print a table of jobs."""
    print_ends("job", [(job.job_id, job) for job in counted.jobs], counted.today)


def print_ends(title: str, counted: Sequence[tuple[str, Ends]], today: date) -> None:
    """Print a table with a row for each job, or for each value of a label."""
    columns = [
        Column(title, 12),
        Column("runs", 6, right=True),
        Column("success", 7, right=True),
        Column("failed", 6, 1, right=True),
        Column("missed", 6, 2, right=True),
        Column("mean", 8, 3, no_wrap=True, right=True),
        Column("p50", 8, 4, no_wrap=True, right=True),
        Column("p95", 8, 1, no_wrap=True, right=True),
        Column("last run", 18, 2),
        Column(f"{DAYS} days", DAYS, 1, no_wrap=True),
    ]
    print_table(columns, [_row(name, one, today) for name, one in counted])


def _row(name: str, job: Ends, today: date) -> tuple[str | Text, ...]:
    return (
        name,
        f"{job.total:,}",
        _rate(job),
        f"{job.failed:,}",
        f"{job.missed:,}",
        length(job.avg_execution_time),
        length(job.p50),
        length(job.p95),
        _last(job),
        _bars(job, today),
    )


def print_job(job: Ends, today: date, zone: str | None) -> None:
    """Print the statistics of one job, or of one value of a label, in full."""
    states = ("success", "failed", "missed", "cancelled", "running", "scheduled")
    parts = [f"{count:,} {state}" for state in states if (count := getattr(job, state))]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("runs", ": ".join([f"{job.total:,}", *([", ".join(parts)] if parts else [])]))
    table.add_row("success rate", _rate(job))
    table.add_row("mean", length(job.avg_execution_time))
    error = f" (±{job.percentile_error:.0%})" if job.percentile_error is not None else ""
    table.add_row("p50, p95", f"{length(job.p50)}, {length(job.p95)}{error}")
    table.add_row("streak", _streak(job))
    if (accuracy := getattr(job, "eta_accuracy", None)) is not None:
        table.add_row("time left", _accuracy(accuracy))
    table.add_row("last run", _last(job))
    until = f"today, in {zone}" if zone else f"{today}, today on the server"
    table.add_row(f"{DAYS} days", _bars(job, today).append(f"  up to {until}", style="dim"))
    output().print(table)


def _streak(job: Ends) -> str:
    if (streak := job.streak) is None:
        return "-"
    now = f"{streak.length:,} × {streak.status}" if streak.status else "-"
    return f"{now} (longest: {streak.longest_success:,} × success, {streak.longest_failed:,} × failed)"


def _accuracy(found: EtaAccuracy) -> str:
    """Return how many runs ended within the range that was given: at their start, and at half of their work."""
    parts = [
        f"{checks.inside / checks.runs:.0%} of {checks.runs:,} runs ended within the range given {when}"
        for checks, when in ((found.start, "at the start"), (found.halfway, "halfway"))
        if checks.runs
    ]
    return ", ".join(parts)


def _rate(job: Ends) -> str:
    return f"{job.success_rate:.1%}" if job.success_rate is not None else "-"


def _last(job: Ends) -> Text:
    if job.last_execution is None:
        return Text("never")
    ago = length((datetime.now(UTC) - job.last_execution.timestamp).total_seconds())
    status = job.last_execution.status
    return Text(f"{with_glyph(status)}, {ago} ago", style_of(status))


def _bars(job: Ends, today: date) -> Text:
    """Draw a bar for each day: as high as the number of runs that ended, in the colour of the worst outcome."""
    if job.by_day is None:
        return Text("-")
    known: dict[date, Day] = {day.day: day for day in job.by_day}
    days = [known.get(today - timedelta(days=back)) for back in reversed(range(DAYS))]
    counts = [day.success + day.failed + day.missed + day.cancelled if day else 0 for day in days]
    most = max(counts)
    bars = Text()
    for day, count in zip(days, counts, strict=True):
        height = -(-count * 8 // most) if count else 0  # rounded up: one run is visible beside a thousand
        bars.append("·▁▂▃▄▅▆▇█"[height], _colour(day) if day else "dim")
    return bars


def _colour(day: Day) -> str:
    worst = next((status for status in ("failed", "missed", "cancelled", "success") if getattr(day, status)), "")
    return style_of(worst) or "dim"


def print_verification(report: Verification, *, as_json: bool) -> None:
    """Print the result of a verification: the details to stdout, the verdict to stderr."""
    if as_json:
        print_json({"is_proved": report.is_proved} | msgspec.structs.asdict(report))
        return
    for one in report.differences[:SHOWN]:
        echo(f"✘ {one}")
    if len(report.differences) > SHOWN:
        echo(f"✘ {len(report.differences) - SHOWN:,} more differences")
    for sentence in _sentences(report):
        echo(sentence)
    counted = f"{report.executions:,} runs of {report.jobs:,} jobs, up to position {report.position:,}"
    echo(f"{'proved' if report.is_proved else 'NOT proved'}: {counted}", err=True)


def _sentences(report: Verification) -> list[str]:
    """Return which comparisons were made, and which could not be made."""
    said = []
    if not report.is_proved:
        return ["stop the kernel and count again from the log: gnomon stats --rebuild"]
    if report.kept_at is None:
        said.append("? no statistics are saved yet: `gnomon stats` counts from the log each time")
    else:
        said.append(f"✔ the saved statistics (at position {report.kept_at:,}) match the log")
    if report.whole_after:
        complete = completeness(report.whole_after, report.whole_since)
        said.append(f"? {complete}; the counts from before are not less than what is left, and add up")
    if report.store == "equal":
        said.append("✔ the store's own counts are the same")
    elif report.store.startswith("was"):
        said.append(f"? the store {report.store}: its counts were not compared")
    return said


def completeness(after: int, since: datetime | None) -> str:
    """Return, as a clause, from when on a pruned log is complete."""
    ended = f"runs that ended since {since:%Y-%m-%d %H:%M} UTC" if since is not None else "future runs"
    return f"the log is complete only for {ended} (after position {after:,})"
