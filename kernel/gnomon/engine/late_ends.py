"""Records ends of runs that come late: of kernels that were cut off from the log, and of bodies that were lost.

The run has an outcome by then, usually failed(lost), unless nobody led meanwhile: a late end becomes a `late_result`,
and the end of a run that has none.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Literal

import msgspec

from gnomon.domain.events import Cancelled, Event, Failed, LateResult, Succeeded
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.launcher import Launcher
from gnomon.engine.run_recorder import late_facts
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon.ports import Store
from gnomon.runners.base import Outcome

log = get_logger("gnomon.engine.late_ends")

INTERVAL_S = 5.0
"""Time between two looks for late ends."""
_OUTCOMES: dict[type[Event], Literal["succeeded", "failed", "cancelled"]] = {
    Succeeded: "succeeded",
    Failed: "failed",
    Cancelled: "cancelled",
}
_HEADER = frozenset(Event.__struct_fields__)


class LateEnds:
    """The late ends of one log, for the kernel that leads."""

    def __init__(self, store: Store, journal: Journal, launcher: Launcher, jobs: JobTable) -> None:
        self._store = store
        self._journal = journal
        self._launcher = launcher
        self._jobs = jobs

    async def run(self) -> None:
        """Record late ends as they come, until cancelled: a component of the kernel."""
        while True:
            await asyncio.sleep(INTERVAL_S)  # real time: other processes send them
            with contextlib.suppress(StoreError):  # in an outage; they stay where they are
                await self.merge()

    async def merge(self) -> None:
        """Record the late ends that are there; DeposedError if this kernel does not lead any more."""
        while ends := await self._store.late_ends():
            recorded: set[str] = set()
            for end in ends:
                if end.stream in recorded:  # what was recorded is not in the history before it is durable
                    await asyncio.shield(self._journal.durable())
                    recorded.clear()
                await self._record(end)
                recorded.add(end.stream)
            await asyncio.shield(self._journal.durable())
            await self._store.forget_late_ends(ends)

    async def report(self, execution_id: str, outcome: Outcome) -> None:
        """Record how a body elsewhere ended whose run was given up as lost; see `DurableLog`."""
        live = self._journal.live.get(execution_id)
        view = live or await self._store.execution(execution_id)
        if view is None or view.reason != "lost" or view.late_result is not None or outcome.reason == "lost":
            return
        view = self._journal.adopt(view)
        self._journal.record(LateResult, execution_id, view.job_id, **late_facts(outcome))
        log.warning("a body that was lost has ended", run=execution_id, job=view.job_id, outcome=view.late_result)
        if live is None:
            self._journal.forget(execution_id)

    async def _record(self, end: Event) -> None:
        live = self._journal.live.get(end.stream)
        view = live or await self._store.execution(end.stream)
        if view is None or view.status == "scheduled":
            log.warning("a late end of a run that the log does not know was dropped", run=end.stream, job=end.job_id)
            return
        history = await self._store.stream(end.stream)
        view = self._journal.adopt(view)
        if view.is_over and not isinstance(end, LateResult):
            end = _as_late_result(end)
        if not any(_is_same(end, one) for one in history):
            self._journal.record(type(end), end.stream, end.job_id, **_payload(end))
            log.warning("a late end of a run was recorded", run=end.stream, job=end.job_id, type=end.type)
            if not isinstance(end, LateResult) and (registered := self._jobs.get(end.job_id)) is not None:
                self._launcher.run_again(view, registered.job)
        if live is None:
            self._journal.forget(end.stream)


def _as_late_result(end: Event) -> LateResult:
    payload = _payload(end)
    kept = {name: payload[name] for name in LateResult.__struct_fields__ if name in payload}
    header: dict[str, Any] = {name: getattr(end, name) for name in _HEADER}
    return LateResult(outcome=_OUTCOMES[type(end)], **header, **kept)


def _payload(event: Event) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(event).items() if name not in _HEADER}


def _is_same(end: Event, recorded: Event) -> bool:
    """Whether an event of the log is this end: a kernel that was killed may have recorded it, and not forgotten it."""
    return type(end) is type(recorded) and _payload(end) == _payload(recorded)
