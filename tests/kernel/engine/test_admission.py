from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.engine.admission import QUEUE_LIMIT, Admission, Ticket
from gnomon.jobs.job import Job

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def run() -> None: ...


def make_job(job_id: str = "job", **policies: Any) -> Job:
    return Job(id=job_id, func=run, **policies)


def ticket(name: str, job: Job, *, must_run: bool = False) -> Ticket:
    return Ticket(name, job, NOON, must_run)


def names(admission: Admission, job: Job) -> list[str]:
    return [waiting.execution_id for waiting in admission.waiting_of(job.id)]


def let_in(admission: Admission) -> list[str]:
    entered = []
    while (one := admission.next_to_start()) is not None:
        entered.append(one.execution_id)
    return entered


@pytest.fixture
def admission() -> Admission:
    return Admission(max_running=100)


# --- overlap within a job


def test_skip_misses_a_fire_while_a_run_is_going_on(admission: Admission) -> None:
    job = make_job()
    admission.admit(ticket("one", job))

    verdict = admission.admit(ticket("two", job))

    assert (verdict.answer, verdict.reason, verdict.blocked_by) == ("miss", "overlap", "one")
    assert "one" in verdict.detail
    assert admission.running == 1


def test_queue_lets_the_next_fire_wait(admission: Admission) -> None:
    job = make_job(overlap="queue")
    admission.admit(ticket("one", job))

    assert admission.admit(ticket("two", job)).answer == "wait"
    assert let_in(admission) == []

    admission.release("one", job.id)
    assert let_in(admission) == ["two"]


def test_in_a_queue_the_newest_fire_takes_the_place_of_the_one_before(admission: Admission) -> None:
    job = make_job(overlap="queue")
    for name in ("one", "two"):
        admission.admit(ticket(name, job))

    verdict = admission.admit(ticket("three", job))

    assert [replaced.execution_id for replaced in verdict.replaced] == ["two"]
    assert names(admission, job) == ["three"]


def test_a_queue_that_catches_up_with_all_keeps_every_fire_in_order(admission: Admission) -> None:
    job = make_job(overlap="queue", catch_up="all")
    for name in ("one", "two", "three"):
        admission.admit(ticket(name, job))

    assert names(admission, job) == ["two", "three"]
    admission.release("one", job.id)
    assert let_in(admission) == ["two"]
    admission.release("two", job.id)
    assert let_in(admission) == ["three"]


def test_cancel_previous_names_what_is_to_be_cancelled_and_waits_for_its_end(admission: Admission) -> None:
    job = make_job(overlap="cancel_previous")
    admission.admit(ticket("one", job))

    verdict = admission.admit(ticket("two", job))

    assert (verdict.answer, verdict.to_cancel) == ("wait", ["one"])
    assert let_in(admission) == []
    admission.release("one", job.id)
    assert let_in(admission) == ["two"]


def test_allow_has_no_limit_of_its_own(admission: Admission) -> None:
    job = make_job(overlap="allow")

    assert {admission.admit(ticket(str(n), job)).answer for n in range(50)} == {"start"}
    assert admission.running == 50


def test_max_instances_is_a_limit_for_every_overlap(admission: Admission) -> None:
    allowing = make_job("allowing", overlap="allow", max_instances=2)
    queueing = make_job("queueing", overlap="queue", max_instances=2)

    for job, third in ((allowing, "miss"), (queueing, "wait")):
        assert [admission.admit(ticket(f"{job.id}{n}", job)).answer for n in range(3)] == ["start", "start", third]


def test_what_somebody_asked_for_waits_and_is_never_replaced(admission: Admission) -> None:
    job = make_job()
    admission.admit(ticket("one", job))
    admission.admit(ticket("by hand", job, must_run=True))
    admission.admit(ticket("by hand too", job, must_run=True))

    verdict = admission.admit(ticket("backlog", job), is_backlog=True)

    assert verdict.replaced == []
    assert names(admission, job) == ["by hand", "by hand too", "backlog"]


def test_late_fires_wait_although_overlap_is_skip(admission: Admission) -> None:
    job = make_job(catch_up="all")

    answers = [admission.admit(ticket(str(n), job), is_backlog=True).answer for n in range(3)]

    assert answers == ["start", "wait", "wait"]


def test_a_job_that_cannot_keep_up_with_itself_misses_for_capacity(admission: Admission) -> None:
    job = make_job(overlap="queue", catch_up="all")
    for n in range(QUEUE_LIMIT + 1):
        admission.admit(ticket(str(n), job))

    verdict = admission.admit(ticket("one too many", job))

    assert (verdict.answer, verdict.reason) == ("miss", "capacity")
    assert admission.waiting == QUEUE_LIMIT


# --- all jobs together


def test_beyond_max_running_jobs_wait_whatever_their_overlap() -> None:
    admission = Admission(max_running=1)
    jobs = [make_job("busy"), make_job("skipping"), make_job("allowing", overlap="allow")]

    assert [admission.admit(ticket(job.id, job)).answer for job in jobs] == ["start", "wait", "wait"]


def test_with_allow_a_second_fire_waits_too_while_the_kernel_is_full() -> None:
    admission = Admission(max_running=1)
    admission.admit(ticket("busy", make_job("busy")))
    job = make_job("allowing", overlap="allow", catch_up="all")

    assert [admission.admit(ticket(str(n), job)).answer for n in range(2)] == ["wait", "wait"]


def test_jobs_take_turns_whoever_came_first() -> None:
    admission = Admission(max_running=1)
    many, few = (make_job(job_id, overlap="queue", catch_up="all") for job_id in ("many", "few"))
    admission.admit(ticket("first", make_job("first")))
    for n in range(4):
        admission.admit(ticket(f"many {n}", many))
    admission.admit(ticket("few 0", few))
    order, current, of = [], "first", "first"
    for _ in range(5):
        admission.release(current, of)
        entered = admission.next_to_start()
        assert entered is not None
        current, of = entered.execution_id, entered.job.id
        order.append(current)

    assert order == ["many 0", "few 0", "many 1", "many 2", "many 3"]


def test_nobody_overtakes_the_line_through_a_slot_that_is_just_free() -> None:
    admission = Admission(max_running=1)
    first, patient, hasty = (make_job(job_id) for job_id in ("first", "patient", "hasty"))
    admission.admit(ticket("first", first))
    admission.admit(ticket("patient", patient))
    admission.release("first", "first")

    assert admission.admit(ticket("hasty", hasty)).answer == "wait"
    assert let_in(admission) == ["patient"]


def test_leaving_twice_frees_one_slot() -> None:
    admission = Admission(max_running=2)
    job = make_job(overlap="allow")
    for name in ("one", "two"):
        admission.admit(ticket(name, job))

    admission.release("one", job.id)
    admission.release("one", job.id)

    assert admission.running == 1
    assert admission.running_of(job.id) == ["two"]


def test_a_run_that_was_withdrawn_is_not_let_in(admission: Admission) -> None:
    job = make_job(overlap="queue", catch_up="all")
    for name in ("one", "two", "three"):
        admission.admit(ticket(name, job))

    assert admission.withdraw("two", job.id)
    assert not admission.withdraw("two", job.id)
    assert not admission.withdraw("one", job.id)
    assert not admission.withdraw("one", "nobody")

    admission.release("one", job.id)
    assert let_in(admission) == ["three"]


def test_closed_it_lets_everybody_wait_and_nobody_in(admission: Admission) -> None:
    admission.is_open = False
    job = make_job()

    assert admission.admit(ticket("one", job)).answer == "wait"
    assert let_in(admission) == []

    admission.is_open = True
    assert let_in(admission) == ["one"]


@given(
    max_running=st.integers(1, 4),
    policies=st.lists(
        st.tuples(
            st.sampled_from(["skip", "queue", "cancel_previous", "allow"]),
            st.none() | st.integers(1, 3),
            st.sampled_from(["latest", "all"]),
        ),
        min_size=1,
        max_size=4,
    ),
    moves=st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["fire", "hand", "backlog", "leave", "withdraw"]))),
)
def test_limits_hold_and_nobody_is_lost(
    max_running: int, policies: list[tuple[str, int | None, str]], moves: list[tuple[int, str]]
) -> None:
    admission, numbers = Admission(max_running), count()
    jobs = [
        make_job(f"job{n}", overlap=overlap, max_instances=instances, catch_up=catch_up)
        for n, (overlap, instances, catch_up) in enumerate(policies)
    ]
    held: dict[str, set[str]] = {job.id: set() for job in jobs}
    waiting: dict[str, set[str]] = {job.id: set() for job in jobs}
    for choice, move in moves:
        job = jobs[choice % len(jobs)]
        if move == "leave" and held[job.id]:
            admission.release(held[job.id].pop(), job.id)
        elif move == "withdraw" and waiting[job.id]:
            assert admission.withdraw(waiting[job.id].pop(), job.id)
        elif move in {"fire", "hand", "backlog"}:
            asked = ticket(str(next(numbers)), job, must_run=move == "hand")
            verdict = admission.admit(asked, is_backlog=move == "backlog")
            waiting[job.id] -= {replaced.execution_id for replaced in verdict.replaced}
            if verdict.answer != "miss":
                (held if verdict.answer == "start" else waiting)[job.id].add(asked.execution_id)
        while (entered := admission.next_to_start()) is not None:
            waiting[entered.job.id].remove(entered.execution_id)
            held[entered.job.id].add(entered.execution_id)

        assert admission.running == sum(map(len, held.values())) <= max_running
        for one in jobs:
            assert len(held[one.id]) <= one.instances
            assert set(admission.running_of(one.id)) == held[one.id]
            assert {w.execution_id for w in admission.waiting_of(one.id)} == waiting[one.id]
        if any(waiting[one.id] and len(held[one.id]) < one.instances for one in jobs):
            assert admission.running == max_running, "a slot is free although a run waits for it"
