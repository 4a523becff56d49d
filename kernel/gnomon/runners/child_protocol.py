"""What a process body and its kernel say to each other: one JSON object on a line, both ways."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

import msgspec

from gnomon.domain.events import DeclaredStep
from gnomon.domain.execution import Execution


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag="assignment"):
    """The first line that a child gets: what it is to run. Limits are in bytes and in seconds of processor time."""

    execution: Execution
    func: str
    path: list[str]
    rate: float
    memory: int | None = None
    cpu: float | None = None
    log_level: int = 20


class CancelOrder(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop: the next context call of the body raises RunCancelled."""


class ProgressFields(TypedDict, total=False):
    """The payload of a progress event; what is left out was not told."""

    percent: float
    message: str
    step: str
    current_item: str
    processed_items: int
    total_items: int
    steps: list[DeclaredStep]
    skipped: list[str]


class Told(msgspec.Struct, frozen=True, tag="told"):
    """Something that the body told of its progress."""

    fields: ProgressFields


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """The body made a context call that told nothing else."""


class Logged(msgspec.Struct, frozen=True, tag="logged"):
    """A log line of the body."""

    at: datetime
    level: str
    text: str
    logger: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The last line of a child: how its body ended."""

    execution_time: float
    value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancelled: bool = False


ToChild = Assignment | CancelOrder
ToKernel = Told | Alive | Logged | Ended

to_child: msgspec.json.Decoder[ToChild] = msgspec.json.Decoder(ToChild)
to_kernel: msgspec.json.Decoder[ToKernel] = msgspec.json.Decoder(ToKernel)


def line(message: msgspec.Struct) -> bytes:
    """Write a message."""
    return msgspec.json.encode(message) + b"\n"
