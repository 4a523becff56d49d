from datetime import timedelta

from gnomon.domain import events, job_state
from gnomon.domain.events import Event
from gnomon.domain.job_state import JobState
from gnomon.testing.histories import NOON, SECOND, extend, job_added, job_states, missed, running, scheduled, succeeded

DAY = timedelta(days=1)


def fold(*history: Event) -> JobState:
    (state,) = job_states(history)
    return state


def test_a_job_that_was_added_is_due_from_then_on() -> None:
    state = fold(*job_added("sync", cron="0 12 * * *"))

    assert state == JobState(
        job_id="sync", version=1, definition={"id": "sync", "func": "app:run", "cron": "0 12 * * *"}, anchor=NOON
    )


def test_a_definition_that_says_paused_begins_paused() -> None:
    state = fold(*job_added("sync", paused=True))

    assert (state.paused, state.paused_reason, state.paused_at) == (True, "the definition says so", NOON)


def test_pausing_tells_who_and_why_and_resuming_forgets_it() -> None:
    paused = extend(job_added(), events.JobPaused, actor="ann", reason="holidays")

    state = fold(*paused)
    resumed = fold(*extend(paused, events.JobResumed))

    assert (state.paused, state.paused_by, state.paused_reason, state.paused_at) == (
        True,
        "ann",
        "holidays",
        NOON + SECOND,
    )
    assert (resumed.paused, resumed.paused_by, resumed.paused_reason, resumed.paused_at) == (False, None, None, None)


def test_changes_replace_keys_and_none_takes_them_away() -> None:
    added = job_added("sync", cron="0 12 * * *", kwargs={"a": 1})

    state = fold(*extend(added, events.JobChanged, changes={"cron": None, "every": "10m", "kwargs": {"b": 2}}))

    assert state.definition == {"id": "sync", "func": "app:run", "every": "10m", "kwargs": {"b": 2}}
    assert state.anchor == NOON


def test_a_change_of_the_schedule_counts_the_fires_anew() -> None:
    added = [*job_added(), *scheduled("sync", NOON + SECOND)]

    state = fold(
        *added, *extend(job_added(), events.JobChanged, after=DAY, changes={"every": "1h"}, rescheduled=True)[1:]
    )

    assert (state.anchor, state.last_fire) == (NOON + DAY, None)


def test_the_newest_fire_of_all_schedules_is_remembered() -> None:
    added = [*job_added(), *scheduled("sync", NOON + SECOND)]

    state = fold(
        *added, *extend(job_added(), events.JobChanged, after=DAY, changes={"every": "1h"}, rescheduled=True)[1:]
    )

    assert (state.last_fire, state.newest_fire) == (None, NOON + SECOND)


def test_a_clock_that_was_set_back_does_not_bring_fires_once_more() -> None:
    added = [*job_added(), *scheduled("sync", NOON + DAY)]

    state = fold(*added, *extend(job_added(), events.JobChanged, changes={"every": "1h"}, rescheduled=True)[1:])

    assert state.anchor == NOON + DAY


def test_the_newest_fire_counts_whether_it_ran_or_was_missed() -> None:
    fires = [*scheduled("sync", NOON + 2 * DAY), *missed("sync", NOON + DAY), *succeeded("sync", NOON)]

    assert fold(*job_added(), *fires).last_fire == NOON + 2 * DAY
    assert fold(*job_added(), *fires, *missed("sync", NOON + 3 * DAY)).last_fire == NOON + 3 * DAY


def test_a_folded_range_counts_up_to_its_last_fire() -> None:
    folded = missed("sync", NOON + DAY, count=3, first=NOON + DAY, last=NOON + 3 * DAY)

    assert fold(*job_added(), *folded).last_fire == NOON + 3 * DAY


def test_manual_runs_and_retries_are_no_fires() -> None:
    manual = scheduled("sync", NOON + DAY, is_manual=True)
    refused = missed("sync", NOON + DAY, reason="guard", is_manual=True)
    retry = scheduled("sync", NOON + DAY, attempt=2)

    assert fold(*job_added(), *manual, *refused, *retry).last_fire is None


def test_a_scheduled_run_that_is_missed_later_was_counted_before() -> None:
    given_up = extend(scheduled("sync", NOON), events.Missed, scheduled_time=NOON + 9 * DAY, reason="capacity")
    state = job_state.begin(job_added()[0])

    for event in given_up:
        state.apply(event)

    assert state.last_fire == NOON


def test_the_version_is_that_of_the_jobs_own_stream() -> None:
    state = fold(*job_added(), *running("sync"), *extend(job_added(), events.JobPaused)[1:])

    assert state.version == 2


def test_a_job_that_comes_back_begins_anew() -> None:
    gone = extend(extend(job_added(), events.JobPaused, actor="ann"), events.JobRemoved)

    assert fold(*gone).removed
    back = fold(*gone, *scheduled("sync", NOON), *extend(gone, events.JobAdded, definition={"id": "sync"})[3:])
    assert (back.removed, back.paused, back.last_fire, back.definition) == (False, False, None, {"id": "sync"})
    assert (back.version, back.anchor) == (4, NOON + 3 * SECOND)
