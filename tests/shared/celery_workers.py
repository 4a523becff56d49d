"""Celery workers as processes, and the other end of their channel: a test that speaks it as a kernel does."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import redis

from gnomon.conversion import Secret
from gnomon.domain.execution import Execution
from gnomon_celery.celery_app import make_app
from gnomon_celery.channel import ANSWER, CANCEL, Channel, process_of, worker_key
from gnomon_celery.config import CeleryConfig
from gnomon_celery.messages import (
    Answered,
    Assignment,
    Begun,
    Died,
    Ended,
    Lines,
    MessageOfWorker,
    Ordered,
    Report,
    WorkerInfo,
    batch_decoder,
    worker_decoder,
)
from servers import PATIENCE, START_PATIENCE

T = TypeVar("T")
M = TypeVar("M", bound=MessageOfWorker)

SHARED = Path(__file__).parent
CONFIG = """
[kernel]
python_path = [{shared}]

[plugins.celery]
broker = {broker}
channel = {channel}
{more}
"""


def until(look: Callable[[], T | None], what: str | Callable[[], str], patience: float = PATIENCE) -> T:
    """Return the first result that is true; `what` is waited for, or returns the words for it in the end."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {patience:g} s in vain for {what if isinstance(what, str) else what()}")


class CeleryWorker:
    """A worker, started as an operator starts it: `gnomon worker CONFIG`. Its output is in `log`."""

    def __init__(self, folder: Path, broker: str, channel: str | None = None, *, more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.channel_url = channel or broker
        self.config = folder / "worker.toml"
        texts = {"shared": SHARED, "broker": broker, "channel": self.channel_url}
        quoted = {name: msgspec.json.encode(str(text)).decode() for name, text in texts.items()}
        self.config.write_text(CONFIG.format(**quoted, more=more))
        self.log = folder / "worker.log"
        self.pool = "prefork"
        self.name = f"worker-{secrets.token_hex(3)}@test"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, environ: dict[str, str] | None = None) -> None:
        """Start it, and wait until it consumes."""
        arguments = [str(self.config), f"--name={self.name}", *options]
        self.start_command([sys.executable, "-m", "gnomon.cli", "worker", *arguments], environ)

    def start_command(self, command: list[str], environ: dict[str, str] | None = None) -> None:
        self.launch(command, environ)
        with redis.Redis.from_url(self.channel_url) as client:
            until(lambda: self._is_there(client), f"the worker to start:\n{self.log.read_text()}", START_PATIENCE)

    def launch(self, command: list[str], environ: dict[str, str] | None = None) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | (environ or {})
            )

    def _is_there(self, client: redis.Redis) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the worker ended:\n{self.log.read_text()}"
        try:
            return client.exists(worker_key("gnomon", self.name)) == 1
        except redis.ConnectionError:  # it has just been started, and loads its data
            return False

    def info(self) -> WorkerInfo | None:
        """Return what the worker says of itself."""
        with redis.Redis.from_url(self.channel_url) as client:
            found = client.get(worker_key("gnomon", self.name))
        return worker_decoder.decode(found) if isinstance(found, bytes) else None

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """Stop it as a supervisor does: its bodies end first."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


class KernelEnd:
    """Sends runs to workers and reads what they report, as a kernel does."""

    def __init__(self, broker: str, channel: str | None = None, **config: Any) -> None:
        self.redis = redis.Redis.from_url(channel or broker)
        self.channel = Channel.of_log("gnomon", secrets.token_hex(4))
        settings = CeleryConfig(broker=Secret(broker), channel=Secret(channel or broker), **config)
        self.app = make_app(settings, sends_only=True)
        self.messages: list[MessageOfWorker] = []
        self._read = "0"

    def close(self) -> None:
        self.redis.close()
        self.app.close()

    def assignment(self, body: str, /, kwargs: dict[str, Any] | None = None, **given: Any) -> Assignment:
        now = datetime.now(UTC)
        execution = Execution(
            id=secrets.token_hex(12),
            job_id="job",
            status="scheduled",
            scheduled_time=now,
            timestamp=now,
            updated_at=now,
            kwargs=kwargs or {},
        )
        prefix = self.channel.prefix
        keys: dict[str, Any] = {
            "func": f"worker_bodies:{body}",
            "channel": prefix,
            "claim_ttl": 3600,
            "result_ttl": 3600,
        }
        return Assignment(execution=execution, **(keys | given))

    def send(self, assignment: Assignment, **options: Any) -> str:
        execution_id = assignment.execution.id
        text = msgspec.json.encode(assignment).decode()
        self.app.send_task("gnomon.run", kwargs={"assignment": text}, task_id=execution_id, **options)
        return execution_id

    def run(self, body: str, /, kwargs: dict[str, Any] | None = None, **given: Any) -> Ended:
        """Send a run and wait until it has ended."""
        return self.ended(self.send(self.assignment(body, kwargs, **given)))

    def of(self, execution_id: str, kind: type[M]) -> list[M]:
        """Return the messages of a run, each once, as a kernel counts them."""
        self.read()
        found = {(m.n, repr(m)): m for m in self.messages if m.id == execution_id and isinstance(m, kind)}
        return sorted(found.values(), key=lambda message: message.n)

    def read(self) -> None:
        entries: Any = self.redis.xread({self.channel.stream: self._read})
        for _, items in entries or []:
            for entry, fields in items:
                self._read = entry.decode()
                self.messages += batch_decoder.decode(fields[b"m"])

    def first(self, execution_id: str, kind: type[M]) -> M:
        return until(lambda: self.of(execution_id, kind), f"{kind.__name__} of {execution_id}")[0]

    def begun(self, execution_id: str) -> Begun:
        return self.first(execution_id, Begun)

    def ended(self, execution_id: str) -> Ended:
        return self.first(execution_id, Ended)

    def died(self, execution_id: str) -> Died:
        return self.first(execution_id, Died)

    def lines(self, execution_id: str) -> list[tuple[str, str, str]]:
        """Return the level, the text and the logger of each line of a run."""
        lines = [line for message in self.of(execution_id, Lines) for line in message.lines]
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        return [(line.level, line.text, line.logger) for line in lines]

    def reports(self, execution_id: str) -> list[dict[str, Any]]:
        return [dict(report.fields) for report in self.of(execution_id, Report)]

    def cancel(self, execution_id: str) -> None:
        self.redis.eval(CANCEL, 1, self.channel.cancel, execution_id, 60)

    def ordered(self, execution_id: str) -> Ordered:
        return self.first(execution_id, Ordered)

    def answer(self, execution_id: str, answered: Answered) -> None:
        key = self.channel.answer(execution_id, answered.number)
        self.redis.eval(ANSWER, 1, key, msgspec.json.encode(answered), 60)

    def process_of(self, execution_id: str) -> int:
        """Return the id of the process that runs a body."""
        claim: Any = self.redis.get(self.channel.claim(execution_id))
        process = process_of(claim.decode())
        assert process is not None
        return process


def has_lines(path: Path, count: int = 1) -> bool:
    """Whether bodies have left so many lines in a file."""
    return path.exists() and len(path.read_text().splitlines()) >= count
