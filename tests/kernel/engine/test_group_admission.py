"""Who starts next where jobs share the limits of a group, and where priorities differ."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gnomon.engine.admission import Admission, Ticket
from gnomon.jobs.groups import Group, convert_groups
from gnomon.jobs.job import Job

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def run() -> None: ...


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_job(job_id: str, **policies: Any) -> Job:
    return Job(id=job_id, func=run, **{"overlap": "queue", "catch_up": "all"} | policies)


def ask(admission: Admission, job: Job, name: str | None = None, *, must_run: bool = False) -> str:
    return admission.admit(Ticket(name or job.id, job, NOON, must_run)).answer


def started(admission: Admission) -> list[str]:
    found = []
    while (ticket := admission.next_to_start()) is not None:
        found.append(ticket.execution_id)
    return found


def make_admission(max_running: int = 100, **groups: Any) -> tuple[Admission, Clock]:
    clock = Clock()
    return Admission(max_running, groups=convert_groups(groups), monotonic=clock), clock


def test_a_group_has_as_many_active_runs_as_its_limit_and_holds_up_nobody_else() -> None:
    admission, _ = make_admission(warehouse=2)
    jobs = [make_job(name, group="warehouse") for name in "abcd"]

    assert [ask(admission, job) for job in jobs] == ["start", "start", "wait", "wait"]
    assert ask(admission, make_job("other")) == "start"
    assert started(admission) == []

    admission.release("a", "a")
    assert started(admission) == ["c"]


def test_the_jobs_of_a_group_take_turns_however_many_runs_of_one_wait() -> None:
    admission, _ = make_admission(warehouse=1)
    many, few, first = (make_job(name, group="warehouse") for name in ("many", "few", "first"))
    ask(admission, first)
    for n in range(3):
        ask(admission, many, f"many {n}")
    ask(admission, few, "few 0")

    order, current = [], ("first", "first")
    for _ in range(4):
        admission.release(*current)
        ticket = admission.next_to_start()
        assert ticket is not None
        current = ticket.execution_id, ticket.job.id
        order.append(ticket.execution_id)

    assert order == ["many 0", "few 0", "many 1", "many 2"]


def test_a_job_of_a_group_keeps_its_place_in_the_line_of_the_kernel_while_the_group_is_full() -> None:
    admission, _ = make_admission(1, warehouse=1)
    ask(admission, make_job("first", group="warehouse"))
    ask(admission, make_job("grouped", group="warehouse"))
    ask(admission, make_job("single"))

    admission.release("first", "first")

    assert started(admission) == ["grouped"]
    admission.release("grouped", "grouped")
    assert started(admission) == ["single"]


def test_the_highest_priority_is_next_and_equals_take_turns() -> None:
    admission, _ = make_admission(1)
    ask(admission, make_job("first"))
    for name, priority in (("low", -1), ("a", 0), ("b", 0), ("high", 5)):
        ask(admission, make_job(name, priority=priority))
        ask(admission, make_job(name, priority=priority), f"{name} again")

    order, current = [], ("first", "first")
    for _ in range(8):
        admission.release(*current)
        ticket = admission.next_to_start()
        assert ticket is not None
        current = ticket.execution_id, ticket.job.id
        order.append(ticket.execution_id)

    assert order == ["high", "high again", "a", "b", "a again", "b again", "low", "low again"]


def test_priority_counts_across_groups_with_room() -> None:
    admission, _ = make_admission(1, x=1, y=1)
    ask(admission, make_job("first"))
    ask(admission, make_job("in-x", group="x", priority=1))
    ask(admission, make_job("in-y", group="y", priority=2))
    ask(admission, make_job("in-none", priority=3))

    order, current = [], "first"
    for _ in range(3):
        admission.release(current, current)
        (current,) = started(admission)
        order.append(current)

    assert order == ["in-none", "in-y", "in-x"]


def test_a_changed_job_keeps_its_place_in_the_line_of_its_new_group() -> None:
    admission, _ = make_admission(1, full=1, free=1)
    ask(admission, make_job("first", group="full"))
    ask(admission, make_job("second", group="full"))
    ask(admission, make_job("third", group="free"))
    ask(admission, make_job("fourth", group="free", priority=-1))

    admission.redefine(make_job("second", group="free"))
    admission.redefine(make_job("fourth", group="free", priority=1))
    admission.redefine(make_job("nobody", group="free"))

    order, current = [], "first"
    for _ in range(3):
        admission.release(current, current)
        (current,) = started(admission)
        order.append(current)
    assert order == ["fourth", "second", "third"]
    admission.release(current, current)
    assert [(group.name, group.running, group.waiting) for group in admission.groups()] == [
        ("full", [], 0),
        ("free", [], 0),
    ]


def test_a_run_in_line_has_the_limits_that_its_job_has_by_now() -> None:
    admission, _ = make_admission()
    for n in range(4):
        ask(admission, make_job("job"), f"run {n}")
    assert started(admission) == []

    admission.redefine(make_job("job", max_instances=3))
    assert started(admission) == ["run 1", "run 2"]
    admission.redefine(make_job("job", max_instances=1))
    for n in range(2):
        admission.release(f"run {n}", "job")
        assert started(admission) == []
    admission.release("run 2", "job")
    assert started(admission) == ["run 3"]


def test_a_run_whose_body_goes_on_keeps_its_slot_of_the_group() -> None:
    admission, _ = make_admission(warehouse=1)
    ask(admission, make_job("a", group="warehouse"))
    ask(admission, make_job("b", group="warehouse"))

    admission.release("a", "a", body_runs=True)
    assert (started(admission), admission.running) == ([], 0)

    admission.release("a", "a")
    assert started(admission) == ["b"]


def test_within_any_period_no_more_runs_start_than_the_rate_says() -> None:
    admission, clock = make_admission(api={"rate": "2/m"})
    jobs = [make_job(name, group="api") for name in "abcd"]

    assert [ask(admission, jobs[0]), admission.opens_in()] == ["start", None]
    clock.now += 20
    assert [ask(admission, job) for job in jobs[1:]] == ["start", "wait", "wait"]
    assert admission.opens_in() == 40.0

    clock.now += 40
    assert started(admission) == ["c"]
    assert admission.opens_in() == 20.0
    clock.now += 20
    assert started(admission) == ["d"]
    assert admission.opens_in() is None


def test_a_run_that_starts_nothing_does_not_count_for_the_rate() -> None:
    admission, _ = make_admission(api={"rate": "1/m"})
    ask(admission, make_job("a", group="api"))
    admission.release("a", "a", has_started=False)

    assert ask(admission, make_job("b", group="api")) == "start"


def test_a_full_group_with_a_rate_waits_for_a_slot_and_not_for_the_clock() -> None:
    admission, _ = make_admission(api={"limit": 1, "rate": "1/m"})
    ask(admission, make_job("a", group="api"))
    ask(admission, make_job("b", group="api"))

    assert admission.opens_in() is None
    admission.release("a", "a")
    assert (started(admission), admission.opens_in()) == ([], 60.0)


def test_a_group_shows_who_takes_its_slots_and_how_many_wait() -> None:
    admission, _ = make_admission(api={"limit": 1, "rate": "5/m"}, idle=3)
    ask(admission, make_job("a", group="api"))
    ask(admission, make_job("b", group="api"))

    api, idle = admission.groups()

    assert (api.name, api.limit, api.rate, api.running, api.waiting, api.starts) == ("api", 1, "5/m", ["a"], 1, 1)
    assert (idle.running, idle.waiting, idle.starts) == ([], 0, None)


def test_a_run_that_is_withdrawn_leaves_the_line_of_its_group_to_the_others() -> None:
    admission, _ = make_admission(warehouse=1)
    for name in "abc":
        ask(admission, make_job(name, group="warehouse"))
    admission.withdraw("b", "b")

    admission.release("a", "a")

    assert started(admission) == ["c"]
    admission.release("c", "c")
    assert admission.groups()[0].waiting == 0


GROUPS = {"x": Group(limit=1), "y": Group(limit=2)}


@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 5), st.sampled_from([None, "x", "y"]), st.integers(0, 2)),
            st.tuples(st.just("end"), st.integers(0, 9), st.booleans(), st.just(0)),
            st.tuples(st.just("withdraw"), st.integers(0, 9), st.just(None), st.just(0)),
        ),
        max_size=40,
    ),
)
def test_whatever_comes_limits_hold_and_nothing_waits_that_could_start(
    max_running: int, moves: Sequence[tuple[str, int, Any, int]]
) -> None:
    admission = Admission(max_running, groups=GROUPS, monotonic=Clock())
    active: dict[str, Job] = {}
    waiting: dict[str, Job] = {}
    for number, (move, which, group, priority) in enumerate(moves):
        if move == "ask":
            job = make_job(f"job-{which}", group=group, priority=priority, overlap="queue")
            name = f"run {number}"
            verdict = admission.admit(Ticket(name, job, NOON, must_run=True))
            (active if verdict.answer == "start" else waiting)[name] = job
        elif move == "end" and active:
            name = list(active)[which % len(active)]
            admission.release(name, active.pop(name).id)
        elif move == "withdraw" and waiting:
            name = list(waiting)[which % len(waiting)]
            assert admission.withdraw(name, waiting.pop(name).id)
        while (ticket := admission.next_to_start()) is not None:
            active[ticket.execution_id] = waiting.pop(ticket.execution_id)
        in_groups = {name: [job for job in active.values() if job.group == name] for name in GROUPS}
        assert len(active) == admission.running <= max_running
        assert all(len(in_groups[name]) <= (GROUPS[name].limit or 0) for name in GROUPS)
        assert admission.waiting == len(waiting)
        busy = {job.id for job in active.values()}
        for job in {job.id: job for job in reversed(waiting.values())}.values():  # the oldest run of each job
            is_full = job.group is not None and len(in_groups[job.group]) >= (GROUPS[job.group].limit or 0)
            assert job.id in busy or is_full or len(active) == max_running
