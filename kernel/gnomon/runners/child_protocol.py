"""The messages between a process body and its kernel: JSON objects, sent in frames of one line each.

The pipe to the kernel is shared by all processes that the body forks. A frame fits into one atomic write to a pipe and
starts with the process id of its sender, so that the messages of several processes can interleave.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from gnomon.domain.body_sample import BodySample
from gnomon.domain.execution import Execution
from gnomon.runners.base import Snooze
from gnomon.runners.orders import BodyOrder, OrderFailure
from gnomon.runners.progress_fields import ProgressFields
from gnomon.runners.remote_orders import MESSAGE_LIMIT

SENDERS_LIMIT = 64
"""Processes whose messages may be incomplete at the same time."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag="assignment"):
    """The first message to a child: what it runs. Limits are in bytes and in seconds of CPU time."""

    execution: Execution
    func: str
    rate: float
    memory: int | None = None
    cpu: float | None = None
    log_level: int = 20


class CancelRequest(msgspec.Struct, frozen=True, tag="cancel"):
    """Makes the next context call of the body raise RunCancelled."""


class SecretsHidden(msgspec.Struct, frozen=True, tag="hidden"):
    """Answers SecretsRead: from now on the kernel hides these secrets in what the child prints."""


class OrderAnswered(msgspec.Struct, frozen=True, tag="answered"):
    """Answers OrderSent: what the kernel returned, or its error."""

    number: int
    result: Any = None
    failure: OrderFailure | None = None


class SampleRequest(msgspec.Struct, frozen=True, tag="sample"):
    """Asks where the body is in its code; the answer has the same number."""

    number: int


class Sampled(msgspec.Struct, frozen=True, tag="sampled"):
    """Answers SampleRequest."""

    number: int
    sample: BodySample


class ProgressReport(msgspec.Struct, frozen=True, tag="progress"):
    """The body reported progress."""

    fields: ProgressFields


class SignOfLife(msgspec.Struct, frozen=True, tag="alive"):
    """The body made context calls that reported nothing."""


class LogRecord(msgspec.Struct, frozen=True, tag="log"):
    """A log line of the body."""

    at: datetime
    level: str
    text: str
    logger: str


class SecretsRead(msgspec.Struct, frozen=True, tag="secrets"):
    """The secrets among the arguments. The body is called when the kernel has answered: it may print them."""

    secrets: list[str]


class OrderSent(msgspec.Struct, frozen=True, tag="order"):
    """An order of the body, which waits for the answer with this number."""

    number: int
    order: BodyOrder


class Result(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """The last message of a child: how its body ended. The fields are those of Outcome."""

    execution_time: float
    value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancelled: bool = False
    snooze: Snooze | None = None


MessageToChild = Assignment | CancelRequest | SecretsHidden | OrderAnswered | SampleRequest
MessageToKernel = ProgressReport | SignOfLife | LogRecord | SecretsRead | OrderSent | Sampled | Result

to_child: msgspec.json.Decoder[MessageToChild] = msgspec.json.Decoder(MessageToChild)
to_kernel: msgspec.json.Decoder[MessageToKernel] = msgspec.json.Decoder(MessageToKernel)


def encode_to_child(message: MessageToChild) -> bytes:
    """Return a message as one line; only the kernel writes to a child, so it needs no frames."""
    return msgspec.json.encode(message) + b"\n"


def frames(message: MessageToKernel) -> Iterator[bytes]:
    """Yield the frames of a message: `PID + DATA` while more follow, `PID . DATA` for the last, each with a newline."""
    data = msgspec.json.encode(message)
    sender = str(os.getpid()).encode()
    size = select.PIPE_BUF - len(sender) - 4
    for start in range(0, len(data), size):
        mark = b" + " if start + size < len(data) else b" . "
        yield sender + mark + data[start : start + size] + b"\n"


class FrameDecoder:
    """Puts the messages of a child, and of the processes that it forked, together again."""

    def __init__(self) -> None:
        self._incomplete: dict[bytes, bytes] = {}

    def feed(self, frame: bytes) -> MessageToKernel | None:
        """Return the message that this frame completes, if any; ValueError for what is not a frame or a message."""
        sender, mark, data = [*frame.split(b" ", 2), b"", b""][:3]
        data = self._incomplete.pop(sender, b"") + data
        if mark == b".":
            return to_kernel.decode(data)
        if mark != b"+" or len(data) > MESSAGE_LIMIT or len(self._incomplete) >= SENDERS_LIMIT:
            raise ValueError(f"expected a frame of a message, got {frame[:80]!r}")
        self._incomplete[sender] = data
        return None
