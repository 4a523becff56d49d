import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from apscheduler.triggers.interval import IntervalTrigger

from gnomon.domain.events import DeclaredStep
from gnomon.durations import Duration
from gnomon.errors import JobError, JobKeysError, TriggerError
from gnomon.jobs.body import make_body
from gnomon.jobs.callables import load_function
from gnomon.jobs.decorator import job, jobs_in
from gnomon.jobs.job import Job, Limits, Retry, explain_schedule
from gnomon.jobs.registered import own_arguments

if TYPE_CHECKING:
    from gnomon.runners.context import Context

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def plain(limit: int = 5) -> None: ...


async def waits() -> None: ...


@functools.wraps(waits)
def wrapped() -> object:
    return waits()


def report(ctx: "Context", market: str, *, force: bool) -> None: ...


class Callables:
    def __call__(self) -> None: ...

    async def method(self) -> None: ...

    @staticmethod
    def helper() -> None: ...


class AsyncCallable:
    async def __call__(self) -> None: ...


@dataclass
class Unhashable:
    market: str

    def __call__(self, since: int) -> None: ...


@dataclass(frozen=True)
class Alike:
    client: object = field(compare=False)

    def __call__(self) -> None: ...


# --- definitions ---


@pytest.mark.parametrize("good", ["a", "0", "market.sync:cn-1_x", "x" * 128])
def test_an_id_is_a_word(good: str) -> None:
    assert Job(id=good, func=plain).id == good


@pytest.mark.parametrize("bad", ["", "-a", ".a", "a b", "a/b", "ä", "x" * 129, "a\n"])
def test_any_other_id_is_refused(bad: str) -> None:
    with pytest.raises(JobError, match=r"job id .* is not valid: expected 1 to 128"):
        Job(id=bad, func=plain)


def test_a_job_has_one_schedule() -> None:
    with pytest.raises(JobError, match="job 'x' has cron and at: give one of"):
        Job(id="x", func=plain, cron="@daily", at=NOW)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"priority": "x"}, r"job 'a'\.priority: expected integer, got text 'x'"),
        ({"priority": "3"}, r"job 'a'\.priority: expected integer, got text '3'"),
        ({"max_instances": "3"}, r"job 'a'\.max_instances: expected integer, got text '3'"),
        ({"group": 5}, r"job 'a'\.group: expected text, got integer"),
        ({"cron": 5}, r"job 'a'\.cron: expected text, got integer"),
        ({"queue_limit": "x"}, r"job 'a'\.queue_limit: expected integer, got text"),
        ({"labels": 5, "priority": "x"}, r"job 'a'\.priority: (?s:.*)job 'a'\.labels: expected table"),
        ({"id": 5}, r"job 5\.id: expected text, got integer"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(JobError, match=problem):
        Job(**{"id": "a", "func": plain, **keys})


def test_only_a_process_can_be_limited() -> None:
    with pytest.raises(JobError, match=r'only `runner = "process"`'):
        Job(id="x", func=plain, limits=Limits(memory=1))


@pytest.mark.parametrize(("policies", "instances"), [({}, 1), ({"overlap": "allow"}, float("inf"))])
def test_a_job_runs_once_at_a_time_unless_overlap_is_allowed(policies: dict[str, Any], instances: float) -> None:
    assert Job(id="x", func=plain, **policies).instances == instances


def test_max_instances_counts_for_every_overlap() -> None:
    assert Job(id="x", func=plain, overlap="allow", max_instances=3).instances == 3


def test_a_job_without_a_name_is_called_by_its_id() -> None:
    assert Job(id="x", func=plain).title == "x"
    assert Job(id="x", func=plain, name="Sync").title == "Sync"


def test_a_definition_is_json_with_only_what_was_given() -> None:
    declared = Job(
        id="x",
        func=plain,
        every=Duration(minutes=10),
        retry=Retry(attempts=3),
        steps=["fetch", DeclaredStep(name="store", weight=3)],
        options={"calendar": "XSHG"},
    )

    definition = declared.definition()

    assert msgspec.json.decode(msgspec.json.encode(definition)) == definition
    assert definition["func"].endswith(":plain")
    assert definition["every"] == "10m"
    assert definition["options"] == {"calendar": "XSHG"}
    assert "timeout" not in definition
    assert "catch_up" not in definition


def test_what_is_said_and_is_the_default_is_no_part_of_the_definition() -> None:
    said = Job(id="x", func=plain, cancel_grace=Duration(seconds=10), retry=Retry(attempts=1), tags=[], name="")

    assert said.definition() == {"id": "x", "func": f"{__name__}:plain"}


def test_a_trigger_object_is_defined_by_its_text() -> None:
    declared = Job(id="x", func=plain, trigger=IntervalTrigger(minutes=5, timezone=UTC))

    assert declared.definition()["trigger"] == {"type": "object", "text": "interval[0:05:00]"}


def test_a_trigger_object_without_a_text_is_defined_by_its_class_alone() -> None:
    class Tide:
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
            return (previous or now) + timedelta(hours=12)

    texts = [Job(id="x", func=plain, trigger=trigger).definition()["trigger"]["text"] for trigger in (Tide(), Tide())]

    assert texts[0] == texts[1]
    assert texts[0].endswith("Tide object>")


# --- schedules ---


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        ({"cron": "0 18 * * *", "timezone": "Asia/Shanghai"}, NOW.replace(hour=10) + timedelta(days=1)),
        ({"every": Duration(minutes=10)}, NOW + timedelta(minutes=10)),
        ({"at": datetime(2026, 7, 2, 9), "timezone": "Asia/Shanghai"}, datetime(2026, 7, 2, 1, tzinfo=UTC)),  # noqa: DTZ001
        ({"trigger": {"type": "cron", "hour": 13}}, NOW.replace(hour=13)),
    ],
)
def test_each_kind_of_schedule_makes_its_trigger(schedule: dict[str, Any], first: datetime) -> None:
    trigger = Job(id="x", func=plain, **schedule).build_trigger()

    assert trigger is not None
    assert trigger.get_next_fire_time(None, NOW) == first


def test_a_foreign_trigger_answers_in_utc() -> None:
    foreign = IntervalTrigger(minutes=5, start_date=NOW, timezone="Asia/Shanghai")
    trigger = Job(id="x", func=plain, trigger=foreign).build_trigger()

    assert trigger is not None
    fire = trigger.get_next_fire_time(NOW, NOW)

    assert fire == NOW + timedelta(minutes=5)
    assert fire.tzinfo is UTC


def test_a_job_without_a_schedule_has_no_trigger() -> None:
    declared = Job(id="x", func=plain)

    assert declared.build_trigger() is None
    assert explain_schedule(declared) == "only when triggered"


def test_a_schedule_is_explained() -> None:
    assert explain_schedule(Job(id="x", func=plain, every=Duration(minutes=10))) == "every 10 minutes"


@pytest.mark.parametrize("schedule", [{"cron": "61 * * * *"}, {"timezone": "Mars/Olympus"}, {"trigger": {"type": "x"}}])
def test_a_schedule_that_cannot_be_read_is_refused(schedule: dict[str, Any]) -> None:
    with pytest.raises(TriggerError):
        Job(id="x", func=plain, **schedule).build_trigger()


def test_what_is_no_trigger_is_refused() -> None:
    with pytest.raises(JobError, match="job 'x': trigger is 5, expected a trigger object or a table with a `type`"):
        Job(id="x", func=plain, trigger=5).build_trigger()


# --- functions ---


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("app", "func 'app' is not valid, expected \"package.module:callable\""),
        ("nowhere_at_all:x", "there is no module 'nowhere_at_all'; add its folder to [kernel] python_path"),
        ("json.nowhere:x", "there is no module 'json.nowhere'"),
        ("json:dupms", "func 'json:dupms': json has no 'dupms'; did you mean 'dumps'?"),
        ("json:JSONEncoder.itm", "json has no 'JSONEncoder.itm'"),
        ("json:__name__", "func 'json:__name__' is of type str, expected a callable"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_reported_with_the_next_step(target: str, problem: str) -> None:
    with pytest.raises(JobError) as caught:
        load_function(target)

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("import nowhere_at_all", "importing broken failed: No module named 'nowhere_at_all'"),
        ("1 / 0", "importing broken failed: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "importing broken failed: SystemExit: 3"),
        ("def f(:", "importing broken failed: SyntaxError"),
    ],
)
def test_whatever_a_module_raises_names_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
) -> None:
    (tmp_path / "broken.py").write_text(body, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(JobError) as caught:
        load_function("broken:f")

    assert problem in str(caught.value)


def test_a_function_inside_of_something_is_loaded() -> None:
    assert load_function("json:JSONEncoder.encode").__qualname__ == "JSONEncoder.encode"


@pytest.mark.parametrize(
    ("func", "is_async"),
    [
        (plain, False),
        (waits, True),
        (functools.partial(waits), True),
        pytest.param(wrapped, False, id="wrapped"),
        (Callables(), False),
        (Callables, False),
        (Callables().method, True),
        (Callables.helper, False),
        (AsyncCallable(), True),
        (AsyncCallable, False),
        (print, False),
    ],
)
def test_coroutine_functions_are_known_as_such(func: Callable[..., Any], is_async: bool) -> None:
    assert make_body(Job(id="x", func=func)).is_async is is_async


def test_a_signature_asks_for_the_context_and_for_force() -> None:
    body = make_body(Job(id="x", func=report, kwargs={"market": "cn"}))

    assert body.context_parameter == "ctx"
    assert body.takes_force


@pytest.mark.parametrize(
    "arguments", [{"kwargs": {}}, {"kwargs": {"market": "cn", "makret": "us"}}, {"args": [1, 2, 3]}]
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=r"job 'x': .*:report cannot be called with args="):
        make_body(Job(id="x", func=report, every=Duration(seconds=60), **arguments))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"kwargs": {"market": "cn", "forec": True}}, r"unexpected keyword argument 'forec'; did you mean 'force'\?$"),
        (
            {"kwargs": {"makret": "us"}},
            r"required argument: 'market'; there is no argument 'makret'; did you mean 'market'\?$",
        ),
        ({"args": [1], "kwargs": {"market": "cn"}}, r"multiple values for argument 'market'$"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(JobError, match=problem):
        make_body(Job(id="x", func=report, every=Duration(seconds=60), **arguments))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"args": [1, object()]}, r"keeps them: args\[1\] is of type object; pass"),
        ({"kwargs": {"x": object()}}, r"keeps them: kwargs\['x'\] is of type object; pass"),
    ],
)
def test_an_argument_that_is_not_json_is_named(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(JobError, match=problem):
        own_arguments(Job(id="x", func=report, **arguments))


def positional(a: int, b: int = 2, /, *rest: int, **named: int) -> dict[str, int]:
    return named


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ([1], {"b": 3}),
        ([1, 2], {"b": 3}),
        ([1], {"a": 3}),
        ([1], {"b": 3, "c": 4}),
        ([], {"a": 1}),
        ([], {"b": 1}),
        ([1], {}),
    ],
)
def test_positional_only_parameters_accept_what_python_accepts(args: list[int], kwargs: dict[str, int]) -> None:
    job = Job(id="x", func=positional, args=args, kwargs=kwargs, every=Duration(seconds=60))
    try:
        positional(*args, **kwargs)
    except TypeError:
        with pytest.raises(JobError, match="missing a required"):
            make_body(job)
    else:
        assert make_body(job).func is positional


def test_a_positional_only_force_is_not_passed_by_name() -> None:
    def forced(force: bool = False, /) -> bool:
        return force

    body = make_body(Job(id="x", func=forced))

    assert body.arguments([], {}, None, force=True) == ([], {})


def test_a_job_that_is_only_triggered_may_lack_what_its_triggers_bring() -> None:
    assert make_body(Job(id="x", func=report)).func is report


def test_a_function_without_a_hash_is_read_as_any_other() -> None:
    assert not make_body(Job(id="x", func=Unhashable("cn"), every=Duration(seconds=60), args=[5])).is_async

    with pytest.raises(JobError, match="missing a required argument: 'since'"):
        make_body(Job(id="x", func=Unhashable("cn"), every=Duration(seconds=60)))


def test_each_job_has_its_own_function_also_where_two_are_equal() -> None:
    one, other = Alike(object()), Alike(object())

    bodies = [make_body(Job(id="x", func=func)) for func in (one, other)]

    assert [body.func is func for body, func in zip(bodies, (one, other), strict=True)] == [True, True]


def test_a_problem_of_arguments_names_the_job_whose_they_are() -> None:
    for job_id in ("a", "b"):
        with pytest.raises(
            JobError, match=rf"job '{job_id}': .*:plain cannot .* got an unexpected keyword argument 'y'"
        ):
            make_body(Job(id=job_id, func=plain, kwargs={"y": job_id}))


def test_what_cannot_be_called_is_no_function() -> None:
    with pytest.raises(JobError, match="job 'x': func is 5, expected a callable"):
        make_body(Job(id="x", func=5))


# --- @job ---


def test_a_declared_function_stays_a_function() -> None:
    @job(every="10m", timeout="1h")
    def sync(market: str = "cn") -> str:
        """Sync it."""
        return market

    declared = vars(sync)["__gnomon_job__"]

    assert sync("us") == "us"
    assert declared.id == "sync"
    assert declared.description == "Sync it."
    assert declared.every == timedelta(minutes=10)
    assert declared.func is sync


def test_a_job_may_be_declared_without_any_policy() -> None:
    @job
    def sync() -> None: ...

    assert vars(sync)["__gnomon_job__"].id == "sync"


def test_a_wrong_declaration_names_the_function() -> None:
    with pytest.raises(JobError, match=r"@job .*sync\.evry: unknown key; did you mean 'every'\?"):

        @job(evry="10m")
        def sync() -> None: ...


def test_a_module_has_the_jobs_that_it_declares_itself() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"no application: {name}")

    def declared(name: str, module: str) -> Callable[..., None]:
        def function() -> None: ...

        function.__module__ = module
        return job(function, id=name)

    module = ModuleType("app")
    first, second = declared("first", "app"), declared("second", "app")
    vars(module).update(proxy=Proxy(), first=first, alias=first, second=second, imported=declared("other", "elsewhere"))

    assert [found.id for found in jobs_in(module)] == ["first", "second"]


def test_all_that_contradicts_itself_is_named_at_once() -> None:
    with pytest.raises(JobKeysError) as caught:
        Job(id="a b", func=plain, max_instances=0, priority=10**9, labels={"a b": "x"})

    assert [key for key, _ in caught.value.problems] == ["id", "max_instances", "labels", "priority"]
    assert str(caught.value).count("\n") == 3
