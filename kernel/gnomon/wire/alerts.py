"""Alerts as they are shown: by REST, by the command line, and in what is delivered about them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.alert_events import Resolution, Severity
from gnomon.domain.statement import Statement
from gnomon.errors import GnomonError

AlertState = Literal["firing", "acknowledged", "snoozed", "resolved"]
"""`firing` wants attention; an acknowledged or snoozed alert is open as well."""
AlertFilter = Literal[AlertState, "open", "all"]
"""Which alerts to list."""


class UnknownAlertError(GnomonError, LookupError):
    """No alert has this id. It may have ended long ago; `gnomon alerts --state all` lists those that are kept."""

    def __init__(self, alert_id: str) -> None:
        super().__init__(f"there is no alert {alert_id!r}; `gnomon alerts --state all` lists them")
        self.alert_id = alert_id


class Acknowledgement(msgspec.Struct, kw_only=True):
    """Who takes care of an alert. It ends with the alert, at `until`, or with `until_next` when it repeats."""

    by: str | None
    at: datetime
    until: datetime | None = None
    until_next: bool = False
    note: str | None = None


class AlertSnooze(msgspec.Struct, kw_only=True):
    """Who wants to hear nothing of an alert before `until`."""

    by: str | None
    at: datetime
    until: datetime
    note: str | None = None


class Alert(msgspec.Struct, kw_only=True):
    """An alert at a moment. `job_id` is empty where it is about the part of the kernel that `subject` names.

    `count` is how often it has happened, between the runs `first_execution` and `last_execution` where it is about
    runs. `message` is a sentence in English, and `said` is the same as data, for other languages; null for alerts of
    older versions. `backdated`: the condition was older than the rule or the plugin when it was found. `position` is
    that of its newest event in the log.
    """

    id: str
    rule: str
    kind: str
    severity: Severity
    job_id: str
    subject: str
    message: str
    state: AlertState = "firing"
    since: datetime
    opened_at: datetime
    last_at: datetime
    first_execution: str | None = None
    last_execution: str | None = None
    count: int = 1
    acknowledgement: Acknowledgement | None = None
    snooze: AlertSnooze | None = None
    resolved_at: datetime | None = None
    resolution: Resolution | None = None
    resolved_by: str | None = None
    resolved_execution: str | None = None
    note: str | None = None
    backdated: bool = False
    position: int = 0
    said: Statement | None = None


class AlertSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open alerts to act on: all conditions that are given must match, and one must be given.

    `severity` is the least one.
    """

    ids: list[str] | None = None
    job_id: str | None = None
    rule: str | None = None
    kind: str | None = None
    severity: Severity | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no condition is given."""
        return self == AlertSelection()


class AlertCounts(msgspec.Struct, kw_only=True):
    """The open alerts by state, and those that are firing by severity."""

    firing: int = 0
    acknowledged: int = 0
    snoozed: int = 0
    severities: dict[str, int] = {}


class AlertPage(msgspec.Struct, kw_only=True):
    """A page of alerts: the open ones first, the most severe and then the newest first.

    `total` is the number of alerts that match; `counts` are those of all open alerts that the caller may see. The
    alerts are those of the log up to `position`.
    """

    alerts: list[Alert]
    total: int
    limit: int
    offset: int
    counts: AlertCounts
    position: int
