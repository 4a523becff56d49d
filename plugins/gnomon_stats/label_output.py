"""The statistics by label as `gnomon stats --label` prints them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from gnomon.cli.output.console import echo
from gnomon.text import close_match
from gnomon_stats.output import Ends, print_ends, print_job

if TYPE_CHECKING:
    from gnomon.wire.statistics import LabelNames, LabelStatistics

OTHER = "(other)"
"""The row of the runs with values that are not counted one by one. In JSON their value is null."""


class CountedLabel(NamedTuple):
    """The statistics of a label, the labels that there are, the current day and the zone of days, where it is known."""

    statistics: LabelStatistics
    names: LabelNames
    today: date
    zone: str | None


def print_label(counted: CountedLabel, value: str | None) -> None:
    """Print a table of the values, or the value that was asked for in full."""
    found = counted.statistics
    if value is not None and found.values:
        print_job(found.values[0], counted.today, counted.zone)
    elif value is not None or not found.values:
        echo(_nothing(counted, value), err=True)
    else:
        rows: list[tuple[str, Ends]] = [(one.value or OTHER, one) for one in found.values]
        if found.other is not None:
            rows.append((OTHER, found.other))
        print_ends(found.label, rows, counted.today)
        if found.other is not None:
            limit = f"the first {found.most_values:,} values of a label are counted one by one"
            echo(f"{limit}; {OTHER} counts the runs with later ones together", err=True)


def _nothing(counted: CountedLabel, value: str | None) -> str:
    found, names = counted.statistics, [one.label for one in counted.names.labels]
    if value is not None and found.other is not None:
        return (
            f"the runs with {found.label}={value}, if there are any, are not counted one by one: the first "
            f"{found.most_values:,} values are; `gnomon runs --label {found.label}={value}` lists them"
        )
    if value is not None and found.label in names:
        return f"no run has the label {found.label}={value}"
    advice = close_match(found.label, names) or (f"; runs have: {', '.join(names)}" if names else "")
    return f"no run has the label {found.label!r}{advice}"
