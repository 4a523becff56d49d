"""Alerts on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from rich.text import Text

from gnomon.cli.output.console import echo
from gnomon.cli.output.tables import Column, print_table
from gnomon.domain.bulk_acts import ActOutcome
from gnomon.text import moment
from gnomon.wire.alerts import Alert, AlertPage

SHORT_ID = 8
COLOURS = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}
GLYPHS = {"firing": "▲", "acknowledged": "✓", "snoozed": "◔", "resolved": "·"}
DONE = {"ack": "acknowledged", "snooze": "snoozed", "resolve": "resolved"}
UNDONE = {"ack": "not acknowledged any more", "snooze": "not snoozed any more"}


def print_alerts(page: AlertPage, zone: tzinfo | None) -> None:
    """Print a page of alerts as a table, and a line that counts them."""
    if page.alerts:
        columns = [
            Column("alert", SHORT_ID, no_wrap=True),
            Column("state", 14),
            Column("severity", 8, 3, no_wrap=True),
            Column("about", 12),
            Column("rule", 8, 2),
            Column("since", 10, 1, no_wrap=True),
            Column("times", 5, 4, no_wrap=True, right=True),
            Column("message", 20),
        ]
        print_table(columns, [_row(alert, zone) for alert in page.alerts])
    counts = page.counts
    waiting = f"{counts.acknowledged} acknowledged, {counts.snoozed} snoozed"
    cut = f"; {page.total - len(page.alerts)} more match" if page.total > len(page.alerts) else ""
    if counts.firing or counts.acknowledged or counts.snoozed:
        echo(f"{counts.firing} firing, {waiting}{cut}")
    else:
        echo(f"no open alerts{cut}")


def print_outcomes(outcomes: Sequence[ActOutcome], verb: str, *, is_undone: bool) -> None:
    """Print what came of each alert."""
    for one in outcomes:
        done = UNDONE[verb] if is_undone else DONE[verb]
        echo(f"{one.id}: {one.error or done}", err=one.error is not None)
    if not outcomes:
        echo("no open alert matches", err=True)


def _row(alert: Alert, zone: tzinfo | None) -> tuple[str | Text, ...]:
    return (
        alert.id[:SHORT_ID],
        f"{GLYPHS[alert.state]} {_state(alert, zone)}",
        Text(alert.severity, COLOURS[alert.severity]),
        alert.job_id or alert.subject or "the kernel",
        alert.rule,
        moment(alert.since, zone),
        str(alert.count),
        alert.message,
    )


def _state(alert: Alert, zone: tzinfo | None) -> str:
    if alert.state == "acknowledged" and alert.acknowledgement is not None:
        return f"acknowledged by {alert.acknowledgement.by or 'someone'}"
    if alert.state == "snoozed" and alert.snooze is not None:
        return f"snoozed until {moment(alert.snooze.until, zone)}"
    return alert.state
