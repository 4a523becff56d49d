"""Signs of states, and facts as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gnomon.cli.output.states import format_facts, with_glyph
from gnomon.domain.execution import STATUSES

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_own_sign(status: str) -> None:
    others = {with_glyph(other)[0] for other in STATUSES if other != status}

    assert with_glyph(status).endswith(f" {status}")
    assert with_glyph(status)[0] not in others


def test_facts_are_written_with_units_and_in_the_zone() -> None:
    facts = {"due": AT + timedelta(milliseconds=250), "not_before": AT, "took_s": 0.086, "late_s": 61.0, "fires": 3}

    assert format_facts(facts, SHANGHAI) == {
        "due": "2026-12-01 18:00:00.250 +08",
        "not_before": "2026-12-01 18:00 +08",
        "took": "86 ms",
        "late": "1 m 01 s",
        "fires": 3,
    }
