"""Arguments are JSON in the log, and values of the annotated types at the call, in every runner."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

import annotated_bodies as bodies
from gnomon import ArgumentError, Duration, Execution, Job, JobError, Kernel, OverrideError, SecretReference
from gnomon.jobs.body import make_body
from gnomon.jobs.registered import JobProblem, check_job, register_job

KEY = "7b1f3f0e-6d0a-4c6b-9d59-0c3f5ad2c0a1"


def kinds() -> dict[str, tuple[Any, Any]]:
    """Return the JSON of each argument of `every_kind`, and the value that the body receives."""
    day = date(2026, 1, 2)
    window = bodies.Window(day, None, [bodies.Color.BLUE])
    window_json = {"start": "2026-01-02", "end": None, "colors": ["blue"]}
    return {
        "moment": ("2026-01-02T10:00:00Z", datetime(2026, 1, 2, 10, tzinfo=UTC)),
        "day": ("2026-01-02", day),
        "clock": ("10:30:00", time(10, 30)),
        "span": ("PT5M", timedelta(minutes=5)),
        "minutes": ("1h 30m", timedelta(minutes=90)),
        "duration": ("10s", Duration(seconds=10)),
        "price": ("12.50", Decimal("12.50")),
        "key": (KEY, UUID(KEY)),
        "path": ("/srv/data", Path("/srv/data")),
        "data": ("aGk=", b"hi"),
        "color": ("red", bodies.Color.RED),
        "level": (2, bodies.Level.HIGH),
        "unique": ([2, 1, 2], {1, 2}),
        "frozen": (["a"], frozenset("a")),
        "pair": ([1, "2026-01-02"], (1, day)),
        "many": (["2026-01-02"], (day,)),
        "window": (window_json, window),
        "order": ({"id": KEY, "price": "1.5", "window": window_json}, bodies.Order(UUID(KEY), Decimal("1.5"), window)),
        "point": ([1, "2026-01-02"], bodies.Point(1, day)),
        "row": ({"day": "2026-01-02", "count": 3}, {"day": day, "count": 3}),
        "zone": ("Europe/Paris", ZoneInfo("Europe/Paris")),
        "maybe": ("2026-01-02", day),
        "nothing": (None, None),
        "count_or_day": ("2026-01-02", day),
        "text_or_day": ("2026-01-02", "2026-01-02"),
        "day_or_moment": ("2026-01-02T10:00:00Z", datetime(2026, 1, 2, 10, tzinfo=UTC)),
        "path_or_count": ("/srv", Path("/srv")),
        "mode": ("slow", "slow"),
        "positive": (3, 3),
        "noted": ("2026-01-02", day),
        "nested": ({"x": [window_json]}, {"x": [window]}),
        "by_day": ({"2026-01-02": "2"}, {day: Decimal(2)}),
        "by_count": ({"3": "x"}, {3: "x"}),
        "plain": ({"a": ["2026-01-02"]}, {"a": ["2026-01-02"]}),
        "foreign": ("2026-01-02", "2026-01-02"),
        "unknown": ("2026-01-02", "2026-01-02"),
        "anything": ("2026-01-02", "2026-01-02"),
        "bare": ("2026-01-02", "2026-01-02"),
    }


KINDS = kinds()
JSON = {name: given for name, (given, _) in KINDS.items()}


def every_kind(runner: str = "thread", **kwargs: Any) -> Job:
    name = "async_every_kind" if runner == "async" else "every_kind"
    return Job(
        id="kinds",
        func=f"annotated_bodies:{name}",
        runner=runner,
        kwargs=JSON | kwargs,
    )


@pytest.mark.parametrize("runner", ["async", "thread", "process"])
async def test_a_body_receives_every_kind(gnomon_run_job: Callable[..., Awaitable[Execution]], runner: str) -> None:
    execution = await gnomon_run_job(every_kind(runner))

    assert execution.status == "success", execution.error_message
    assert execution.kwargs == JSON, "the log has JSON"
    assert execution.return_value == repr({name: value for name, (_, value) in KINDS.items()})


@pytest.mark.parametrize("name", KINDS)
def test_a_value_in_code_is_kept_as_json_that_is_read_back(name: str) -> None:
    _, value = KINDS[name]

    registered = register_job(every_kind(**{name: value}), "UTC")

    body, job = registered.body, registered.job
    assert msgspec.json.decode(msgspec.json.encode(job.kwargs)) == job.kwargs
    assert registered.definition["kwargs"] == job.kwargs
    _, received = body.arguments([], job.kwargs, None, force=False)
    assert received[name] == value
    assert type(received[name]) is type(value)


REFUSED: list[tuple[str, Any, str]] = [
    ("moment", "2026-01-02", r"kwargs.moment .* does not fit: expected datetime such as \"2026-12-31T18:00"),
    ("day", "tomorrow", "kwargs.day of annotated_bodies:every_kind does not fit: expected date .* got 'tomorrow'"),
    ("day", 20260102, "expected date"),
    ("clock", "noon", "expected time"),
    ("span", "soon", "expected timedelta such as \"5m\", got 'soon'"),
    ("duration", "soon", "expected Duration"),
    ("price", "much", "expected Decimal"),
    ("key", "7b1f", "expected UUID"),
    ("path", 7, "expected Path"),
    ("data", "%%%", "expected bytes"),
    ("color", "green", "expected Color, got 'green': invalid enum value 'green'"),
    ("level", "HIGH", "expected Level"),
    ("unique", ["x"], r"expected set\[int\]"),
    ("frozen", "a", r"expected frozenset\[str\]"),
    ("pair", [1], "expected tuple"),
    ("window", {"end": None}, "missing required field `start`"),
    ("window", {"start": "2026-01-02", "colours": []}, r"Window has no field 'colours'; did you mean 'colors'\?"),
    ("order", {"id": KEY, "window": {"start": "now"}}, r"at `\$.window.start`"),
    ("order", {"id": KEY, "window": {"start": "2026-01-02", "x": 1}}, "Window has no field 'x' at window"),
    ("nested", {"x": [{"start": "2026-01-02", "ende": None}]}, r"no field 'ende' at x\[0\]; did you mean 'end'\?"),
    ("zone", "Europe/Pariss", "expected ZoneInfo"),
    ("maybe", "x", r"expected (Optional\[date\]|date \| None) such as"),
    ("count_or_day", "x", r"expected int \| date such as"),
    ("text_or_day", 3, "expected"),
    ("day_or_moment", "x", "expected"),
    ("mode", "medium", "expected Literal"),
    ("positive", 0, "expected .*>= 1|expected .*"),
    ("plain", [], "expected dict"),
]


@pytest.mark.parametrize(("name", "value", "problem"), REFUSED)
def test_what_does_not_convert_is_refused_with_the_name_of_the_parameter(name: str, value: Any, problem: str) -> None:
    problems: list[JobProblem] = []

    assert check_job(every_kind(**{name: value}), "UTC", problems) is None

    assert [found.key for found in problems] == [f"kwargs.{name}"]
    with pytest.raises(ArgumentError, match=f"job 'kinds': the argument kwargs.{name} of ") as raised:
        raise problems[0].error
    assert raised.match(problem)


def test_every_argument_that_does_not_fit_is_reported() -> None:
    problems: list[JobProblem] = []

    check_job(every_kind(day="x", color="y"), "UTC", problems)

    assert [found.key for found in problems] == ["kwargs.day", "kwargs.color"]


async def test_positional_arguments_and_those_of_stars_are_converted(
    gnomon_run_job: Callable[..., Awaitable[Execution]],
) -> None:
    job = Job(
        id="job",
        func="annotated_bodies:positions",
        args=["2026-01-01", "/srv", "2026-01-02", date(2026, 1, 3)],
        kwargs={"apple": "1.5"},
    )

    execution = await gnomon_run_job(job)

    days = (date(2026, 1, 2), date(2026, 1, 3))
    expected = (date(2026, 1, 1), Path("/srv"), days, {"apple": Decimal("1.5")})
    assert execution.return_value == repr(expected), execution.error_message
    assert execution.args == ["2026-01-01", "/srv", "2026-01-02", "2026-01-03"]


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        (["x", "/"], {}, r"args\[0\]"),
        (["2026-01-01", "/", 5], {}, r"args\[2\]"),
        (["2026-01-01", "/"], {"a": "b"}, "kwargs.a"),
    ],
)
def test_positional_arguments_are_refused_by_their_place(args: list[Any], kwargs: dict[str, Any], place: str) -> None:
    with pytest.raises(JobError, match=f"the argument {place} of"):
        register_job(Job(id="job", func="annotated_bodies:positions", args=args, kwargs=kwargs), "UTC")


def test_a_function_with_plain_annotations_costs_no_conversion() -> None:
    body = make_body(Job(id="job", func="annotated_bodies:plain", kwargs={"count": 1}))
    kwargs = {"count": 1, "rows": [{"a": 1}]}

    assert body.converter is None
    assert body.arguments([], kwargs, None, force=False)[1] is kwargs


@pytest.mark.parametrize(
    ("kwargs", "place"),
    [({"count": "1"}, "count"), ({"count": 1, "name": 2}, "name"), ({"count": 1, "rows": {}}, "rows")],
)
def test_plain_annotations_are_checked_too(kwargs: dict[str, Any], place: str) -> None:
    with pytest.raises(JobError, match=f"the argument kwargs.{place} of annotated_bodies:plain"):
        register_job(Job(id="job", func="annotated_bodies:plain", kwargs=kwargs), "UTC")


@pytest.mark.parametrize("func", [print, "math:sqrt", "annotated_bodies:Foreign", partial(print, end="")])
def test_a_function_without_annotations_receives_what_the_log_has(func: Any) -> None:
    assert make_body(Job(id="job", func=func)).types is None


def test_the_default_of_a_parameter_may_be_given_whatever_its_annotation_says() -> None:
    def body(day: date = "today", name: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    registered = register_job(Job(id="job", func=body, kwargs={"day": "today", "name": None}), "UTC")

    assert registered.body.arguments([], registered.job.kwargs, None, force=False)[1] == {"day": "today", "name": None}


def test_a_local_class_in_an_annotation_as_text_is_found_where_the_function_uses_it() -> None:
    class Local(msgspec.Struct):
        day: date

    def body(row: "Local") -> Any:
        return Local

    registered = register_job(Job(id="job", func=body, kwargs={"row": {"day": "2026-01-01"}}), "UTC")

    assert registered.body.arguments([], registered.job.kwargs, None, force=False)[1] == {
        "row": Local(date(2026, 1, 1))
    }


@pytest.mark.parametrize(
    "value",
    [date(2026, 1, 1), {1, 2}, (1, 2), Path("/"), b"x", object(), Decimal(1)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", ["bare", "foreign", "plain", "text_or_day"])
def test_a_value_that_the_annotation_does_not_read_back_is_refused(name: str, value: Any) -> None:
    with pytest.raises(JobError, match=r"annotate the parameter of the function .* `day: date`"):
        register_job(every_kind(**{name: value}), "UTC")


def test_a_set_has_one_order_in_the_log() -> None:
    def body(names: set[str]) -> None: ...

    registered = register_job(Job(id="job", func=body, kwargs={"names": {"b", "c", "a"}}), "UTC")

    assert registered.definition["kwargs"] == {"names": ["a", "b", "c"]}


@pytest.mark.parametrize("runner", ["thread", "process"])
async def test_a_secret_is_converted_after_it_was_read(
    gnomon_run_job: Callable[..., Awaitable[Execution]], monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    monkeypatch.setenv("APP_PATH", "/run/secret-xyz")
    monkeypatch.setenv("APP_COLOR", "blue")
    kwargs = {"token": SecretReference(env="APP_PATH"), "color": SecretReference(env="APP_COLOR")}

    execution = await gnomon_run_job(Job(id="job", func="annotated_bodies:of_a_secret", kwargs=kwargs, runner=runner))

    assert execution.return_value == f"{type(Path()).__name__} xyz BLUE", execution.error_message


async def test_a_secret_that_does_not_fit_fails_the_run_and_is_not_shown(
    gnomon_run_job: Callable[..., Awaitable[Execution]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_COLOR", "the-secret-color")
    kwargs = {"token": "/", "color": SecretReference(env="APP_COLOR")}

    execution = await gnomon_run_job(Job(id="job", func="annotated_bodies:of_a_secret", kwargs=kwargs))

    assert execution.status == "failed"
    assert "the argument kwargs.color does not fit: expected Color: invalid enum value" in (
        execution.error_message or ""
    )
    assert "the-secret-color" not in str((execution.error_message, execution.traceback))


# --- arguments for one run


async def test_a_trigger_takes_values_and_refuses_what_does_not_fit() -> None:
    async with Kernel(jobs=[every_kind()]) as kernel:
        triggered = await kernel.trigger("kinds", kwargs={"day": date(2027, 5, 6), "unique": {3}})
        execution = await kernel.wait(triggered.execution.id)
        with pytest.raises(JobError, match=r"the argument kwargs.day of .* got 'x'"):
            await kernel.trigger("kinds", kwargs={"day": "x"})
        with pytest.raises(JobError, match=r"kwargs.window .*no field 'ende'"):
            await kernel.trigger("kinds", kwargs={"window": {"start": "2026-01-01", "ende": None}})
        before = await kernel.job("kinds")

    assert execution.kwargs == JSON | {"day": "2027-05-06", "unique": [3]}
    assert "datetime.date(2027, 5, 6)" in execution.return_value
    assert before.running == []
    assert before.waiting == []


async def test_the_value_of_the_job_may_be_repeated_in_either_form() -> None:
    job = msgspec.structs.replace(every_kind(), overrides="none")
    async with Kernel(jobs=[job]) as kernel:
        await kernel.trigger("kinds", kwargs={"day": date(2026, 1, 2)})
        with pytest.raises(OverrideError):
            await kernel.trigger("kinds", kwargs={"day": date(2026, 1, 3)})


async def test_a_dataclass_in_a_trigger_cannot_refer_to_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    class Given(msgspec.Struct):
        values: dict[str, Any]

    def body(given: Given) -> str:
        return repr(given.values)

    monkeypatch.setenv("APP_TOKEN", "of the kernel")
    attempt = {"$secret": {"env": "APP_TOKEN"}}
    async with Kernel(jobs=[Job(id="job", func=body)]) as kernel:
        runs = [await kernel.trigger("job", kwargs={"given": given}) for given in (Given(attempt), {"values": attempt})]
        executions = [await kernel.wait(run.execution.id) for run in runs]

    assert [execution.return_value for execution in executions] == [repr(attempt)] * 2
