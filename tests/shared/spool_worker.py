"""A worker of the spool runner: `python spool_worker.py SPOOL NAME QUEUE`. It takes one body after the other.

A body begins in the worker that creates its claim. What it reports is a line of JSON in its file of messages.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gnomon.domain.execution import Execution
from gnomon.jobs.body import make_body
from gnomon.jobs.job import Job
from gnomon.jobs.secrets import open_arguments
from gnomon.runners.base import Outcome
from gnomon.runners.calls import call_body
from gnomon.runners.context import Context, entered
from gnomon.runners.log_capture import install_capture
from gnomon.runners.orders import Answer, BodyOrder
from gnomon.runners.outcome import failure_outcome, success_outcome
from gnomon.runners.remote_orders import OrderAnswer, RemoteOrders

POLL_S = 0.01
FOLDERS = ("queue", "claims", "messages", "cancelled", "answers", "workers")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody sees half written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    now = time.time_ns()
    os.utime(draft, ns=(now, now))  # the time that a file system writes may be milliseconds old, and equal for two
    draft.rename(path)


def in_line(queue: Path) -> list[Path]:
    """Return the tasks in a queue, the oldest first; others may take them meanwhile."""
    found: list[tuple[int, Path]] = []
    for path in queue.iterdir():
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def claim(spool: Path, execution_id: str, holder: str) -> bool:
    """Claim a run; False where it has been claimed before."""
    try:
        descriptor = os.open(spool / "claims" / execution_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    os.write(descriptor, holder.encode())
    os.close(descriptor)
    return True


class Messages:
    """The messages of one run, and the sink of its context."""

    def __init__(self, spool: Path, execution_id: str) -> None:
        self._file = (spool / "messages" / execution_id).open("ab", buffering=0)
        self._lock = threading.Lock()
        self._number = 0

    def send(self, kind: str, **facts: Any) -> None:
        with self._lock:
            self._number += 1
            self._file.write(json.dumps({"n": self._number, "kind": kind, **facts}).encode() + b"\n")

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:
        self.send("report", fields=msgspec.to_builtins(fields))

    def flush_later(self, context: Context) -> None:
        timer = threading.Timer(0.25, context.flush)
        timer.daemon = True
        timer.start()

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        assert isinstance(context, SpoolContext)
        return context.orders.carry_out(order)


class SpoolContext(Context):
    """The context of a body in this process."""

    def __init__(self, execution: Execution, messages: Messages) -> None:
        super().__init__(execution, messages)
        self.messages = messages
        self.lines = 0
        self.orders = RemoteOrders(
            lambda number, order: messages.send("order", number=number, order=msgspec.to_builtins(order))
        )

    def log_line(
        self, level: str, text: str, logger: str, at: datetime | None = None, number: int | None = None
    ) -> None:
        text = text if self.mask is None else self.mask.hide(text)
        self.lines = number or self.lines + 1
        moment = (at or datetime.now(UTC)).isoformat()
        self.messages.send("log", number=self.lines, at=moment, level=level, text=text, logger=logger)


def run(spool: Path, name: str, task: dict[str, Any]) -> None:
    execution = msgspec.convert(task["execution"], Execution)
    messages = Messages(spool, execution.id)
    context = SpoolContext(execution, messages)
    messages.send("begun", worker=name, at=datetime.now(UTC).isoformat())
    with _watched(spool, context):
        outcome = _outcome(task["func"], execution, context)
    fields = msgspec.to_builtins(msgspec.structs.replace(outcome, exception=None))
    messages.send("ended", outcome=fields)


def _outcome(func: str, execution: Execution, context: Context) -> Outcome:
    started = time.monotonic()
    try:
        body = make_body(Job(id=execution.job_id, func=func, args=execution.args, kwargs=execution.kwargs))
    except Exception as exc:  # noqa: BLE001 - its module may raise anything
        failure = failure_outcome(exc, 0.0)
        return msgspec.structs.replace(failure, reason="unknown_function")
    try:
        args, kwargs, secrets = open_arguments(execution.args, execution.kwargs)
        context.hide(*secrets)
        with entered(context):
            value = call_body(body, args, kwargs, context)
        context.flush()
        return success_outcome(value, time.monotonic() - started, context.mask)
    except BaseException as exc:  # noqa: BLE001 - a body may raise anything
        context.flush()
        return failure_outcome(exc, time.monotonic() - started, context.mask)


@contextmanager
def _watched(spool: Path, context: SpoolContext) -> Iterator[None]:
    """Pass requests and answers to a body, and its signs of life on."""
    has_ended = threading.Event()

    def watch() -> None:
        told = context.last_sign_of_life
        while not has_ended.wait(POLL_S):
            if (spool / "cancelled" / context.execution_id).exists():
                context.request_cancel()
            if context.last_sign_of_life > told + 0.1:
                told = context.last_sign_of_life
                context.messages.send("alive")
            for number in context.orders.unanswered:
                path = spool / "answers" / f"{context.execution_id}.{number}"
                if path.exists():
                    context.orders.answered(number, msgspec.json.decode(path.read_bytes(), type=OrderAnswer))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        has_ended.set()
        watcher.join()


def main() -> None:
    spool, name, queue = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    install_capture()
    logging.getLogger().addHandler(logging.NullHandler())
    since = datetime.now(UTC).isoformat()
    while True:
        facts = {"name": name, "pid": os.getpid(), "queues": [queue], "since": since, "pool": "solo", "concurrency": 1}
        write_whole(spool / "workers" / name, json.dumps({**facts, "seen": datetime.now(UTC).isoformat()}).encode())
        for path in in_line(spool / "queue"):
            try:
                task = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue  # another worker has it
            if claim(spool, path.name, name):
                path.unlink(missing_ok=True)
                run(spool, name, task)
                break
            path.unlink(missing_ok=True)
        else:
            time.sleep(POLL_S)


if __name__ == "__main__":
    main()
