"""Ends of runs that an earlier leader could not append, recorded by the next one."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.testing.histories import append, extend, running
from gnomon.testing.kernels import RecordingStore, make_kernel


class LateStore(RecordingStore):
    """Has ends of runs that were handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[Event] = []

    async def late_ends(self) -> list[Event]:
        return list(self.late)

    async def forget_late_ends(self, ends: Sequence[Event]) -> None:
        self.late = [one for one in self.late if one not in ends]


async def test_an_end_that_two_leaders_could_not_record_is_recorded_once() -> None:
    store = LateStore()
    lost = extend(running(), events.Failed, reason="lost")
    async with store:
        await append(store, lost)
    # The body ended while its kernel was cut off. The next leader recorded that, and was deposed before it was durable.
    end = extend(running(), events.Succeeded, execution_time=0.3, return_value="done")[-1]
    recorded = extend(lost, events.LateResult, outcome="succeeded", execution_time=0.3, return_value="done")[-1]
    store.late = [end, recorded]

    async with make_kernel(store=store) as kernel:
        history = await kernel.history(lost[0].stream)

    assert [event.type for event in history] == ["scheduled", "started", "failed", "late_result"]
    assert store.late == []
