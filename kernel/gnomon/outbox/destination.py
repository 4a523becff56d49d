"""Where messages go, and what is known about it: how far it has received the log, what it refused, what is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gnomon.domain.events import Event
from gnomon.durations import Duration

DEFAULT_TIMEOUT = Duration(seconds=30)
DEFAULT_PAUSE = Duration(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A receiver of messages about events, such as a chat, a pager or a queue.

    `wants` chooses the events; it is called with every event, sometimes twice, and changes nothing. `send` delivers one
    of them and returns when the receiver has accepted it. An `async def` must not block; a `def` is called in a thread.
    What it raises decides: after DeliveryRefusedError the event is not sent again. After anything else, and after
    `timeout`, it is sent again, after pauses that double up to `longest_pause`, or the `after_s` of a
    DeliveryDelayedError where that is longer. With `give_up_after` an event that is older than that counts as refused
    when an attempt fails.
    """

    name: str
    send: Callable[[Event], Awaitable[None] | None]
    wants: Callable[[Event], bool]
    timeout: Duration = DEFAULT_TIMEOUT
    longest_pause: Duration = DEFAULT_PAUSE
    give_up_after: Duration | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A message that a destination refused: the position of its event, when, and why."""

    position: int
    at: datetime
    problem: str


class DeliveryRecord(msgspec.Struct):
    """What the log's store keeps of a destination: the position up to which everything was sent, and refusals.

    `refused` counts the messages that were refused since the last one that was accepted, `refusal` is the newest.
    """

    position: int
    refused: int = 0
    refusal: Refusal | None = None


class DestinationHealth(msgspec.Struct, frozen=True):
    """How a destination is doing: `problem` is a sentence or None, `failures` counts failed attempts in a row."""

    name: str
    position: int
    problem: str | None = None
    failures: int = 0
    refused: int = 0
    refusal: Refusal | None = None
