"""Records facts about the kernel itself in the log: its start, its stop, and changes of the wall clock.

They are what explains the rest of the log later: which versions computed the fires, when no kernel was up and why, why
times in the log go back, and that an operator accepted a log that had lost events.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from typing import Literal

import msgspec

from gnomon.domain import events
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.records import JournalState
from gnomon.domain.revision import Revision
from gnomon.engine.deployments import DeploymentMark
from gnomon.engine.journal import Journal
from gnomon.errors import DeposedError
from gnomon.jobs.groups import Groups
from gnomon.ports import Store
from gnomon.stores.schedule_versions import software_versions

HOLD_UP_INTERVAL_S = 60.0
"""Minimum time between two facts of a kind about being held up: a trigger may block the event loop at each fire."""


class KernelFacts:
    """The stream of one kernel, from its start to its stop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.stopped_by: str | None = None
        """Who asked for the stop, once it is known."""
        self._kernel_id = ""
        self._started_at: datetime | None = None
        self._software: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._next_hold_up: dict[str, float] = {}

    def started(self, store: Store, *, keeps_time: bool, groups: Groups, hold: events.Hold | None) -> None:
        """Record the start of the kernel, and what its store accepted at the user's request.

        The id of the kernel is drawn here: processes that are forked before it would all have the same.
        """
        self._kernel_id = secrets.token_hex(12)
        self._started_at, self._software = datetime.now(UTC), software_versions()
        self.record(
            events.KernelStarted,
            host=socket.gethostname(),
            pid=os.getpid(),
            actor=_user(),
            versions=self._software,
            keeps_time=keeps_time,
            accepted_rollback=store.rollback,
            hold=hold,
            groups={name: msgspec.to_builtins(group) for name, group in groups.items()},
        )

    def led(
        self,
        why: Literal["start", "take_over", "reload"],
        mark: DeploymentMark,
        before: int,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Record that the kernel leads with the definitions of a deployment; `before` is the number of the last one.

        Where they are other definitions, the actor of a reload has put them in force, else the user of this process.
        """
        is_other = 0 < before < mark.number
        self.record(
            events.KernelLed,
            pid=os.getpid(),
            why=why,
            deployment=mark.number,
            digest=mark.digest,
            revision=_text(mark.revision),
            newest_revision=_text(mark.newest),
            versions=self._software,
            actor=(actor if why == "reload" else _user()) if is_other else None,
            reason=reason if is_other else None,
        )

    @property
    def leader_name(self) -> str:
        """The kernel that leads, for people: its node and its process."""
        return f"process {os.getpid()} on {self._journal.node}"

    def member(
        self, now: datetime, head: int, state: JournalState, problem: str | None, revision: Revision | None
    ) -> KernelMember:
        """Return this kernel as a member of its log: the one that leads."""
        return KernelMember(
            id=self._kernel_id,
            node=self._journal.node,
            pid=os.getpid(),
            role="leader",
            since=self._started_at or now,
            seen=now,
            position=head,
            state=state,
            problem=problem,
            may_lead=True,
            revision=_text(revision),
            versions=self._software,
        )

    def clock_changed(self, wall_s: float, monotonic_s: float) -> None:
        """Record that the two clocks differ in how much time has passed since the last look at them."""
        wall, monotonic = round(wall_s * 1e6), round(monotonic_s * 1e6)
        self.record(
            events.ClockChanged,
            direction="forward" if wall > monotonic else "back",
            microseconds=abs(wall - monotonic),
            wall_microseconds=wall,
            monotonic_microseconds=monotonic,
        )

    def held_up(
        self,
        kind: Literal["paused", "blocked", "cut_off"],
        seconds: float,
        until: datetime,
        detail: str,
        held_by: str | None = None,
    ) -> None:
        """Record that the kernel could process nothing for some time; at most one a minute of each kind."""
        now = time.monotonic()
        if now >= self._next_hold_up.get(kind, 0.0):
            self._next_hold_up[kind] = now + HOLD_UP_INTERVAL_S
            self.record(
                events.KernelHeldUp,
                kind=kind,
                seconds=round(seconds, 3),
                until=until,
                detail=detail,
                held_by=held_by,
            )

    def stopped(self, reason: str) -> None:
        """Record the stop, unless the start was not recorded either."""
        if self._versions:
            self.record(events.KernelStopped, actor=self.stopped_by, reason=reason)

    def record(
        self, event_type: type[events.KernelEvent], *, day: str = "", job_id: str = "", **payload: object
    ) -> events.KernelEvent | None:
        """Record a fact; None where the log is lost. Frequent ones name their `day`: retention deletes streams."""
        stream = events.kernel_stream(f"{self._kernel_id}:{day}" if day else self._kernel_id)
        version = self._versions.get(stream, 0) + 1
        with contextlib.suppress(DeposedError):  # the log belongs to another process; the journal has logged it
            event = self._journal.record_of_kernel(event_type, stream, version, job_id, **payload)
            self._versions[stream] = version
            return event
        return None


def _text(revision: Revision | None) -> str | None:
    return str(revision) if revision is not None else None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else None
