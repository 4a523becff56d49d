from __future__ import annotations

from gnomon.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_a_success_starts_again() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next() == 0.1


def test_jitter_is_the_share_of_a_pause_that_is_random() -> None:
    pauses = [Backoff(8.0, 8.0, jitter=0.5).next() for _ in range(200)]
    assert min(pauses) >= 4.0
    assert max(pauses) <= 8.0
    assert len(set(pauses)) > 100


def test_full_jitter_uses_the_whole_range() -> None:
    pauses = [Backoff(8.0, 8.0, jitter=1.0).next() for _ in range(500)]
    assert min(pauses) < 1.0
    assert max(pauses) > 7.0
