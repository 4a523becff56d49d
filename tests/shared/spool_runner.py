"""A small remote runner for tests: the queue, the claims and the messages are files in a folder, the spool."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

import spool_worker
from gnomon.domain.execution import Execution
from gnomon.domain.workers import QueueState, WorkerState, WorkerView
from gnomon.jobs.job import Job
from gnomon.runners.base import DurableLog, Outcome, Run, Runner
from gnomon.runners.orders import AddJobOrder, OrderFailure, TriggerOrder
from gnomon.runners.progress_fields import ProgressFields
from gnomon.runners.remote_orders import OrderAnswer
from spool_worker import FOLDERS, POLL_S, claim, write_whole

QUEUE = "spool"


class SpoolRunner(Runner):
    """Hands bodies over through a folder. Each run is polled by its own task."""

    name = "spool"
    is_remote = True

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        for folder in FOLDERS:
            (spool / folder).mkdir(parents=True, exist_ok=True)

    async def run(self, run: Run) -> Outcome:
        self.send(run)
        return await self.follow(run)

    def send(self, run: Run) -> None:
        """Put a run into the queue, unless it has been claimed; sent twice, it begins once."""
        if not self._is_claimed(run.execution.id):
            task = {"execution": msgspec.to_builtins(run.execution), "func": run.body.child_target}
            write_whole(self.spool / "queue" / run.execution.id, msgspec.json.encode(task))

    async def follow(self, run: Run) -> Outcome:
        """Receive the messages of a run until its end."""
        seen, answering = 0, set[asyncio.Task[None]]()
        while True:
            if self._holder(run.execution.id) == "withdrawn":
                return Outcome(0.0, cancelled=True)
            for message in self.messages(run.execution.id)[seen:]:
                seen += 1
                if message["kind"] == "ended":
                    return msgspec.convert(message["outcome"], Outcome)
                if message["kind"] == "order":
                    answering.add(asyncio.ensure_future(self.answer(run, message)))
                else:
                    self.receive(run, message)
            await asyncio.sleep(POLL_S)

    def receive(self, run: Run, message: dict[str, Any]) -> None:
        """Pass a message of a body on to the kernel."""
        assert run.placement is not None
        match message["kind"]:
            case "begun":
                run.placement.begun(message["worker"], datetime.fromisoformat(message["at"]))
            case "report":
                run.context.report({**msgspec.convert(message["fields"], ProgressFields)})
            case "log":
                at = datetime.fromisoformat(message["at"])
                run.context.log_line(message["level"], message["text"], message["logger"], at, message["number"])
            case "alive":
                run.context.report({})

    def messages(self, execution_id: str) -> list[dict[str, Any]]:
        """Return the whole messages of a run so far."""
        path = self.spool / "messages" / execution_id
        content = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in content.split(b"\n")[:-1]]

    async def answer(self, run: Run, message: dict[str, Any]) -> None:
        path = self.spool / "answers" / f"{run.execution.id}.{message['number']}"
        if path.exists():
            return  # an earlier kernel has answered
        try:
            order = msgspec.convert(message["order"], TriggerOrder | AddJobOrder)
            answer = OrderAnswer(await run.context.give(order))
        except Exception as exc:  # noqa: BLE001 - the body waits for an answer
            answer = OrderAnswer(failure=OrderFailure.of(exc))
        write_whole(path, msgspec.json.encode(answer))

    def cancel(self, execution_id: str) -> None:
        (self.spool / "cancelled" / execution_id).touch()

    def withdraw(self, execution_id: str) -> None:
        claim(self.spool, execution_id, "withdrawn")

    def adopt(self, execution: Execution) -> bool:
        return True

    def queue_of(self, job: Job) -> str:
        return QUEUE

    @contextlib.asynccontextmanager
    async def lifespan(self, durable_log: DurableLog) -> AsyncIterator[None]:
        yield

    async def workers(self) -> WorkerView:
        found = [
            msgspec.json.decode(path.read_bytes(), type=WorkerState)
            for path in (self.spool / "workers").iterdir()
            if not path.name.startswith(".")
        ]
        queue = QueueState(name=QUEUE, workers=len(found), length=len(list((self.spool / "queue").iterdir())))
        return WorkerView(workers=found, queues=[queue])

    def _holder(self, execution_id: str) -> str | None:
        path = self.spool / "claims" / execution_id
        return path.read_text() if path.exists() else None

    def _is_claimed(self, execution_id: str) -> bool:
        return self._holder(execution_id) is not None


@contextlib.contextmanager
def spool_workers(spool: Path, number: int = 2) -> Iterator[None]:
    """Run workers for as long as the block lasts; they take bodies when it begins."""
    for folder in FOLDERS:
        (spool / folder).mkdir(parents=True, exist_ok=True)
    names = [f"worker-{n}" for n in range(1, number + 1)]
    command = [sys.executable, spool_worker.__file__, str(spool)]
    processes = [subprocess.Popen([*command, name, QUEUE]) for name in names]
    try:
        while not all((spool / "workers" / name).exists() for name in names):
            assert all(process.poll() is None for process in processes), "a worker could not start"
            time.sleep(POLL_S)
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
