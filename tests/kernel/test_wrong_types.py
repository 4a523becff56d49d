"""Values of wrong types: every query and command names the parameter, what was found and what was expected."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import (
    BackgroundKernel,
    ExecutionQuery,
    GnomonError,
    Job,
    JobError,
    Kernel,
    ParameterError,
    RunOrder,
    UnknownExecutionError,
    UnknownJobError,
)
from gnomon.api import KernelApi
from gnomon.client import Client
from gnomon.clock import SystemClock
from gnomon.domain.bulk_acts import JobSelection, RunSelection
from gnomon.domain.events import LoggedIn
from gnomon.domain.job_order import JobOrder
from gnomon.domain.parameter_checks import checked_methods
from gnomon.domain.records import ActionQuery, Checkpoint
from gnomon_sqlite import SqliteStore

HOURLY = Job(id="job", func="time:time", cron="0 * * * *")
VALUES: list[Any] = [None, 7, 2.5, True, "text", b"text", ["x"], {"a": 1}, {"x"}, object(), len, int]
NOW = datetime(2026, 12, 1, tzinfo=UTC)
RIGHT: dict[str, list[Any]] = {
    "str": ["text"],
    "int": [7],
    "float": [7, 2.5],
    "bool": [True],
    "Mapping": [{"a": 1}],
    "Iterable[str]": [["x"], {"x"}],
    "tuple[str": [["x"], {"x"}],
    "timedelta": [],
    "datetime": [],
}
"""The values among those above that an annotation allows, by how it begins."""
GIVEN: dict[str, Any] = {
    "order": JobOrder(how="remove", job_id="job"),
    "job_id": "job",
    "execution_id": "0" * 24,
    "task_id": "job",
    "execution_ids": [],
    "name": "view",
    "period_s": 60.0,
    "message": "text",
    "verb": "ack",
    "kind": "text",
    "seconds": 0,
    "keys": {},
    "changes": {},
    "since": NOW,
    "until": NOW,
    "fact": LoggedIn,
    "orders": [],
    "jobs": [],
    "job": "time:time",
    "checkpoint": Checkpoint(0, b""),
}


def anything(value: Any) -> Any:
    """Pass a value whose type the signature forbids."""
    return value


def parameters_of(kind: type) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the parameters of the coroutine methods of a class, each with the name of its method."""
    for name, method in (pair for one in kind.__mro__[:-1] for pair in vars(one).items()):
        if not name.startswith("_") and inspect.isfunction(method) and name != "health":
            for one in list(inspect.signature(method).parameters.values())[1:]:
                if one.kind is not one.VAR_KEYWORD and one.name not in {"job", "actor", "owner", "reason"}:
                    yield name, one


def wrong_values(parameter: inspect.Parameter) -> list[Any]:
    annotation = str(parameter.annotation)
    right = next((values for begin, values in RIGHT.items() if annotation.startswith(begin)), [])
    if annotation.startswith("Iterable[") and "str" not in annotation.split("]", maxsplit=1)[0].split("[")[1]:
        right = [["x"], {"x"}]
    if annotation.startswith("Iterable[Job"):  # what is in the list is checked by the command
        right = [["x"], {"x"}]
    if annotation.startswith("Sequence["):
        right = [["x"], {"x"}]
    left = [*right, *([None] if "None" in annotation else [])]
    return [value for value in VALUES if not any(type(value) is type(one) and value == one for one in left)]


def arguments(method: Callable[..., Any], name: str, value: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments for a method: the value for one parameter, and valid ones for those that must be given."""
    given: tuple[list[Any], dict[str, Any]] = [], {}
    for one in list(inspect.signature(method).parameters.values())[1:]:
        if one.kind is one.VAR_KEYWORD or (one.name != name and one.default is not one.empty):
            continue
        chosen = value if one.name == name else GIVEN.get(one.name, "text" if one.annotation == "str" else None)
        if one.kind is one.POSITIONAL_ONLY:
            given[0].append(chosen)
        else:
            given[1][one.name] = chosen
    return given


@pytest.mark.parametrize("name", sorted({name for name, _ in parameters_of(KernelApi)}))
async def test_every_parameter_of_the_kernel_refuses_values_of_wrong_types(name: str) -> None:
    async with Kernel(jobs=[HOURLY]) as kernel:
        head = (await kernel.events())[-1].position
        for method, parameter in parameters_of(KernelApi):
            for value in wrong_values(parameter) if method == name else ():
                args, kwargs = arguments(getattr(KernelApi, name), parameter.name, value)
                with pytest.raises(ParameterError, match=f"^{parameter.name}: expected ") as caught:
                    await getattr(kernel, name)(*args, **kwargs)
                assert caught.value.name == parameter.name
        assert (await kernel.events())[-1].position == head


@pytest.mark.parametrize("name", sorted({name for name, _ in parameters_of(Client)}))
async def test_every_parameter_of_the_client_refuses_values_of_wrong_types(name: str) -> None:
    async with Client("http://127.0.0.1:1", patience=0) as client:
        for method, parameter in parameters_of(Client):
            for value in wrong_values(parameter) if method == name else ():
                args, kwargs = arguments(getattr(Client, name), parameter.name, value)
                with pytest.raises(ParameterError, match=rf"^{parameter.name}(\[0\])?: expected "):
                    await getattr(client, name)(*args, **kwargs)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda kernel: kernel.wait_many("abc"), "execution_ids: expected a list of ids of runs, got 'abc'"),
        (lambda kernel: kernel.wait_many(iter([7])), "execution_ids[0]: expected text, got 7"),
        (lambda kernel: kernel.pause_jobs("j"), "selection: expected a JobSelection, such as JobSelection(ids=...)"),
        (
            lambda kernel: kernel.pause_jobs(JobSelection(ids=anything("abc"))),
            "selection.ids: expected a list, got 'abc'",
        ),
        (
            lambda kernel: kernel.resume_jobs(JobSelection(ids=anything(["a", 7]))),
            "selection.ids[1]: expected text, got 7",
        ),
        (
            lambda kernel: kernel.pause_jobs(JobSelection(tag=anything(["a"]))),
            "selection.tag: expected text, got ['a']",
        ),
        (
            lambda kernel: kernel.cancel_runs(RunSelection(job_id=anything(7))),
            "selection.job_id: expected the id of a job, got",
        ),
        (
            lambda kernel: kernel.executions(ExecutionQuery(status=anything("failed"))),
            "query.status: expected a list, got 'f",
        ),
        (
            lambda kernel: kernel.executions(ExecutionQuery(status=anything(("faild",)))),
            "got 'faild'; did you mean 'failed'?",
        ),
        (
            lambda kernel: kernel.executions(ExecutionQuery(limit=anything("50"))),
            "query.limit: expected an integer, got '50'",
        ),
        (
            lambda kernel: kernel.actions(ActionQuery(since=anything("2026"))),
            "query.since: expected a datetime such as",
        ),
        (lambda kernel: kernel.trigger("job", when_full="wat"), "when_full: expected one of 'raise', 'wait', 'miss'"),
        (
            lambda kernel: kernel.trigger_many([RunOrder("job", force=anything("no"))]),
            "force: expected True or False, got 'no'",
        ),
        (lambda kernel: kernel.fail("0" * 24, "gone", reason="dead"), "reason: expected one of 'exception'"),
        (lambda kernel: kernel.order_job(JobOrder(how=anything("ad"), job_id="a")), "did you mean 'add'?"),
        (
            lambda kernel: kernel.order_job(JobOrder(how="add", job_id="a", keys=anything([]))),
            "order.keys: expected a mapping",
        ),
    ],
)
async def test_what_is_nested_in_an_argument_is_checked_with_its_place(
    call: Callable[[Any], Any], problem: str
) -> None:
    async with Kernel(jobs=[HOURLY]) as kernel:
        with pytest.raises(GnomonError) as caught:
            await call(kernel)
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"jobs": None}, "jobs: expected a list of jobs, got None"),
        ({"jobs": "app:sync"}, "jobs: expected a list of jobs, got 'app:sync'; write [...] around a single one"),
        ({"plugins": 7}, "plugins: expected a list of plugins, or a mapping with their names, got 7"),
        ({"store": "gnomon.db"}, "store: expected a Store, got 'gnomon.db'"),
        ({"clock": SystemClock}, "make one of the class: SystemClock(...)"),
        ({"max_running": "3"}, "max_running: expected an integer, got '3'"),
        ({"drain": 30}, "drain: expected a timedelta such as timedelta(seconds=30), got 30"),
        ({"allow_functions": "app:*"}, "allow_functions: expected a list, got 'app:*'"),
        ({"keeps_time": "no"}, "keeps_time: expected True or False, got 'no'"),
        ({"timezone": UTC}, "timezone: expected text, got datetime.timezone.utc"),
    ],
)
def test_settings_of_a_kernel_are_checked_with_their_names(settings: dict[str, Any], problem: str) -> None:
    for kind in (Kernel, BackgroundKernel):
        with pytest.raises(ParameterError) as caught:
            kind(**settings)
        assert problem in str(caught.value)


def test_a_background_kernel_refuses_what_its_kernel_refuses() -> None:
    with BackgroundKernel() as kernel:
        with pytest.raises(ParameterError, match=r"^execution_ids: expected a list of ids of runs, got None"):
            kernel.wait_many(anything(None))
        with pytest.raises(ParameterError, match=r"^wait: expected True or False, got 'no'"):
            kernel.shutdown(wait=anything("no"))


def test_what_cannot_be_told_from_an_annotation_is_left_to_the_method() -> None:
    @checked_methods
    class Anything:
        def call(self, value: Any, other: int | list[int], *, limit: timedelta | None = None, **rest: int) -> Any:
            return value, other, limit, rest

    assert Anything().call(1, [2], more=3) == (1, [2], None, {"more": 3})
    with pytest.raises(ParameterError, match=r"^limit: expected a timedelta"):
        Anything().call(1, 2, limit=anything(5))


HALF = "\ud800"
"""Half a character, as it comes from a broken text; no store and no JSON can hold it."""
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
LOOKED_UP = ["execution", "wait", "cancel", "history", "timing", "hide"]


@pytest.mark.parametrize("method", LOOKED_UP)
async def test_an_id_with_half_a_character_is_unknown(method: str, tmp_path: Path) -> None:
    async with Kernel(store=SqliteStore(tmp_path / "gnomon.db")) as kernel:
        with pytest.raises(UnknownExecutionError):
            await getattr(kernel, method)(HALF)
        with pytest.raises(UnknownExecutionError):
            await kernel.wait_many([HALF])
        with pytest.raises(UnknownJobError):
            await kernel.pause(HALF)
        assert await kernel.log(HALF) == []
        with pytest.raises(ParameterError, match="has half a character"):
            await kernel.executions(ExecutionQuery(job_id=HALF))
        with pytest.raises(ParameterError, match="has half a character"):
            await kernel.checkpoint(HALF)
        assert kernel.health().state == "healthy"


@pytest.mark.parametrize(
    "key", ["at", "start", "end", "runner", "catch_up", "tags", "name", "args", "kwargs", "exclude"]
)
async def test_a_key_with_half_a_character_is_a_problem_of_the_key(key: str) -> None:
    value: Any = {"tags": [HALF], "args": [HALF], "kwargs": {"a": HALF}}.get(key, HALF)
    keys = {"func": "builtins:print", **({} if key == "at" else {"every": "1h"}), key: value}
    async with Kernel(jobs=[HOURLY]) as kernel:
        with pytest.raises(JobError, match=r"half a character|surrogates not allowed|is not there"):
            await kernel.add_job(keys["func"], id="x", **{name: one for name, one in keys.items() if name != "func"})
        preview = await kernel.preview_job({"id": "x", **keys}, trusted=True)

    assert not preview.ok


@pytest.mark.parametrize("keys", [{"args": [CYCLE]}, {"kwargs": {"a": CYCLE}}, {"tags": CYCLE}, {"schedules": CYCLE}])
async def test_keys_that_contain_themselves_are_refused(keys: dict[str, Any]) -> None:
    async with Kernel() as kernel:
        preview = await kernel.preview_job({"id": "x", "func": "builtins:print", **keys}, trusted=True)

    assert [problem.key for problem in preview.problems] == list(keys)
    assert "is nested deeper than 64 levels" in preview.problems[0].detail


async def test_a_message_repeats_no_value_of_megabytes() -> None:
    long = "x" * 1_000_000
    async with Kernel() as kernel:
        wrong = {"id": long, "func": "builtins:print", "overlap": long, "labels": {long: long}, "every": long}
        preview = await kernel.preview_job(wrong, trusted=True)

    assert {problem.key for problem in preview.problems} == {"id", "overlap", "labels", "every"}
    assert max(len(problem.detail) for problem in preview.problems) < 10_000
