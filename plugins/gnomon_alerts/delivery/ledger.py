"""Which alerts of the book each channel has sent, and when. It is saved as a checkpoint.

The alerts themselves are folded once, in the book. A channel has a position, up to which it has noted the alerts that
are its own, and for each of these the time of the last message about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from gnomon import Checkpoint
from gnomon.outbox.destination import Refusal
from gnomon.wire.alerts import Alert
from gnomon_alerts.book import Book

CHECKPOINT = "alerts:delivery"
VERSION = 2
"""Version of the bytes of the checkpoint. Increase it when they change in a way that other versions misread."""


class ChannelRecord(msgspec.Struct):
    """What a channel has sent, and how its messages were received.

    Of the alerts that opened up to `position`, `told` has those that the channel has to know of, and when it accepted
    the last message about each, None before the first one. `last_sent` has the times of the last messages by their
    groups, as long as they delay the next ones. `refused` counts the messages that were refused since the last accepted
    one. `problem` is that of the last attempt.
    """

    position: int
    told: dict[str, datetime | None] = {}
    last_sent: dict[str, datetime] = {}
    accepted_at: datetime | None = None
    refused: int = 0
    refusal: Refusal | None = None
    problem: str | None = None

    def note(self, book: Book, is_own: Callable[[Alert], bool]) -> bool:
        """Note the alerts that have opened since; return whether there were any, own or not."""
        fresh = list(book.opened_after(self.position))
        self.position = max(self.position, book.position)
        for alert in fresh:
            if not alert.backdated and is_own(alert):
                self.told[alert.id] = None
        return bool(fresh)

    def settle(self, group: str, sent: Iterable[Alert], now: datetime, interval: timedelta) -> None:
        """Note that a message about these alerts, as they were then, needs no further attempt."""
        for alert in sent:
            if alert.resolved_at is not None:
                self.told.pop(alert.id, None)
            elif alert.id in self.told:
                self.told[alert.id] = now
        self.last_sent = {name: at for name, at in self.last_sent.items() if now - at < interval} | {group: now}

    def waiting(self, alerts: Mapping[str, Alert]) -> int:
        """Return how many alerts have opened or ended without a message about that."""
        known = ((alerts.get(alert_id), told_at) for alert_id, told_at in self.told.items())
        return sum(alert is not None and (told is None or alert.resolved_at is not None) for alert, told in known)


class Ledger(msgspec.Struct):
    """The records of all channels, by their names."""

    channels: dict[str, ChannelRecord] = {}
    version: int = VERSION


def to_checkpoint(ledger: Ledger) -> Checkpoint:
    """Return a ledger as a checkpoint."""
    position = min((one.position for one in ledger.channels.values()), default=0)
    return Checkpoint(position, msgspec.json.encode(ledger))


def from_checkpoint(checkpoint: Checkpoint) -> Ledger:
    """Return the ledger of a checkpoint; ValueError where it cannot be read."""
    version = msgspec.json.decode(checkpoint.view or b"", type=_Version).version
    if version != VERSION:
        raise ValueError(f"it was written by another Gnomon: version {version}, this one knows {VERSION}")
    return msgspec.json.decode(checkpoint.view or b"", type=Ledger)


class _Version(msgspec.Struct):
    version: int
