"""Every runner runs the function of the job and not a similar one, or the job is refused when it is registered."""

import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import callable_kinds as kinds
from gnomon import Execution, Job
from gnomon.errors import JobError
from gnomon.jobs.registered import register_job

RunJob = Callable[..., Awaitable[Execution]]
SYNC, ASYNC = ("thread", "process"), ("async", "thread", "process")
IN_THE_KERNEL, IN_A_THREAD = ("async", "thread"), ("thread",)


def by_name(name: str) -> str:
    return f"callable_kinds:{name}"


ACCEPTED: list[tuple[Any, str, tuple[str, ...]]] = [
    (kinds.plain, "plain", SYNC),
    (by_name("plain"), "plain", SYNC),
    (kinds.coroutine, "coroutine", ASYNC),
    (kinds.decorated, "counted decorated", SYNC),
    (kinds.decorated_coroutine, "awaited decorated coroutine", ASYNC),
    (kinds.sync_wrapper_of_a_coroutine, "sync wrapper of a coroutine", SYNC),
    (kinds.hidden_by_a_wrapper, "undecorated", IN_A_THREAD),
    (kinds.Base.class_method, "class method of Base", SYNC),
    (kinds.Derived.class_method, "class method of Derived", IN_A_THREAD),
    (by_name("Derived.class_method"), "class method of Derived", SYNC),
    (kinds.Derived.static_method, "static method", SYNC),
    (kinds.derived.method, "method of Derived", IN_A_THREAD),
    (by_name("derived.method"), "method of Derived", SYNC),
    (by_name("derived.async_method"), "async method of Derived", ASYNC),
    (kinds.instance, "instance", IN_A_THREAD),
    (by_name("instance"), "instance", SYNC),
    (by_name("async_instance"), "async instance", ASYNC),
    (kinds.Constructed, "constructed", SYNC),
    (kinds.partial, "partial", IN_A_THREAD),
    (by_name("partial"), "partial", SYNC),
    (by_name("async_partial"), "coroutine", ASYNC),
    (kinds.anonymous, "lambda", IN_A_THREAD),
    (by_name("anonymous"), "lambda", SYNC),
    (by_name("anonymous_coroutine"), "coroutine", SYNC),
    (by_name("generator_coroutine"), "generator coroutine", SYNC),
    (by_name("returns_an_awaitable"), "awaitable", SYNC),
    (by_name("returns_a_task"), "coroutine", ASYNC),
    (by_name("returns_a_coroutine"), "coroutine", ASYNC),
]
"""A function, what it returns when its code has run, and the runners that run it; the others refuse the job."""

TABLE = [(func, result, runner, runner in runners) for func, result, runners in ACCEPTED for runner in ASYNC]


def label(value: Any) -> str | None:
    return value if isinstance(value, str) else getattr(value, "__qualname__", type(value).__name__)


@pytest.mark.parametrize(("func", "result", "runner", "is_accepted"), TABLE, ids=label)
async def test_all_runners_run_the_same_function_or_refuse_it(
    gnomon_run_job: RunJob, func: Any, result: str, runner: str, is_accepted: bool
) -> None:
    job = Job(id="job", func=func, runner=runner)

    if is_accepted:
        execution = await gnomon_run_job(job)
        assert (execution.status, execution.return_value) == ("success", result), execution.error_message
    else:
        with pytest.raises(JobError, match=f"job 'job' has runner = \"{runner}\""):
            register_job(job, "UTC")


@pytest.mark.parametrize("runner", [None, *ASYNC])
@pytest.mark.parametrize("name", ["generator", "async_generator"])
def test_a_generator_function_is_refused(name: str, runner: str | None) -> None:
    with pytest.raises(JobError, match=f"job 'job': .*:{name} is a generator function"):
        register_job(Job(id="job", func=by_name(name), runner=runner), "UTC")


@pytest.mark.parametrize("runner", SYNC)
@pytest.mark.parametrize("name", ["returns_a_generator", "returns_a_map"])
async def test_a_result_that_has_run_nothing_is_a_failure(gnomon_run_job: RunJob, name: str, runner: str) -> None:
    execution = await gnomon_run_job(Job(id="job", func=by_name(name), runner=runner))

    assert (execution.status, execution.error_type) == ("failed", "TypeError")
    assert "whose code has not run" in (execution.error_message or "")


def test_a_module_that_only_this_process_has_is_refused_for_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_up")
    module.__spec__ = kinds.__spec__
    vars(module)["f"] = kinds.plain
    monkeypatch.setitem(sys.modules, "made_up", module)

    with pytest.raises(JobError, match=r"cannot import its function made_up:f: there is no module made_up in sys.path"):
        register_job(Job(id="job", func="made_up:f", runner="process"), "UTC")


def test_a_local_function_is_refused_for_a_child_with_the_next_step() -> None:
    def local() -> None: ...

    with pytest.raises(JobError, match="define the function at the top level of a module"):
        register_job(Job(id="job", func=local, runner="process"), "UTC")
