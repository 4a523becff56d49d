"""Which alerts open, repeat and end: the rules of jobs, on logs as they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon import (
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    Cancelled,
    Event,
    Failed,
    JobChanged,
    JobPaused,
    JobRemoved,
    JobResumed,
    KernelStarted,
    KernelStopped,
    Progress,
    Started,
    Warned,
)
from gnomon.domain.events import KernelHeld, KernelReleased, MissedReason
from gnomon.durations import Duration
from gnomon.testing.histories import NOON, extend, failed, job_added, missed, running, scheduled, succeeded
from gnomon_alerts.book import shown
from gnomon_alerts.rules import Rule
from simulated_log import SimulatedLog

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def log_of(*histories: list[Event], rules: list[Rule] | None = None, **definition: Any) -> SimulatedLog:
    log = SimulatedLog(rules or [])
    await log.add(job_added(at=NOON - DAY, **definition))
    for history in histories:
        await log.add(history)
    return log


def kernel(event_type: type[Event], at: datetime, **facts: Any) -> list[Event]:
    return [event_type(stream="kernel:k", version=1, at=at, node="n", job_id="", **facts)]


def started(at: datetime) -> list[Event]:
    return kernel(KernelStarted, at, host="h", pid=1)


async def test_a_failure_opens_an_alert_its_repetition_is_counted_and_a_success_resolves_it() -> None:
    log = await log_of(failed(at=NOON))
    (opened,) = log.of(AlertOpened)
    await log.add(failed(at=NOON + HOUR, error="again"))
    (alert,) = log.open
    seen = alert.count, alert.message, alert.first_execution, alert.last_execution
    await log.add(succeeded(at=NOON + 2 * HOUR))

    first, second, third = (
        history[0].stream for history in (failed(), failed(at=NOON + HOUR), succeeded(at=NOON + 2 * HOUR))
    )
    assert (opened.rule, opened.job_id, opened.since, opened.message) == (
        "failed",
        "sync",
        failed()[-1].at,
        "failed: ValueError: boom",
    )
    assert seen == (2, "failed 2 times in a row: ValueError: again", first, second)
    assert not log.open
    assert (alert.resolution, alert.resolved_execution) == ("succeeded", third)


async def test_failures_within_a_minute_are_one_event_and_none_is_lost() -> None:
    log = await log_of(*(failed(at=NOON + second * timedelta(seconds=5)) for second in range(5)))
    events = log.counts
    await log.look(MINUTE)

    assert events == (1, 0, 0)
    assert log.counts == (1, 1, 0)
    assert log.open[0].count == 5


async def test_n_failures_in_a_row_are_needed_where_the_rule_says_so() -> None:
    rule = Rule(kind="failed", name="etl", tags=["etl"], after=3, severity="critical")
    log = await log_of(
        failed(at=NOON), failed(at=NOON + HOUR), succeeded(at=NOON + 2 * HOUR), rules=[rule], tags=["etl"]
    )
    calm = log.counts
    await log.add([event for n in range(3, 6) for event in failed(at=NOON + n * HOUR)])

    assert calm == (0, 0, 0)
    (alert,) = log.open
    assert (alert.rule, alert.count, alert.severity) == ("etl", 3, "critical")
    assert alert.first_execution == failed(at=NOON + 3 * HOUR)[0].stream


async def test_a_failure_whose_retry_waits_is_no_alert_until_the_last_attempt_has_failed() -> None:
    retry: dict[str, Any] = {"attempts": 2}
    first = failed(at=NOON)
    log = await log_of(first, retry=retry)
    waiting = log.counts
    await log.look(MINUTE / 2)
    second = scheduled(at=NOON, attempt=2, retry_of=first[0].stream, not_before=NOON + HOUR)
    await log.add(second)
    await log.look(HOUR)
    still = [alert for alert in log.open if alert.kind == "failed"]
    body = extend(extend(second, Started, after=HOUR, runner="thread"), Failed, reason="exception")
    await log.add(body[1:])

    assert waiting == (0, 0, 0)
    assert not still
    assert [(alert.kind, alert.count) for alert in log.open] == [("failed", 1)]


async def test_a_retry_that_never_comes_leaves_the_failure_an_alert() -> None:
    log = await log_of(failed(at=NOON), retry={"attempts": 2})
    await log.look(2 * MINUTE)

    assert [alert.kind for alert in log.open] == ["failed"]


async def test_a_lost_run_is_an_alert_of_its_own_kind() -> None:
    log = await log_of(extend(running(), Failed, reason="lost", error_message="the kernel was killed"))

    assert [(alert.kind, alert.message) for alert in log.open] == [("lost", "lost: the kernel was killed")]


async def test_cancelled_runs_back_fills_and_missed_fires_of_a_pause_are_no_alerts() -> None:
    reasons: tuple[MissedReason, ...] = ("paused", "held", "skipped", "guard", "dependency", "overlap")
    log = await log_of(
        extend(running(at=NOON), Cancelled, actor="ann"),
        failed(at=NOON + HOUR, cause="backfill", is_manual=True),
        *(missed(at=NOON + n * HOUR, reason=why) for n, why in enumerate(reasons, 2)),
    )
    await log.look(DAY)

    assert log.counts == (0, 0, 0)


async def test_a_missed_fire_is_an_alert_until_the_next_one_runs() -> None:
    log = await log_of(missed(at=NOON, reason="late", detail="the kernel was busy"))
    (alert,) = log.open
    seen = alert.message
    await log.add(running(at=NOON + HOUR))

    assert seen == "missed a fire: the kernel was busy"
    assert (alert.resolution, log.open) == ("ran", [])


@pytest.mark.parametrize(("pause", "is_alert"), [(10 * MINUTE, False), (2 * HOUR, True)])
async def test_fires_of_a_short_stop_in_order_are_no_alert(pause: timedelta, is_alert: bool) -> None:
    log = await log_of(kernel(KernelStopped, NOON, reason="SIGTERM"), started(NOON + pause))
    await log.add(missed(at=NOON + pause, reason="downtime", count=3, first=NOON, last=NOON + pause))
    await log.look(2 * MINUTE)

    assert [alert.count for alert in log.open] == ([3] if is_alert else [])


async def test_the_fires_of_a_downtime_are_no_alert_where_the_latest_one_runs_at_once() -> None:
    log = await log_of(started(NOON))
    await log.add(missed(at=NOON, reason="downtime", count=3, first=NOON - HOUR, last=NOON))
    await log.add(running(at=NOON + timedelta(seconds=1)))
    await log.look(5 * MINUTE)

    assert log.counts == (0, 0, 0)


async def test_a_run_that_does_not_start_is_an_alert_until_it_starts() -> None:
    run = scheduled(at=NOON)
    log = await log_of(run)
    await log.look(4 * MINUTE)
    early = log.counts
    await log.look(2 * MINUTE)
    (alert,) = log.open
    seen = alert.kind, alert.since, alert.message
    await log.add(extend(run, Started, after=7 * MINUTE, runner="thread")[1:])

    assert early == (0, 0, 0)
    assert seen == ("late_start", NOON + 5 * MINUTE, "has not started 5m after it was due")
    assert alert.resolution == "ran"


async def test_a_run_that_takes_longer_than_usual_is_an_alert_while_it_goes_on() -> None:
    past = [succeeded(at=NOON - n * HOUR) for n in range(10, 0, -1)]
    log = await log_of(*past, running(at=NOON))
    await log.look(50 * timedelta(seconds=1))
    early = log.counts
    await log.look(MINUTE)
    (alert,) = log.open
    seen = alert.kind, alert.message
    await log.add(extend(running(at=NOON), Failed, after=2 * MINUTE, reason="marked")[2:])

    assert early == (0, 0, 0)
    assert seen == ("too_long", "runs for longer than 1m 1s; 95 % take up to 1s")
    assert alert.resolution == "ended"


async def test_a_first_run_without_history_is_never_longer_than_usual() -> None:
    log = await log_of(succeeded(at=NOON - HOUR), running(at=NOON))
    await log.look(DAY)

    assert not [alert for alert in log.alerts if alert.kind == "too_long"]


async def test_no_success_for_a_time_is_an_alert_but_not_while_the_job_is_paused_or_held_or_just_up() -> None:
    log = await log_of(succeeded(at=NOON))
    await log.add(job_changed({"no_success": "26h"}))
    await log.look(25 * HOUR)
    calm = log.counts
    await log.look(2 * HOUR)
    (alert,) = log.open
    await log.add([JobPaused(stream="job:sync", version=3, at=log.now, node="n", job_id="sync", actor="ann")])
    paused = alert.resolution
    await log.look(3 * DAY)
    await log.add([JobResumed(stream="job:sync", version=4, at=log.now, node="n", job_id="sync", actor="ann")])
    await log.look(25 * HOUR)
    await log.add(kernel(KernelHeld, log.now))
    await log.look(3 * DAY)
    await log.add(kernel(KernelReleased, log.now))
    await log.look(25 * HOUR)

    assert calm == (0, 0, 0)
    assert (alert.kind, paused) == ("no_success", "paused")
    assert log.counts == (1, 0, 1)


async def test_a_silent_run_is_an_alert_until_it_reports_or_ends() -> None:
    run = extend(running(at=NOON), Warned, kind="silence", message="no sign of life for 24m")
    log = await log_of(run)
    (alert,) = log.open
    await log.add(extend(run, Progress, percent=50.0)[-1:])

    assert (alert.kind, alert.message, alert.resolution) == ("silent", "no sign of life for 24m", "ended")


async def test_a_job_that_the_kernel_paused_is_not_scheduled_any_more() -> None:
    facts: dict[str, Any] = {"stream": "job:sync", "node": "n", "job_id": "sync"}
    log = await log_of()
    await log.add([JobPaused(version=2, at=NOON, problem="there is no function 'app:run'", by_kernel=True, **facts)])
    (alert,) = log.open
    await log.add([JobResumed(version=3, at=NOON + HOUR, **facts)])

    assert (alert.kind, alert.resolution) == ("unscheduled", "recovered")
    assert alert.message == "is not scheduled any more: there is no function 'app:run'"


async def test_a_removed_job_has_no_alerts() -> None:
    log = await log_of(failed(at=NOON))
    await log.add([JobRemoved(stream="job:sync", version=2, at=NOON + HOUR, node="n", job_id="sync")])

    assert log.alerts[0].resolution == "removed"


@pytest.mark.parametrize("option", [False, {"failed": False}])
async def test_a_job_may_have_no_alerts(option: Any) -> None:
    log = await log_of(failed(at=NOON), options={"alerts": option})

    assert log.counts == (0, 0, 0)


async def test_an_acknowledged_alert_does_not_come_back_by_a_repetition_unless_that_was_asked_for() -> None:
    for until_next, state in ((False, "acknowledged"), (True, "firing")):
        log = await log_of(failed(at=NOON))
        (alert,) = log.open
        log.now = NOON + MINUTE
        await log.record_fact(AlertAcknowledged, alert_id=alert.id, job_id="sync", actor="ann", until_next=until_next)
        await log.record()
        before = shown(alert, log.now).state
        await log.add(failed(at=NOON + HOUR))

        assert before == "acknowledged"
        assert [(shown(one, log.now).state, one.count) for one in log.open] == [(state, 2)]


async def test_a_failure_after_the_end_of_an_acknowledged_alert_is_another_alert() -> None:
    log = await log_of(failed(at=NOON))
    await log.record_fact(AlertAcknowledged, alert_id=log.open[0].id, job_id="sync", actor="ann")
    await log.record()
    await log.add(succeeded(at=NOON + HOUR))
    await log.add(failed(at=NOON + 2 * HOUR))

    old, new = log.alerts
    assert (shown(old, log.now).state, shown(new, log.now).state) == ("resolved", "firing")
    assert old.id != new.id


async def test_an_alert_that_was_resolved_by_hand_opens_again_with_the_next_failure_only() -> None:
    log = await log_of(failed(at=NOON))
    (alert,) = log.open
    await log.record_fact(AlertResolved, alert_id=alert.id, job_id="sync", why="by_hand", actor="ann")
    await log.record()
    await log.look(DAY)
    resolved = list(log.open)
    await log.add(failed(at=NOON + 2 * DAY))

    assert not resolved
    assert [(one.count, one.id != alert.id) for one in log.open] == [(1, True)]


async def test_an_alert_that_only_an_operator_resolves_outlives_a_success() -> None:
    rule = Rule(kind="failed", resolve="by_hand")
    log = await log_of(failed(at=NOON), succeeded(at=NOON + HOUR), failed(at=NOON + 2 * HOUR), rules=[rule])

    assert [alert.count for alert in log.open] == [2]


async def test_what_began_and_ended_before_the_installation_is_no_alert_and_what_lasts_is_no_news() -> None:
    log = SimulatedLog()
    log.detector.is_past = True
    for history in (
        job_added(at=NOON - DAY),
        failed(at=NOON),
        succeeded(at=NOON + HOUR),
        job_added("old", NOON),
        failed("old", NOON),
    ):
        await log.add(history, records=False)
    log.detector.end_of_past()
    log.now += DAY
    await log.record()

    (alert,) = log.alerts
    assert (alert.job_id, alert.backdated, alert.since) == ("old", True, failed("old", NOON)[-1].at)


async def test_other_rules_end_alerts_that_they_do_not_ask_for() -> None:
    log = await log_of(failed(at=NOON))
    log.rules = [Rule(kind="failed", enabled=False)]
    log.save()
    log.kill()
    log.detector.decide_all()
    await log.record()

    assert log.alerts[0].resolution == "rule"


async def test_the_book_at_a_moment_is_what_it_was_then() -> None:
    log = await log_of(failed(at=NOON))
    await log.add(failed(at=NOON + HOUR))
    await log.add(succeeded(at=NOON + 2 * HOUR))
    book = log.detector.state.book

    counts = [
        [alert.count for alert in book.at(moment).open()]
        for moment in (NOON, NOON + MINUTE, NOON + HOUR + MINUTE, NOON + DAY)
    ]
    assert counts == [[], [1], [2], []]


def job_changed(option: Any) -> list[Event]:
    changes = {"options": {"alerts": option}}
    return [
        JobChanged(
            stream="job:sync", version=2, at=NOON + timedelta(seconds=9), node="n", job_id="sync", changes=changes
        )
    ]


def test_rules_refuse_what_their_kind_does_not_have() -> None:
    for keys in (
        {"kind": "failed", "limit": Duration(hours=1)},
        {"kind": "late_start", "after": 2},
        {"kind": "store", "tags": ["x"]},
    ):
        with pytest.raises(ValueError, match=r"kind|limit|after"):
            Rule(**keys)


async def test_a_late_run_whose_alert_was_resolved_by_hand_does_not_open_it_again() -> None:
    log = await log_of(scheduled(at=NOON))
    await log.look(6 * MINUTE)
    await log.record_fact(AlertResolved, alert_id=log.open[0].id, job_id="sync", why="by_hand", actor="ann")
    await log.record()
    await log.look(HOUR)

    assert log.counts == (1, 0, 1)


async def test_a_changed_job_ends_an_alert_that_it_does_not_ask_for_any_more_and_may_ask_again() -> None:
    log = await log_of(failed(at=NOON))
    await log.add(job_changed({"failed": 2}))
    ended = log.alerts[0].resolution
    await log.add(failed(at=NOON + HOUR))

    assert ended == "rule"
    assert [alert.count for alert in log.open] == [2]
