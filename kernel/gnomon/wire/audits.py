"""Audits of the log on the wire: those of `gnomon.domain.audits`, with their verdict."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import msgspec

from gnomon.domain.audits import AuditReport, JobAudit
from gnomon.domain.rollback import Rollback


class AuditRecord(msgspec.Struct, kw_only=True):
    """The audit of the fires in since <= fire <= until, against the log up to `position`.

    `is_proved`: nothing in the log contradicts the promise, and the log is whole. `lost` is what it has lost.
    """

    is_proved: bool
    since: datetime
    until: datetime
    position: int
    jobs: list[JobAudit]
    lost: Rollback | None = None

    @classmethod
    def of(cls, report: AuditReport) -> Self:
        """Make the record of a report."""
        return cls(is_proved=report.is_proved, **msgspec.structs.asdict(report))

    def report(self) -> AuditReport:
        """Return the report that the record describes."""
        return AuditReport(**{name: getattr(self, name) for name in AuditReport.__struct_fields__})
