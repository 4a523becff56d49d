"""Calls of KernelApi as orders: the kernel that leads does what it would do for a call, and returns the same."""

import inspect
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from gnomon import GnomonError, Job, Kernel, KernelApi, Retry, RunOrder
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.events import JobAdded, LoggedIn, LoggedOut
from gnomon.domain.job_order import JobOrder
from gnomon.domain.orders import Answer, Order
from gnomon.domain.records import ActionQuery, Checkpoint, ExecutionQuery
from gnomon.errors import JobError, JobKeysError, RunOrdersError, StepDownError, UnknownJobError
from gnomon.jobs.callables import reference
from gnomon.log_api import LogApi
from gnomon.orders.calls import carry_out, read_answer, write_order
from gnomon.testing import VirtualClock

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
TODAY = NOON.date()
OF_KERNELS = vars(KernelApi) | vars(LogApi)
NAMED: dict[str, Any] = {"actor": "ann", "reason": "why not"}


def json_of_depth(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


async def work(day: date = TODAY, wait: timedelta = timedelta(), n: int = 0, where: Path = Path()) -> list[str]:
    return [type(value).__name__ for value in (day, wait, n, where)]


@pytest.fixture
async def kernel() -> Any:
    jobs = [Job(id="work", func=work, cron="0 18 * * *"), Job(id="other", func=work)]
    async with Kernel(jobs=jobs, clock=VirtualClock(NOON)) as kernel:
        yield kernel


async def ordered(kernel: KernelApi, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Call a method by an order and an answer that cross as JSON."""
    sent = msgspec.json.encode(write_order(name, *args, **kwargs))
    answer = await carry_out(kernel, msgspec.json.decode(sent, type=Order), {})
    return read_answer(name, msgspec.json.decode(msgspec.json.encode(answer), type=Answer))


def as_data(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=lambda one: reference(one) if callable(one) else str(one))


async def test_questions_have_the_same_answers(kernel: Kernel) -> None:
    run = await kernel.trigger("work", kwargs={"n": 3}, labels={"tenant": "7"}, actor="ann")
    run_id = (await kernel.wait(run.execution.id)).id
    await kernel.save_checkpoint("mine", Checkpoint(3, b"\x00data"))
    questions: list[tuple[str, Sequence[Any]]] = [
        ("jobs", ()),
        ("job", ("work",)),
        ("parameters", ("work",)),
        ("execution", (run_id,)),
        ("executions", (ExecutionQuery(job_id="work", labels=("tenant:7",)),)),
        ("wait", (run_id,)),
        ("wait_many", ([run_id],)),
        ("timing", (run_id,)),
        ("history", (run_id,)),
        ("log", (run_id, 0, 10)),
        ("explain", ("work", NOON)),
        ("explain_run", (run_id,)),
        ("compare_run", (run_id, run_id)),
        ("audit", (NOON, ["work"])),
        ("job_changes", ("work",)),
        ("events", (0, 1000)),
        ("actions", (ActionQuery(actor="ann"),)),
        ("checkpoint", ("mine",)),
        ("checkpoint", ("none",)),
        ("preview_job", ({"id": "new", "func": "work", "cron": "0 6 * * *"},)),
        ("live_runs", ()),
        ("kernels", ()),
        ("workers", ()),
    ]
    for name, args in questions:
        direct = await getattr(kernel, name)(*args)
        answer = await ordered(kernel, name, *args)
        assert type(answer) is type(direct) or isinstance(answer, list), name
        assert as_data(answer) == as_data(direct), name


async def test_every_method_is_tried_here_and_can_be_ordered(kernel: Kernel) -> None:
    methods = {name for name, one in OF_KERNELS.items() if inspect.iscoroutinefunction(one)} - {"sleep", "at"}
    source = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in sorted(methods) if f'"{name}"' not in source] == []


async def test_commands_about_jobs_do_what_they_say(kernel: Kernel) -> None:
    assert await ordered(kernel, "pause", "work", **NAMED) is True
    assert await ordered(kernel, "pause", "work", **NAMED) is False
    assert (await kernel.job("work")).state.paused_by == "ann"
    assert await ordered(kernel, "resume", "work", **NAMED) is True
    assert await ordered(kernel, "describe", "work", note="büro", actor="ann") is True
    skipped = await ordered(kernel, "skip", "work", **NAMED)
    assert skipped == datetime(2026, 12, 1, 18, tzinfo=UTC)
    assert await ordered(kernel, "skip", "work", skipped, undo=True, **NAMED) == skipped
    assert await ordered(kernel, "backfill", "work", NOON - timedelta(days=2), NOON, rate="1/h", **NAMED) == 2
    assert await ordered(kernel, "stop_backfill", "work", **NAMED) is True
    assert await ordered(kernel, "hold", **NAMED) is True
    assert await ordered(kernel, "release", **NAMED) is True
    changed = [ActOutcome(id="other", changed=True)]
    assert await ordered(kernel, "pause_jobs", JobSelection(ids=["other"]), **NAMED) == changed
    assert await ordered(kernel, "resume_jobs", JobSelection(ids=["other"]), **NAMED) == changed


async def test_commands_about_runs_do_what_they_say(kernel: Kernel) -> None:
    triggered = await ordered(kernel, "trigger", "work", kwargs={"n": 2}, labels={"tenant": "7"}, actor="ann")
    assert (triggered.execution.kwargs, triggered.execution.labels, triggered.is_new) == (
        {"n": 2},
        {"tenant": "7"},
        True,
    )
    run_id = triggered.execution.id
    await kernel.wait(run_id)
    assert (await ordered(kernel, "hide", run_id, actor="ann")).hidden
    orders = [RunOrder("work", {"n": 1}), RunOrder("other", idempotency_key="k")]
    both = await ordered(kernel, "trigger_many", orders, actor="ann")
    assert [one.execution.job_id for one in both] == ["work", "other"]
    await kernel.wait_many([one.execution.id for one in both])
    assert await ordered(kernel, "cancel_runs", RunSelection(job_id="work"), **NAMED) == []
    with pytest.raises(GnomonError, match="has already ended"):
        await ordered(kernel, "sample", run_id)
    with pytest.raises(GnomonError, match="has already ended"):
        await ordered(kernel, "cancel", run_id, **NAMED)
    with pytest.raises(GnomonError, match="has already ended"):
        await ordered(kernel, "fail", run_id, "dead", actor="ann")
    with pytest.raises(GnomonError, match="has already ended"):
        await ordered(kernel, "warn", run_id, "slow", "it is slow", actor="ann")


async def test_commands_about_the_log_do_what_they_say(kernel: Kernel) -> None:
    assert await ordered(kernel, "save_checkpoint", "mine", Checkpoint(2, b"\xff\x00"), replaces=0)
    assert await ordered(kernel, "claim", "ann", period_s=60.0) == 0.0
    assert 0 < await ordered(kernel, "claim", "ann", period_s=60.0) <= 60
    facts: dict[str, Any] = {"via": "token", "session": "s", "expires": NOON + timedelta(hours=1)}
    await ordered(kernel, "record_fact", LoggedIn, actor="ann", **facts)
    await ordered(kernel, "record_fact", LoggedOut, actor="ann", name="ann", session="s", reason="logout")
    await kernel.pause("work")  # durable after the facts

    assert await kernel.checkpoint("mine") == Checkpoint(2, b"\xff\x00")
    (fact,) = [one for one in await kernel.events() if isinstance(one, LoggedIn)]
    assert {name: getattr(fact, name) for name in facts} == facts
    with pytest.raises(GnomonError, match="KeyError"):
        await ordered(kernel, "record_fact", JobAdded, actor="ann")
    with pytest.raises(StepDownError, match="no other process can open the log"):
        await ordered(kernel, "step_down", actor="ann", reason="why")
    await ordered(kernel, "report_member", (await kernel.kernels())[0])
    await ordered(kernel, "remove_member", (await kernel.kernels())[0].id)


# --- jobs ---

a_job: Any = Job  # each accepts more than its annotations say
a_retry: Any = Retry
JOBS = [
    a_job(id="new", func=work, every=timedelta(hours=1), grace=timedelta(minutes=5), timeout=timedelta(seconds=1.5)),
    a_job(id="new", func=work, cron="0 6 * * *", timezone=ZoneInfo("Europe/Berlin"), start=date(2026, 12, 24)),
    a_job(id="new", func=work, at=NOON + timedelta(days=1), retry=a_retry(attempts=3, delay=timedelta(seconds=2))),
    a_job(id="new", func=work, schedules=[{"cron": "0 1 * * *"}, {"every": "2h", "end": date(2027, 1, 1)}]),
    a_job(id="new", func=work, trigger={"type": "interval", "minutes": 5}, kwargs={"n": 3}, labels={"tenant": "7"}),
    a_job(id="new", func=work, kwargs={"day": date(2026, 12, 2), "wait": timedelta(minutes=1), "where": Path("x")}),
    a_job(id="new", func="work", every="10m", paused=True, tags=["é"], description='a "text"\n'),
]


@pytest.mark.parametrize("job", JOBS)
async def test_a_job_arrives_as_it_would_be_added_here(kernel: Kernel, job: Job) -> None:
    direct = await kernel.add_job(job)
    expected = (await kernel.job("new")).state.definition
    await kernel.remove_job("new")

    added = await ordered(kernel, "add_job", job, owner="tenant 7", **NAMED)

    state = (await kernel.job("new")).state
    assert (state.definition, state.owner) == (expected, "tenant 7")
    assert as_data(added) == as_data(direct)


async def test_functions_and_keys_arrive_as_they_would_here(kernel: Kernel) -> None:
    added = await ordered(
        kernel, "add_job", work, id="new", every=timedelta(minutes=5), retry={"delay": timedelta(seconds=1)}
    )
    assert (added.id, str(added.every), str(added.retry.delay)) == ("new", "5m", "1s")
    changed = await ordered(
        kernel, "change_job", "new", every=None, cron="0 1 * * *", grace=timedelta(hours=1), **NAMED
    )
    assert (changed.every, changed.cron, str(changed.grace)) == (None, "0 1 * * *", "1h")
    many = await ordered(kernel, "add_jobs", [a_job(id="a", func=work, every=timedelta(hours=1)), work], replace=False)
    assert [job.id for job in many] == ["a", f"{work.__module__}.work"]
    diff = await ordered(kernel, "apply_jobs", [Job(id="b", func=work)], owner="tenant 7", **NAMED)
    assert (diff.added, diff.changed, diff.removed) == (["b"], {}, [])
    await ordered(kernel, "remove_job", "a", **NAMED)
    assert "a" not in {view.job.id for view in await kernel.jobs()}


async def test_keys_from_outside_are_ordered_with_all_that_they_say(kernel: Kernel) -> None:
    order = JobOrder(how="add", job_id="new", keys={"id": "new", "func": "work", "every": "1h"}, owner="x")
    added = await ordered(kernel, "order_job", order, trusted=True, idempotency_key="k", **NAMED)
    again = await ordered(kernel, "order_job", order, trusted=True, idempotency_key="k", **NAMED)
    assert (added.version, added.is_new, added.view.job.id, again.version) == (1, True, "new", 1)
    many = await ordered(kernel, "order_jobs", [{"id": "c", "func": "work"}], trusted=True, **NAMED)
    assert [one.view.job.id for one in many] == ["c"]
    with pytest.raises(JobKeysError) as caught:
        await ordered(kernel, "order_job", JobOrder(how="change", job_id="new", keys={"cronn": 1}), trusted=True)
    assert [key for key, _ in caught.value.problems] == ["cronn"]


async def test_arguments_arrive_as_the_types_of_their_parameters(kernel: Kernel) -> None:
    given = {"day": date(2026, 12, 2), "wait": timedelta(minutes=1), "n": 2**70, "where": Path("x")}

    triggered = await ordered(kernel, "trigger", "work", kwargs=given)

    assert (await kernel.wait(triggered.execution.id)).return_value == ["date", "timedelta", "int", "PosixPath"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (object(), r"kwargs\.n: <object object at .*> is of the type object$"),
        ([1, {"a": 1j}], r"kwargs\.n\[1\]\.a: 1j is of the type complex$"),
        ({"a": "\ud800"}, r"kwargs\.n\.a: '\\ud800' has half a character"),
        ({1: 2}, r"^kwargs\.n: the key 1 is not text"),
        (json_of_depth(5_000), "is nested deeper than 64 levels"),
    ],
    ids=["object", "in a list", "surrogate", "key", "depth"],
)
def test_the_error_says_where_what_json_cannot_hold_stands(value: Any, problem: str) -> None:
    with pytest.raises(JobError, match=problem):
        write_order("trigger", "work", kwargs={"n": value})


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {1, 2}, object(), print, "\ud800", [{"a": object()}]])
async def test_what_json_cannot_hold_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(JobError):
        write_order("trigger", "work", kwargs={"n": value})


async def test_errors_come_back_with_what_they_say(kernel: Kernel) -> None:
    with pytest.raises(UnknownJobError, match="there is no job 'wrk'; did you mean 'work'") as unknown:
        await ordered(kernel, "pause", "wrk")
    assert unknown.value.job_id == "wrk"
    with pytest.raises(RunOrdersError) as refused:
        await ordered(kernel, "trigger_many", [RunOrder("work"), RunOrder("none"), RunOrder("work", {"x": 1})])
    problems: Mapping[int, GnomonError] = refused.value.problems
    assert isinstance(problems[1], UnknownJobError)
    assert isinstance(problems[2], JobError)
    with pytest.raises(ValueError, match="cursor"):
        await ordered(kernel, "executions", ExecutionQuery(cursor="damaged"))


@pytest.mark.parametrize("name", ["sleep", "__init__", "_secret", "health2", "clock"])
async def test_what_is_not_a_call_is_not_called(kernel: Kernel, name: str) -> None:
    answer = await carry_out(kernel, Order(name), {})

    assert answer.error is not None
    assert f"does not know the order {name!r}" in answer.error.message
