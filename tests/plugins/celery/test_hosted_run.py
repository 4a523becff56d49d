"""What a run keeps for its channel while that is away: bounded, in order, and never without its end."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon.domain.execution import Execution
from gnomon.domain.progress import MAX_STEPS
from gnomon.runners.base import Outcome
from gnomon.runners.log_buffer import MAX_LINES
from gnomon_celery.hosted_run import HostedRun, Poster
from gnomon_celery.messages import Assignment, Ended, Lines, Report


class Wakes(Poster):
    """Counts how often the channel was woken."""

    def __init__(self) -> None:
        self.within: list[float] = []

    def wake(self, within: float) -> None:
        self.within.append(within)


def hosted(**given: Any) -> HostedRun:
    now = datetime.now(UTC)
    execution = Execution(
        id="1" * 24, job_id="job", status="scheduled", scheduled_time=now, timestamp=now, updated_at=now
    )
    keys: dict[str, Any] = {"func": "m:f", "channel": "{gnomon:log}", "claim_ttl": 60, "result_ttl": 60}
    return HostedRun(Assignment(execution=execution, **(keys | given)), "1-abc", Wakes())


def test_what_could_not_be_posted_is_collected_again_with_the_same_numbers() -> None:
    run = hosted()
    run.record_progress(run.id, {"percent": 1.0})
    first = list(run.collect())
    run.record_progress(run.id, {"percent": 2.0})
    run.end(Outcome(1.0, value="done"))
    assert run.collect() == first
    run.posted()
    assert not run.delivered.is_set()
    second = run.collect()
    assert [message.n for message in (*first, *second)] == [2, 3, 4]
    assert isinstance(second[-1], Ended)
    assert second[-1].value == "done"
    run.posted()
    assert run.delivered.is_set()


def test_progress_is_merged_while_nothing_can_be_posted() -> None:
    run = hosted()
    for number in range(3 * MAX_STEPS):
        run.record_progress(run.id, {"processed_items": number})
    reports = [message for message in run.collect() if isinstance(message, Report)]
    assert len(reports) == MAX_STEPS + 1
    assert reports[-1].fields == {"processed_items": 3 * MAX_STEPS - 1}


def test_the_newest_lines_are_kept_while_nothing_can_be_posted() -> None:
    run = hosted()
    for number in range(2 * MAX_LINES):
        run.context.log_line("info", f"line {number}", "")
    (message,) = run.collect()
    assert isinstance(message, Lines)
    assert [line.number for line in message.lines] == list(range(MAX_LINES + 1, 2 * MAX_LINES + 1))
    run.posted()
    assert run.collect() == []


def test_the_end_is_posted_after_everything_that_was_reported_before() -> None:
    run = hosted()
    run.context.log_line("info", "the last line", "")
    run.context.progress(100)
    run.context.progress(99)  # within the rate of the first: pending until the end
    run.end(Outcome(1.0))
    kinds = [type(message) for message in run.collect()]
    assert kinds == [Report, Report, Lines, Ended]


def test_a_message_that_json_cannot_hold_does_not_keep_back_the_end() -> None:
    run = hosted()
    run.record_progress(run.id, {"message": "half a character: \ud800"})
    run.end(Outcome(1.0, value="done"))
    (ended,) = run.collect()
    assert isinstance(ended, Ended)
    assert (ended.n, ended.value) == (2, "done")


def test_an_end_that_json_cannot_hold_is_reported_as_a_failure() -> None:
    run = hosted()
    run.end(Outcome(1.0, error_type="ValueError", error_message="\ud800"))
    (ended,) = run.collect()
    assert isinstance(ended, Ended)
    assert ended.error_type == "UnicodeEncodeError"
    assert (ended.error_message or "").startswith("how the body ended cannot be sent")


def test_a_run_ends_once() -> None:
    run = hosted()
    assert run.end(Outcome(1.0, value="first"))
    assert not run.end(Outcome(1.0, value="second"))
    (ended,) = run.collect()
    assert isinstance(ended, Ended)
    assert ended.value == "first"


@pytest.mark.parametrize("first", ["timeout", "silence"])
def test_a_body_that_returns_in_time_after_a_limit_keeps_its_result(first: str) -> None:
    run = hosted(**{first: 0.0})
    run.enforce_limits(can_kill=False)
    assert run.context.cancel_requested
    run.end(Outcome(1.0, value="done"))
    (ended,) = run.collect()
    assert isinstance(ended, Ended)
    assert (ended.value, ended.reason) == ("done", None)


def test_a_request_of_the_kernel_to_stop_is_not_reported_as_a_limit() -> None:
    run = hosted(timeout=0.0)
    run.stop()
    run.enforce_limits(can_kill=False)
    run.end(Outcome(1.0, error_type="gnomon.RunCancelled", cancelled=True))
    (ended,) = run.collect()
    assert isinstance(ended, Ended)
    assert (ended.cancelled, ended.reason) == (True, None)


def test_an_order_of_another_thread_is_abandoned_when_the_run_is_stopped() -> None:
    run = hosted()
    raised: list[BaseException] = []

    def body() -> None:
        try:
            run.context.trigger("other")
        except BaseException as exc:  # noqa: BLE001 - RunCancelled is one
            raised.append(exc)

    thread = threading.Thread(target=body)
    thread.start()
    while not run.orders.unanswered:
        pass
    run.stop()
    thread.join()
    assert type(raised[0]).__name__ == "RunCancelled"
