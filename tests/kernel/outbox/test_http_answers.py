from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gnomon import DeliveryDelayedError, DeliveryRefusedError, check_answer
from gnomon.outbox.http_answers import seconds_of

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_these_answers_accept_a_message(status: int) -> None:
    check_answer(status)


@pytest.mark.parametrize("status", [408, 421, 423, 425, 429, 500, 502, 503, 504, 520, 599])
def test_after_these_answers_a_message_is_sent_again(status: int) -> None:
    with pytest.raises(DeliveryDelayedError, match=f"HTTP {status}: busy now") as found:
        check_answer(status, detail="busy\n  now", retry_after="120")
    assert found.value.after_s == 120


@pytest.mark.parametrize("status", [301, 302, 304, 400, 401, 403, 404, 405, 410, 413, 422, 501, 505])
def test_after_these_answers_a_message_is_not_sent_again(status: int) -> None:
    with pytest.raises(DeliveryRefusedError, match=f"HTTP {status}"):
        check_answer(status)


def test_an_answer_of_a_megabyte_is_a_short_error() -> None:
    with pytest.raises(DeliveryRefusedError) as found:
        check_answer(400, detail="x" * 1_000_000)
    assert len(str(found.value)) < 300


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("Sun, 29 Nov 2026 14:01:30 GMT", 90.0),
        ("Sun, 29 Nov 2026 13:00:00 GMT", 0.0),
        ("9" * 400, 999_999_999.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_a_server_may_ask_for_a_pause_in_seconds_or_until_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, NOW) == seconds
