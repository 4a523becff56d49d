"""The messages between a kernel and the workers: JSON, in tasks, in the stream of the channel and in its answers.

A worker numbers the messages of each run from 1. It may post a batch twice, when the reply to the first attempt was
lost, and a kernel may read a message again after a restart; by the numbers both are recognised.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from gnomon.domain.body_sample import BodySample
from gnomon.domain.execution import Execution
from gnomon.runners.base import Snooze
from gnomon.runners.orders import BodyOrder, OrderFailure
from gnomon.runners.progress_fields import ProgressFields
from gnomon_celery.channel import Channel

PROTOCOL = 1
"""The version of these messages. It rises with a change that an older worker or kernel would misunderstand."""
TASK = "gnomon.run"
"""The name of the task; its argument is `assignment`."""
KILL = "gnomon_kill"
"""The name of the remote control command that kills a process of a pool; its argument is `process_id`."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker runs, and for how long. `channel` is the prefix of the log's keys; times are in seconds.

    `timeout` and `silence` are counted from the beginning of the body. The kernel enforces them, and so does the
    worker, because the kernel may be away.
    """

    protocol: int = PROTOCOL
    execution: Execution
    func: str
    channel: str
    claim_ttl: int
    result_ttl: int
    timeout: float | None = None
    silence: float | None = None
    cancel_grace: float = 10.0
    heartbeat: float = 5.0
    rate: float = 4.0
    log_level: int = 20


class _Id(msgspec.Struct):
    id: str


class _Addressed(msgspec.Struct):
    execution: _Id
    channel: str


def addressed(assignment: str) -> tuple[Channel, str]:
    """Return the channel of an assignment and the id of its execution, whatever the version of its protocol."""
    found = msgspec.json.decode(assignment, type=_Addressed)
    return Channel(found.channel), found.execution.id


class _Called(msgspec.Struct):
    func: str


def function_of(assignment: str) -> str:
    """Return the function of an assignment, "module:function", whatever the version of its protocol."""
    return msgspec.json.decode(assignment, type=_Called).func


class WorkerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What all messages of a worker have: the id of the execution and the number of the message.

    The number 0 stands for a message of the worker's parent process, which does not know the numbers of its child.
    """

    id: str
    n: int


class Begun(WorkerMessage, frozen=True, kw_only=True, tag="begun"):
    """A worker has claimed the run and is about to call its function. `code` is the version of its distribution."""

    worker: str
    at: datetime
    code: str | None = None


class Report(WorkerMessage, frozen=True, kw_only=True, tag="report"):
    """The body reported progress."""

    fields: ProgressFields


class Alive(WorkerMessage, frozen=True, kw_only=True, tag="alive"):
    """The body made context calls that reported nothing."""


class Line(msgspec.Struct, frozen=True):
    """A line that the body logged or printed; `number` counts the lines of the run from 1."""

    number: int
    at: datetime
    level: str
    text: str
    logger: str = ""


class Lines(WorkerMessage, frozen=True, kw_only=True, tag="log"):
    """Lines of the body, in order. The worker has hidden the secrets in them."""

    lines: list[Line]


class Ordered(WorkerMessage, frozen=True, kw_only=True, tag="order"):
    """An order of the body, which waits for the answer with this number: it counts the orders of the run from 1."""

    number: int
    order: BodyOrder


class Sampled(WorkerMessage, frozen=True, kw_only=True, tag="sampled"):
    """Answers the question with this token: where the body is in its code, and what its process uses."""

    token: str
    sample: BodySample


class Ended(WorkerMessage, frozen=True, kw_only=True, tag="ended"):
    """How the body ended. The fields are those of Outcome.

    `reason` is set where the worker knows the kind of failure: `unknown_function` for a body that it could not call,
    `timeout` and `silence` for one that it has stopped.
    """

    execution_time: float
    value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancelled: bool = False
    killed: bool = False
    snooze: Snooze | None = None
    reason: str | None = None


class Died(WorkerMessage, frozen=True, kw_only=True, tag="died"):
    """The process that took the task is gone, reported by its parent; `message` says how it ended.

    One that died before it had claimed the run has not begun its body: the task may be sent again.
    """

    worker: str
    message: str
    had_begun: bool = True


MessageOfWorker = Begun | Report | Alive | Lines | Ordered | Sampled | Ended | Died


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Answers an order: what the kernel returned, or its error."""

    number: int
    result: Any = None
    failure: OrderFailure | None = None


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker as it describes itself with each heartbeat. `active` has the ids of the executions that it runs.

    `pool` is the name of Celery's pool, `concurrency` the number of bodies that it runs at a time; `versions` has the
    versions of gnomon, celery, python, the protocol, and of the distributions whose functions it has run.
    """

    name: str
    node: str
    pid: int
    pool: str
    concurrency: int
    queues: list[str]
    active: list[str] = []
    processed: int = 0
    started_at: datetime
    versions: dict[str, str] = {}
    state: str = "online"


batch_decoder: msgspec.json.Decoder[list[MessageOfWorker]] = msgspec.json.Decoder(list[MessageOfWorker])
"""Decodes the field of an entry of the stream."""
message_decoder: msgspec.json.Decoder[MessageOfWorker] = msgspec.json.Decoder(MessageOfWorker)
"""Decodes one message, for a batch in which another one is not valid."""
answer_decoder: msgspec.json.Decoder[Answered] = msgspec.json.Decoder(Answered)
worker_decoder: msgspec.json.Decoder[WorkerInfo] = msgspec.json.Decoder(WorkerInfo)
