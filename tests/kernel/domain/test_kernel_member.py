"""What is wrong with the processes that follow: they are silent, they lag, or they report a problem."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from gnomon import KernelMember
from gnomon.domain.kernel_member import LATE_AFTER_S, SILENT_AFTER_S, leader_of, member_problems

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def member(role: Any = "follower", **fields: Any) -> KernelMember:
    known = {"id": "1", "node": "b", "pid": 12, "role": role, "since": NOW, "seen": NOW, "position": 7}
    return KernelMember(**known | fields)


def test_a_follower_that_reports_in_time_and_reads_along_needs_no_attention() -> None:
    seen = NOW - timedelta(seconds=SILENT_AFTER_S)
    assert member_problems([member("leader"), member(seen=seen, lag=5_000, lag_s=LATE_AFTER_S)]) == []


def test_a_follower_is_named_that_is_silent_lags_or_has_a_problem() -> None:
    late = member(seen=NOW - timedelta(seconds=31))
    slow = member(pid=13, lag=1_200, lag_s=61.0)
    broken = member(pid=14, state="degraded", problem="plugin web: boom")

    assert member_problems([member("leader", problem="its own"), late, slow, broken]) == [
        "process 12 on b follows, and has not reported for 31.0 s",
        "process 13 on b follows, and is 1,200 events behind, the first of them 1 m 01 s old",
        "process 14 on b follows, and is degraded: plugin web: boom",
    ]


def test_a_silence_counts_on_the_clock_of_the_kernel_that_leads() -> None:
    assert leader_of([member(), member()]) is None
    assert member_problems([member(seen=NOW - timedelta(days=1))]) == []
