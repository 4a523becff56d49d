"""The report of an import, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnomon_mongo.history_import.history_import import ImportReport

SHOWN = 20
"""How many documents, or jobs, are listed."""


def report_lines(report: ImportReport, timezone: str, *, is_trial: bool) -> Iterator[str]:
    """Yield the lines of a report: what was imported, and what could not be, with the reasons."""
    if report.is_empty:
        yield "there is nothing to import"
        return
    imported = "would be imported" if is_trial else "imported"
    yield f"{report.runs.total():,} runs {imported}{_by_status(report)}; times without an offset are of {timezone}"
    yield f"{report.actions:,} acts of operators, and names or notes of {report.described:,} jobs {imported}"
    if report.already:
        yield f"{report.already:,} documents were imported before"
    if report.kept:
        yield f"these jobs have a name or note here already, which was kept: {_names(report.kept)}"
    if report.cut:
        yield f"the name or note of these jobs was too long, and is cut: {_names(report.cut)}"
    if report.refused:
        yield f"{len(report.refused):,} documents cannot be imported, and are left as they are:"
    for one in report.refused[:SHOWN]:
        yield f"✘ {one.collection} {one.identity}: {one.problem}"
    if len(report.refused) > SHOWN:
        yield f"  and {len(report.refused) - SHOWN:,} more"


def _by_status(report: ImportReport) -> str:
    counts = [f"{count:,} {status}" for status, count in sorted(report.runs.items())]
    if report.lost:
        counts.append(f"of the failed ones {report.lost:,} were recorded as running")
    return f" ({', '.join(counts)})" if counts else ""


def _names(jobs: Sequence[str]) -> str:
    more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
    return ", ".join(sorted(jobs)[:SHOWN]) + more
