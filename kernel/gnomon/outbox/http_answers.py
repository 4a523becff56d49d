"""What the status of an HTTP answer means for a message: accepted, to be sent again, or refused."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gnomon.outbox.delivery_errors import DeliveryDelayedError, DeliveryRefusedError
from gnomon.text import shorten

TEMPORARY = frozenset({408, 421, 423, 425, 429})
"""Statuses below 500 after which the same request may succeed (RFC 9110, RFC 6585, RFC 8470)."""
PERMANENT = frozenset({501, 505})
"""Statuses from 500 on that a repetition does not change."""
LONGEST_DETAIL = 200
"""Characters of an answer's body in an error."""


def check_answer(status: int, *, retry_after: str | None = None, detail: str = "", now: datetime | None = None) -> None:
    """Raise DeliveryDelayedError or DeliveryRefusedError unless an HTTP answer says that the message was accepted.

    `retry_after` is the header of that name: seconds or a date. `detail` is the beginning of the answer's body.
    """
    if 200 <= status < 300:
        return
    body = " ".join(detail.split())
    text = f"HTTP {status}" + (f": {shorten(body, LONGEST_DETAIL)}" if body else "")
    if 300 <= status < 400:
        text = f"HTTP {status}: the address redirects to another one, which is not followed"
    if status in TEMPORARY or (status >= 500 and status not in PERMANENT):
        raise DeliveryDelayedError(text, seconds_of(retry_after, now))
    raise DeliveryRefusedError(text)


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a header Retry-After asks to wait; None where it is missing or not valid."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max((until - (now or datetime.now(UTC))).total_seconds(), 0.0)
