"""The workers and queues of the runners whose bodies run elsewhere: a view for callers, and a watch for health."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from gnomon.domain.workers import QueueState, WorkerView
from gnomon.engine.active_run import ActiveRun
from gnomon.engine.queue_outages import QueueOutages
from gnomon.engine.supervisor import Supervisor
from gnomon.ports import Clock
from gnomon.runners.base import Runner
from gnomon.safe_text import safe_str, type_name

ANSWER_LIMIT_S = 5.0
"""Seconds in which a runner must answer who its workers are."""
LOOK_INTERVAL_S = 5.0
PATIENCE = timedelta(seconds=15)
"""How long a run may wait in a queue without a worker before that is a problem: workers may be starting, too."""


class WorkerWatch:
    """Looks at the workers of remote runners now and then; `problem` names the runs that no worker will take."""

    def __init__(self, supervisor: Supervisor, clock: Clock, queues: QueueOutages) -> None:
        self.problem: str | None = None
        self._runners = [runner for runner in supervisor.runners.values() if runner.is_remote]
        self._supervisor = supervisor
        self._clock = clock
        self._queues = queues

    async def run(self) -> None:
        """Read the view until cancelled: a component of the kernel. In real time: workers are real on any clock."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            self._queues.settle()
            if self._runners:
                view = await read_workers(self._runners, self._supervisor.bodies)
                self.problem = "; ".join((*self._lacking(view), *view.problems)) or None

    def _lacking(self, view: WorkerView) -> Iterator[str]:
        for queue in view.queues:
            waited = self._clock.now() - queue.oldest if queue.oldest is not None else timedelta()
            if queue.problem is not None and waited >= PATIENCE:
                yield queue.problem


async def read_workers(runners: Iterable[Runner], bodies: Iterable[ActiveRun]) -> WorkerView:
    """Return the workers and queues of all runners, in the order of their names; `bodies` are the live runs."""
    views = await asyncio.gather(*map(_read, runners))
    workers = sorted((one for view in views for one in view.workers), key=lambda one: (one.runner, one.name))
    queues = {(one.runner, one.name): one for view in views for one in view.queues}
    for active in bodies:
        execution = active.execution
        if execution.status == "scheduled" and execution.queue is not None and execution.handed_over_at is not None:
            key = (active.runner.name, execution.queue)
            queue = queues.get(key) or QueueState(runner=key[0], name=key[1])
            queues[key] = _with_run(queue, execution.handed_over_at)
    problems = [problem for view in views for problem in view.problems]
    return WorkerView(workers=workers, queues=[queues[key] for key in sorted(queues)], problems=problems)


def _with_run(queue: QueueState, since: datetime) -> QueueState:
    """Return a queue in which one more run waits."""
    oldest = since if queue.oldest is None else min(queue.oldest, since)
    return replace(queue, waiting=queue.waiting + 1, oldest=oldest)


async def _read(runner: Runner) -> WorkerView:
    """Return what a runner reports, under its name; a runner that fails or hangs is a problem of the view."""
    try:
        # In real time: it asks a server, where a test moves the kernel's clock.
        async with asyncio.timeout(ANSWER_LIMIT_S):
            view = await runner.workers()
    except TimeoutError:
        return _failed(runner, f"no answer within {ANSWER_LIMIT_S:g} s")
    except Exception as exc:  # noqa: BLE001 - the runner is a plugin's: whatever it raises must not hide the others
        return _failed(runner, safe_str(exc) or type_name(exc))
    if view is None:
        return WorkerView()
    return WorkerView(
        workers=[replace(one, runner=runner.name) for one in view.workers],
        queues=[replace(one, runner=runner.name) for one in view.queues],
        problems=[f"runner {runner.name!r}: {problem}" for problem in view.problems],
    )


def _failed(runner: Runner, problem: str) -> WorkerView:
    return WorkerView(problems=[f"the workers of runner {runner.name!r} cannot be listed: {problem}"])
