"""Bodies elsewhere that outlive kernels, as a test plays them, and bodies here that end when their test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from elsewhere_runner import ElsewherePlugin
from gnomon import Context, Job, Kernel
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.testing import EventList, RecordingStore, VirtualClock, make_kernel

WORKER = "worker@host"
CODE = "reports 1.4.2"


def run_of(job_id: str = "job", **keys: Any) -> Job:
    return Job(**{"id": job_id, "func": "gc:collect", "runner": "elsewhere", **keys})


class Elsewhere:
    """What runs bodies, and outlives kernels: it claims each id once."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.claims: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.ends: dict[str, Outcome] = {}
        self.runs: dict[str, Run] = {}
        self.changed = asyncio.Event()

    def note(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def claim(self, execution_id: str, by: str) -> bool:
        won = self.claims.setdefault(execution_id, by) == by
        self.note()
        return won

    def begin(self, execution_id: str, at: datetime | None = None) -> None:
        assert self.claim(execution_id, WORKER)
        run = self.runs[execution_id]
        assert run.placement is not None
        run.placement.begun(WORKER, at or datetime.now(UTC), CODE)

    def end(self, execution_id: str, value: Any = None, **fields: Any) -> None:
        self.ends[execution_id] = Outcome(fields.pop("execution_time", 1.0), value, **fields)
        self.note()


class RemoteRunner(Runner):
    """Sends runs to Elsewhere."""

    name = "elsewhere"
    is_remote = True

    def __init__(self, elsewhere: Elsewhere) -> None:
        self.elsewhere = elsewhere

    def queue_of(self, job: Job) -> str:
        return str(job.options.get("queue", "default"))

    async def run(self, run: Run) -> Outcome:
        there, run_id = self.elsewhere, run.execution.id
        there.runs[run_id] = run
        if run_id not in there.claims:
            there.sent.append(run_id)
        there.note()
        while run_id not in there.ends:
            if there.claims.get(run_id) == "withdrawn":
                return Outcome(0.0, cancelled=True)
            if there.claims.get(run_id) == WORKER and run.placement is not None:
                run.placement.begun(WORKER, datetime.now(UTC))
            await there.changed.wait()
        return there.ends[run_id]

    def withdraw(self, execution_id: str) -> None:
        self.elsewhere.claim(execution_id, "withdrawn")

    def cancel(self, execution_id: str) -> None:
        self.elsewhere.cancelled.add(execution_id)
        self.elsewhere.note()


class OneLog:
    """One log, what runs bodies elsewhere, and the kernels that come one after the other."""

    def __init__(self, clock: VirtualClock, events: EventList) -> None:
        self.clock = clock
        self.events = events
        self.there = Elsewhere()
        self.store = RecordingStore(events)

    def kernel(self, *jobs: Job, runner: Runner | None = None, **settings: Any) -> Kernel:
        """Return the next kernel. `runner` stands in the place of the one that sends runs elsewhere."""
        plugins = settings.pop("plugins", [ElsewherePlugin(runner or RemoteRunner(self.there))])
        self.there.runs.clear()  # they belong to the kernel before
        return make_kernel(*jobs, clock=self.clock, store=self.store, plugins=plugins, **settings)

    async def until(self, fact: Callable[[], object]) -> None:
        await self.clock.until(fact)

    async def triggered(self, kernel: Kernel, **given: Any) -> str:
        return (await kernel.trigger("job", **given)).execution.id

    async def handed_over(self, kernel: Kernel, *, begins: bool = False, **given: Any) -> str:
        """Trigger the job, and wait until its run is elsewhere, and has begun there if it `begins`."""
        run_id = await self.triggered(kernel, **given)
        await self.until(lambda: run_id in self.there.sent)
        if begins:
            self.there.begin(run_id, self.clock.now())
        return run_id

    async def left(self, job: Job, *, begins: bool = False, **settings: Any) -> str:
        """Run a kernel that hands a run over, and stops; return the run."""
        async with self.kernel(job, **settings) as kernel:
            return await self.handed_over(kernel, begins=begins)


# --- bodies here ---


class Held:
    """The bodies in this process that have begun, by their runs, until their test lets them end."""

    def __init__(self) -> None:
        self.runs: dict[str, asyncio.Future[str]] = {}
        self.began: list[str] = []

    def end(self, execution_id: str, error: Exception | None = None) -> None:
        future = self.runs.pop(execution_id)
        if error is None:
            future.set_result("here")
        else:
            future.set_exception(error)


held = Held()


async def hold(ctx: Context) -> str:
    """Wait until the test ends this run: the same function as a body here, and of a job elsewhere."""
    held.began.append(ctx.execution_id)
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    held.runs[ctx.execution_id] = future
    try:
        return await future
    finally:
        held.runs.pop(ctx.execution_id, None)
