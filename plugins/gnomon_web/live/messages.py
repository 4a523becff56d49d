"""The messages of `/ws/live`, subprotocol `gnomon.live.v1`: JSON objects with their type in `t`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from gnomon.domain.eta import Eta
from gnomon.domain.records import LogLine
from gnomon.json_depth import MAX_DEPTH, is_text_too_deep
from gnomon_web.auth.roles import Access
from gnomon_web.live.tail import Position
from gnomon_web.resources.health import HealthReport

PROTOCOL = "gnomon.live.v1"

Reason = Literal["first", "gap", "lag", "other-log"]
Topic = Annotated[str, msgspec.Meta(pattern=r"^(overview|(run|log):[0-9a-f]{24}(:\d+)?)$")]
Topics: TypeAlias = Annotated[list[Topic], msgspec.Meta(max_length=32)]


class Hello(msgspec.Struct, frozen=True, tag_field="t", tag="hello"):
    """The first message: the position of the client, if it has one, and the topics that it shows."""

    log: str | None = None
    after: Position | None = None
    topics: Topics = []


class Ack(msgspec.Struct, frozen=True, tag_field="t", tag="ack"):
    """The client has applied everything up to `seq`."""

    seq: Position


class NewTopics(msgspec.Struct, frozen=True, tag_field="t", tag="topics"):
    """The topics that the client shows from now on."""

    topics: Topics


class Ping(msgspec.Struct, frozen=True, tag_field="t", tag="ping"):
    """A request for a pong."""


_decode = msgspec.json.Decoder(Hello | Ack | NewTopics | Ping).decode


def read_message(text: str) -> Hello | Ack | NewTopics | Ping:
    """Parse a message of a client; RecursionError for one that is nested too deeply."""
    message: Hello | Ack | NewTopics | Ping = _decode(text)
    if is_text_too_deep(text.encode()):
        raise RecursionError(f"nested deeper than {MAX_DEPTH} levels")
    return message


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="snapshot"):
    """What a dashboard shows first, as of `seq` or a little later. `totals` say how much there is of each.

    `contributed` are the tags of the calls that plugins add, such as `alerts`: a client asks only for what is there.
    Records may be ahead of `seq`: ignore an event whose version the record already has.
    """

    reason: Reason
    log: str
    seq: int
    now: datetime
    version: str
    role: Access
    actor: str
    contributed: list[str]
    totals: Any
    jobs: msgspec.Raw
    running: msgspec.Raw
    recent: msgspec.Raw
    health: HealthReport


class JobTotals(msgspec.Struct, frozen=True):
    """How many jobs there are, and how many of them are paused."""

    jobs: int
    paused: int


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="delta", omit_defaults=True):
    """The events up to `seq`, the jobs that they change, and the totals of jobs if one was added, removed or paused."""

    seq: int
    now: datetime
    events: msgspec.Raw
    jobs: list[Any]
    removed: list[str]
    totals: JobTotals | None = None
    resumed: bool = False


class LogLines(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="log"):
    """Lines of a run; the first of them has the number `first`, and older ones are no longer kept."""

    execution_id: str
    lines: list[LogLine]
    first: int


class HealthChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="health"):
    """The kernel's health, as /readyz answers it but for the lags."""

    health: HealthReport


class Etas(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="etas"):
    """How long runs still need, by id; null for one about which nothing is known any more.

    A client counts its ranges down from their `at`; one is sent again where that would no longer be right.
    """

    at: datetime
    etas: dict[str, Eta | None]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="heartbeat"):
    """The connection works, and nothing has happened."""

    seq: int
    now: datetime
    version: str


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="pong"):
    """The answer to a ping."""

    now: datetime
