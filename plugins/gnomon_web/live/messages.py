"""What goes over `/ws/live`, subprotocol `gnomon.live.v1`: JSON objects, whose `t` says what each is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from gnomon.domain.records import LogLine
from gnomon.durations import encode_hook
from gnomon_web.live.tail import Position
from gnomon_web.roles import Access

PROTOCOL = "gnomon.live.v1"

Reason = Literal["first", "gap", "lag", "other-log"]
Topic = Annotated[str, msgspec.Meta(pattern=r"^(overview|(run|log):[0-9a-f]{24})$")]
Topics: TypeAlias = Annotated[list[Topic], msgspec.Meta(max_length=32)]


class Hello(msgspec.Struct, frozen=True, tag_field="t", tag="hello"):
    """The first message: what the client has got, if anything, and what it looks at."""

    log: str | None = None
    after: Position | None = None
    topics: Topics = []


class Ack(msgspec.Struct, frozen=True, tag_field="t", tag="ack"):
    """Everything up to `seq` has been applied."""

    seq: Position


class NewTopics(msgspec.Struct, frozen=True, tag_field="t", tag="topics"):
    """What the client looks at from now on."""

    topics: Topics


class Ping(msgspec.Struct, frozen=True, tag_field="t", tag="ping"):
    """A question whether anybody is there."""


read_message = msgspec.json.Decoder(Hello | Ack | NewTopics | Ping).decode


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="snapshot"):
    """Everything that a dashboard shows, as of `seq` or a little later.

    Records may be ahead of `seq`: an event whose version a record has already says nothing new.
    """

    reason: Reason
    log: str
    seq: int
    now: datetime
    version: str
    role: Access
    actor: str
    jobs: msgspec.Raw
    running: msgspec.Raw
    recent: msgspec.Raw
    health: msgspec.Raw


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="delta", omit_defaults=True):
    """What has happened up to `seq`, and the jobs that look different by it."""

    seq: int
    now: datetime
    events: msgspec.Raw
    jobs: list[Any]
    removed: list[str]
    resumed: bool = False


class LogLines(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="log"):
    """Lines of a run, the first of which has the number `first`; older ones than the first that comes are gone."""

    execution_id: str
    lines: list[LogLine]
    first: int


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="heartbeat"):
    """All is well, and nothing has happened."""

    seq: int
    now: datetime
    version: str


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag="pong"):
    """The answer."""

    now: datetime


write_message = msgspec.json.Encoder(enc_hook=encode_hook).encode
