"""Workers and queues elsewhere: who runs bodies for a kernel on other machines, and what waits for them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

WorkerLife = Literal["online", "stopping", "gone"]
"""`stopping` takes no more bodies and lets those that it runs end; `gone` has given no sign of life for too long."""


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A process elsewhere that runs bodies.

    `name` is unique among the workers of a `runner`, which the kernel fills in. `active` of `concurrency` bodies run;
    `queues` are those that it takes bodies from. `versions` names the software of the process, such as
    `{"gnomon": "1.0", "python": "3.13.1"}`. `since` is its start and `seen` its last sign of life. A worker that has
    stopped in order is not listed.
    """

    name: str
    runner: str = ""
    node: str = ""
    pid: int | None = None
    state: WorkerLife = "online"
    pool: str = ""
    concurrency: int | None = None
    active: int = 0
    queues: list[str] = []
    versions: dict[str, str] = {}
    since: datetime | None = None
    seen: datetime | None = None


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """A queue through which a runner hands bodies to workers.

    `workers` that are online take bodies from it. `length` is the number of messages in it, of all senders; None where
    that cannot be read. The kernel fills in `runner`, and what its log knows: `waiting` runs were handed over and have
    not begun, the `oldest` of them at that time.
    """

    name: str
    runner: str = ""
    workers: int = 0
    length: int | None = None
    waiting: int = 0
    oldest: datetime | None = None

    @property
    def problem(self) -> str | None:
        """A sentence about runs that wait here although no worker will take them, with the next step; else None."""
        if self.workers or not self.waiting:
            return None
        waiting = "1 run waits" if self.waiting == 1 else f"{self.waiting} runs wait"
        return (
            f"{waiting} in queue {self.name!r} of runner {self.runner!r}, and no worker takes bodies from it: "
            "start a worker with this queue"
        )


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """The workers and queues of the runners whose bodies run elsewhere.

    `problems` are sentences about what could not be read. All lists are empty where every body runs with the kernel.
    """

    workers: list[WorkerState] = []
    queues: list[QueueState] = []
    problems: list[str] = []


def all_problems(view: WorkerView) -> list[str]:
    """Return a sentence for each queue in which runs wait for a worker that is not there, and what cannot be read."""
    return [*(queue.problem for queue in view.queues if queue.problem is not None), *view.problems]
