"""Acts on alerts: acknowledging, snoozing and resolving, each by an event, from any process."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from gnomon import AlertAcknowledged, AlertResolved, AlertSnoozed, JobError
from gnomon.domain.alert_events import RANK, AlertFact, Severity
from gnomon.durations import Duration
from gnomon.wire.alerts import Alert, AlertSelection

MOST_AT_ONCE = 1_000
DEFAULT_SNOOZE = Duration(hours=1)


class Act(msgspec.Struct, frozen=True):
    """An act on any alert: the type of the event, and its fields."""

    fact: type[AlertFact]
    facts: dict[str, Any]

    def on(self, alert: Alert) -> dict[str, Any]:
        """Return the fields of the event about an alert."""
        return {"alert_id": alert.id, "job_id": alert.job_id, **self.facts}


def acknowledgement(
    *, until: datetime | None, until_next: bool, undo: bool, actor: str | None, reason: str | None, now: datetime
) -> Act:
    """Return the act that acknowledges, or with `undo` takes that back; JobError for a time that is over."""
    if until is not None:
        _expect_future(until, now)
    facts = {"until": until, "until_next": until_next, "withdrawn": undo, "actor": actor, "reason": reason}
    return Act(AlertAcknowledged, facts)


def snooze(
    *, until: datetime | None, length: Duration | None, undo: bool, actor: str | None, reason: str | None, now: datetime
) -> Act:
    """Return the act that snoozes until a time, or for a length; with `undo` it takes that back."""
    if until is not None and length is not None:
        raise JobError("a snooze has `until` or `for`, and not both")
    length = DEFAULT_SNOOZE if length is None else length
    try:
        end = until or now + length
    except OverflowError:
        raise JobError(f"the calendar does not reach {length} from now") from None
    _expect_future(end, now)
    return Act(AlertSnoozed, {"until": end, "withdrawn": undo, "actor": actor, "reason": reason})


def resolution(*, actor: str | None, reason: str | None) -> Act:
    """Return the act that resolves: what the alert is about opens another one when it happens again."""
    return Act(AlertResolved, {"why": "by_hand", "actor": actor, "reason": reason})


def selected(alerts: Iterable[Alert], selection: AlertSelection) -> list[Alert]:
    """Return the open alerts of a selection; JobError for an empty one, and for too many."""
    if selection.is_empty:
        raise JobError("select alerts by ids, job_id, rule, kind or severity: one condition at least")
    found = [
        alert
        for alert in alerts
        if (selection.ids is None or alert.id in selection.ids)
        and selection.job_id in {None, alert.job_id}
        and selection.rule in {None, alert.rule}
        and selection.kind in {None, alert.kind}
        and is_as_severe(alert, selection.severity)
    ]
    if len(found) > MOST_AT_ONCE:
        raise JobError(f"{len(found):,} alerts match, and one act may have {MOST_AT_ONCE:,}: select fewer of them")
    return found


def is_as_severe(alert: Alert, least: Severity | None) -> bool:
    """Return whether an alert has a severity or a higher one."""
    return least is None or RANK[alert.severity] >= RANK[least]


def _expect_future(moment: datetime, now: datetime) -> None:
    if moment.tzinfo is None:
        raise JobError(f"expected a time with an offset, got {moment.isoformat()}: write 2026-12-01T18:00:00Z")
    if moment <= now:
        raise JobError(f"expected a time to come, got {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
