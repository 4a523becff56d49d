"""After kills at any moment no alert is opened twice and none is lost: the same book as of a kernel that never died."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from gnomon import AlertOpened, AlertResolved, Event, Failed, Warned
from gnomon.testing.histories import (
    NOON,
    cancelled,
    extend,
    failed,
    job_added,
    missed,
    running,
    snoozed,
    succeeded,
)
from gnomon_alerts.rules import Rule
from simulated_log import SimulatedLog

JOBS = ("daily", "hourly", "retried")
RULES = [Rule(kind="failed", jobs=["hourly"], after=2), Rule(kind="missed", jobs=["daily"], resolve="by_hand")]
FIRES = 40


def random_history(chance: random.Random) -> list[Event]:
    """Return a log of several jobs, in the order of time."""
    events = [event for job_id in JOBS for event in job_added(job_id, NOON - timedelta(hours=1))]
    for number in range(FIRES):
        for job_id in JOBS:
            at = NOON + timedelta(minutes=10 * number, seconds=chance.randrange(60))
            events += chance.choice(LIVES)(job_id, at)
    return sorted(events, key=lambda event: event.at)


def lost(job_id: str, at: Any) -> list[Event]:
    return extend(running(job_id, at), Failed, reason="lost", error_message="gone")


def silent(job_id: str, at: Any) -> list[Event]:
    warned = extend(running(job_id, at), Warned, kind="silence", message="no sign of life")
    return extend(warned, Failed, reason="zombie", error_message="ended")


def nothing(_job_id: str, _at: Any) -> list[Event]:
    return []


LIVES = (failed, failed, succeeded, missed, lost, silent, cancelled, snoozed, nothing)


def book(log: SimulatedLog) -> Counter[tuple[Any, ...]]:
    return Counter(
        (
            a.id,
            a.rule,
            a.job_id,
            a.count,
            a.since,
            a.first_execution,
            a.last_execution,
            a.resolution,
            a.resolved_execution,
        )
        for a in log.alerts
    )


async def finish(log: SimulatedLog) -> None:
    await log.record()
    await log.look(timedelta(minutes=5))
    await log.look(timedelta(minutes=5))


@pytest.mark.parametrize("seed", range(12))
async def test_a_log_with_kills_has_the_alerts_of_one_without(seed: int) -> None:
    chance = random.Random(seed)
    history = random_history(chance)
    whole, killed = SimulatedLog(RULES), SimulatedLog(RULES)
    await whole.add(history)
    await finish(whole)
    kills = 0
    for event in history:
        await killed.add([event], records=chance.random() < 0.7)
        if chance.random() < 0.1:
            killed.save()
        if chance.random() < 0.1:
            killed.kill()
            kills += 1
    await finish(killed)

    opened, resolved = (Counter(event.alert_id for event in killed.of(fact)) for fact in (AlertOpened, AlertResolved))
    assert kills
    assert len(opened) > 10, "the history is worth it"
    assert max(opened.values()) == max(resolved.values()) == 1
    assert book(killed) == book(whole)


async def test_an_alert_whose_recording_was_killed_before_its_answer_is_not_opened_twice() -> None:
    log = SimulatedLog()
    await log.add(job_added(), records=False)
    log.save()
    await log.add(failed())
    log.kill()
    await log.record()

    assert log.counts == (1, 0, 0)


async def test_an_alert_that_opened_and_ended_unrecorded_is_in_the_history_all_the_same() -> None:
    log = SimulatedLog()
    await log.add(job_added(), records=False)
    log.save()
    await log.add(failed(at=NOON), records=False)
    await log.add(succeeded(at=NOON + timedelta(hours=1)), records=False)
    log.kill()
    await log.record()

    (alert,) = log.alerts
    assert log.counts == (1, 0, 1)
    assert alert.resolved_at == succeeded(at=NOON + timedelta(hours=1))[-1].at


async def test_without_a_checkpoint_the_log_alone_gives_the_same_book() -> None:
    log = SimulatedLog(RULES)
    await log.add(random_history(random.Random(99)))
    before = book(log)
    log.kill()

    assert book(log) == before
    assert not log.detector.due(log.now)
