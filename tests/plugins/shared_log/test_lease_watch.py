"""What a process has seen of the row of the leader: when it may be replaced, and when to look again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnomon_shared_log.lease import lease_watch
from gnomon_shared_log.lease.lease_watch import LeaseWatch
from gnomon_shared_log.ports.lease_row import LeaseRow
from moved_clock import Hand

NEVER_S = 3600.0
ELSEWHERE = LeaseRow("theirs", 3, 8, node="b", pid=7, place="b")


def changed(**fields: Any) -> LeaseRow:
    return msgspec.structs.replace(ELSEWHERE, **fields)


async def test_a_renewal_begins_the_count_of_a_follower_again() -> None:
    clock = Hand()
    watch = LeaseWatch(10.0, clock)
    watch.note(ELSEWHERE)
    clock.time += 9.0
    watch.note(changed(renewals=9))
    clock.time += 9.0
    assert not watch.is_free()
    watch.note(changed(renewals=9))
    clock.time += 1.0

    assert watch.is_free()
    watch.note(changed(renewals=9, cut_off="run"))
    assert not watch.is_free()
    watch.note(None)
    assert watch.is_free()


async def test_a_row_is_looked_at_in_the_moment_in_which_it_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    watch = LeaseWatch(10.0, clock)
    watch.note(ELSEWHERE)
    assert 0 < watch.seconds_to_look() < 2 * lease_watch.LOOK_S  # a tick that comes too early is left out
    for name in ("LOOK_S", "FED_LOOK_S"):  # ticks of the real clock, one of which could be due sooner
        monkeypatch.setattr(lease_watch, name, NEVER_S)
    clock.time += 9.99

    assert watch.seconds_to_look() == pytest.approx(0.01)
    with watch.fed():
        assert watch.seconds_to_look() == pytest.approx(0.01)

    clock.time += 0.01
    assert watch.is_free()
    watch.note(changed(cut_off="run"))
    clock.time += 9.999
    assert watch.seconds_to_look() > 0.001  # nobody may take that one


async def test_a_release_is_looked_for_often_only_until_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    watch = LeaseWatch(10.0, clock)
    monkeypatch.setattr(lease_watch, "LOOK_S", NEVER_S)
    for after in (changed(owner="next"), None):
        watch.note(ELSEWHERE)
        watch.expect_release()
        watch.note(changed(renewals=9))
        assert watch.seconds_to_look() == lease_watch.RELEASE_LOOK_S
        watch.note(after)
        assert watch.seconds_to_look() > lease_watch.RELEASE_LOOK_S

    watch.note(ELSEWHERE)
    watch.expect_release()
    clock.time += lease_watch.RELEASE_LIMIT_S
    watch.note(changed(renewals=9))
    assert watch.seconds_to_look() > lease_watch.RELEASE_LOOK_S
