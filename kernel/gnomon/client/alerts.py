"""The client's calls for alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from gnomon.client.session import Session, segment
from gnomon.domain.alert_events import Severity
from gnomon.domain.bulk_acts import ActOutcome
from gnomon.domain.parameter_checks import checked_methods
from gnomon.wire.alerts import Alert, AlertFilter, AlertPage, AlertSelection

Verb = Literal["ack", "snooze", "resolve"]


@checked_methods
class AlertCalls:
    """Alerts, and acts on them; a server without the plugin alerts answers 404: ClientError."""

    _session: Session

    async def alerts(  # noqa: PLR0913 - one parameter for each filter
        self,
        *,
        state: AlertFilter = "open",
        rule: str | None = None,
        kind: str | None = None,
        job_id: str | None = None,
        severity: Severity | None = None,
        since: datetime | None = None,
        at: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> AlertPage:
        """List alerts, the most urgent first; by default those that have not ended. `limit` is at most 200."""
        query = {
            "state": state,
            "rule": rule,
            "kind": kind,
            "job_id": job_id,
            "severity": severity,
            "since": since,
            "at": at,
            "limit": limit,
            "offset": offset,
        }
        return await self._session.request("GET", "/scheduler/alerts", AlertPage, query=query)

    async def acknowledge_alert(
        self, alert_id: str, *, until: datetime | None = None, until_next: bool = False, reason: str | None = None
    ) -> Alert:
        """Acknowledge an alert until it is resolved, until a time, or with `until_next` until it repeats."""
        body = {"until": until, "until_next": until_next, "reason": reason}
        return await self._act_on_alert("ack", alert_id, body)

    async def snooze_alert(self, alert_id: str, *, until: datetime, reason: str | None = None) -> Alert:
        """Snooze an alert until a time."""
        return await self._act_on_alert("snooze", alert_id, {"until": until, "reason": reason})

    async def resolve_alert(self, alert_id: str, *, reason: str | None = None) -> Alert:
        """Resolve an alert by hand: what it is about opens another one when it happens again."""
        return await self._act_on_alert("resolve", alert_id, {"reason": reason})

    async def act_on_alerts(self, verb: Verb, alerts: AlertSelection, /, **how: Any) -> list[ActOutcome]:
        """Acknowledge, snooze or resolve all open alerts that match, at most 1,000; `how` is the body of the call."""
        body = {"alerts": alerts, **{name: value for name, value in how.items() if value is not None}}
        return await self._session.request("POST", f"/scheduler/alerts/{verb}", list[ActOutcome], body=body)

    async def _act_on_alert(self, verb: Verb, alert_id: str, body: dict[str, Any]) -> Alert:
        path = f"/scheduler/alerts/{segment(alert_id)}/{verb}"
        return await self._session.request("POST", path, Alert, body=body)
