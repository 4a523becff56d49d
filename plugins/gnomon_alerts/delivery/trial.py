"""A test notification: one attempt, and what came back."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from datetime import UTC, datetime
from typing import NamedTuple, cast

from gnomon import DeliveryRefusedError
from gnomon.outbox.attempts import describe_failure
from gnomon.safe_text import safe_str
from gnomon.threads import in_thread
from gnomon_alerts.delivery.config import Channel
from gnomon_alerts.delivery.message import Message, Surroundings, compose_test
from gnomon_alerts.delivery.senders import Send, sender_of


class Trial(NamedTuple):
    """The outcome of a test notification, as a sentence."""

    is_accepted: bool
    text: str


async def try_channel(channel: Channel, node: str | None = None) -> Trial:
    """Send a test notification to a channel, once."""
    message = compose_test(channel.name, Surroundings(node or socket.gethostname(), ""), datetime.now(UTC))
    limit_s, began = channel.timeout.total_seconds(), time.monotonic()
    name = f"channel {channel.name} ({channel.kind})"
    try:
        async with asyncio.timeout(limit_s):
            answer = await _sent(sender_of(channel), message)
    except DeliveryRefusedError as exc:
        return Trial(False, f"{name} refused the test: {safe_str(exc)}; a kernel would not send it again")
    except Exception as exc:  # noqa: BLE001 - whatever a service raises is the outcome
        problem = describe_failure(exc, limit_s)
        return Trial(False, f"{name} did not accept the test: {problem}; a kernel would send it again")
    return Trial(True, f"{name} accepted the test in {time.monotonic() - began:.1f} s: {answer or 'no answer'}")


async def _sent(send: Send, message: Message) -> str | None:
    if not inspect.iscoroutinefunction(send):
        return await in_thread(lambda: cast(str | None, send(message)), "gnomon-alerts-test")
    answer: str | None = await send(message)
    return answer
