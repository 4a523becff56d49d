"""Which arguments a command may set: the key `overrides` of a job, and what its function declares."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from gnomon import Job, JobError, Kernel, OverrideError, default_overrides
from gnomon.jobs.registered import register_job
from gnomon.testing import make_kernel

Make = Callable[..., Kernel]


async def report(symbol: Any = "a", date: str = "today", limit: int = 1, on: bool = False) -> list[Any]:
    return [symbol, date, limit, on]


@default_overrides("none")
async def command(line: str = "true") -> str:
    return line


def job(func: Callable[..., Any] = report, **keys: Any) -> Job:
    return Job(id="job", func=func, **keys)


async def value(kernel: Kernel, **kwargs: Any) -> Any:
    execution = (await kernel.trigger("job", kwargs=kwargs)).execution
    return (await kernel.wait(execution.id)).return_value


@pytest.mark.parametrize("overrides", [None, "all"])
async def test_all_arguments_may_be_set_by_default(overrides: Any) -> None:
    async with make_kernel(job(overrides=overrides)) as kernel:
        assert await value(kernel, symbol="b", limit=2) == ["b", "today", 2, False]


async def test_only_the_listed_arguments_may_be_set() -> None:
    async with make_kernel(job(overrides=["symbol", "date"])) as kernel:
        assert await value(kernel, symbol="b", date="yesterday") == ["b", "yesterday", 1, False]
        with pytest.raises(OverrideError) as caught:
            await kernel.trigger("job", kwargs={"symbol": "b", "limit": 2})

        assert str(caught.value) == (
            "job 'job' does not accept the argument 'limit' from a command: only 'symbol', 'date' may be set; the key "
            "`overrides` of the job lists the arguments that a command may set"
        )
        assert caught.value.key == "limit"


async def test_a_function_may_declare_that_nobody_sets_its_arguments() -> None:
    async with make_kernel(job(command)) as kernel:
        with pytest.raises(OverrideError, match="does not accept the argument 'line' from a command: none may be set"):
            await kernel.trigger("job", kwargs={"line": "false"})
        assert await value(kernel) == "true"
        assert (await kernel.job("job")).overrides == "none"


async def test_a_job_may_open_what_its_function_closes() -> None:
    async with make_kernel(job(command, overrides=["line"])) as kernel:
        assert await value(kernel, line="false") == "false"


@pytest.mark.parametrize("overrides", ["none", []])
async def test_a_job_may_close_all_arguments(overrides: Any) -> None:
    async with make_kernel(job(overrides=overrides)) as kernel:
        with pytest.raises(OverrideError):
            await kernel.trigger("job", kwargs={"symbol": "b"})


async def test_a_declaration_holds_for_partials_wrappers_and_methods() -> None:
    class Commands:
        @default_overrides("none")
        async def run(self, line: str = "true") -> str:
            return line

    @functools.wraps(command)
    async def wrapped(line: str = "true") -> str:
        return line

    for func in (functools.partial(command), wrapped, Commands().run, functools.partial(wrapped, "x")):
        assert register_job(job(func), "UTC").body.overrides == "none"


async def test_the_value_of_the_job_may_be_repeated() -> None:
    """A form that sends all arguments, changed or not, works for what may be changed."""
    kwargs = {"symbol": "b", "limit": 2}
    async with make_kernel(job(kwargs=kwargs, overrides=["date"])) as kernel:
        assert await value(kernel, **kwargs, date="now") == ["b", "now", 2, False]


@pytest.mark.parametrize(("own", "given"), [(1, True), (True, 1), ([1], [True]), ({"a": 1}, {"a": 1, "b": 2}), (1, 2)])
async def test_a_value_that_only_equals_the_own_one_in_python_is_refused(own: Any, given: Any) -> None:
    async with make_kernel(job(kwargs={"symbol": own}, overrides="none")) as kernel:
        with pytest.raises(OverrideError):
            await kernel.trigger("job", kwargs={"symbol": given})


async def test_a_refused_command_leaves_no_trace() -> None:
    async with make_kernel(job(overrides="none", paused=True)) as kernel:
        with pytest.raises(OverrideError):
            await kernel.trigger("job", kwargs={"symbol": "b"}, idempotency_key="key")

        assert (await kernel.job("job")).state.paused
        assert (await kernel.trigger("job", idempotency_key="key")).is_new


def test_an_unknown_name_in_overrides_is_refused() -> None:
    with pytest.raises(JobError, match=r"overrides names 'symbl', which its function does not accept; did you mean"):
        register_job(job(overrides=["symbl"]), "UTC")


def test_arguments_that_no_command_may_supply_must_be_in_the_definition() -> None:
    @default_overrides("none")
    async def needs(line: str) -> None: ...

    with pytest.raises(JobError, match="missing a required argument: 'line'"):
        register_job(job(needs), "UTC")
    register_job(job(needs, overrides="all"), "UTC")
