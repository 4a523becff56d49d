"""The decorator @job, and the jobs that a module defines with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, overload

from gnomon.jobs.callables import reference
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Job

F = TypeVar("F", bound=Callable[..., Any])


@overload
def job(func: F, /, *, id: str | None = None, **policies: Any) -> F: ...


@overload
def job(*, id: str | None = None, **policies: Any) -> Callable[[F], F]: ...


def job(
    func: F | None = None,
    /,
    *,
    id: str | None = None,
    **policies: Any,
) -> Any:
    """Define a job for a function, which stays a plain function that can be called and tested.

    Accepts the keys of `Job`; `id` defaults to the function's name, durations may be text:

        @job(cron="0 18 * * 1-5", timezone="Asia/Shanghai", timeout="2h")
        def sync_prices(ctx: Context) -> None: ...

    The kernel finds it if its module is listed in `[kernel] modules`, or by `kernel.add(function)`.
    """

    def declare(function: F) -> F:
        described = {"description": inspect.getdoc(function) or ""} | policies
        declared = convert_job(
            {"id": id or function.__name__, "func": function, **described}, f"@job {reference(function)}"
        )
        function.__gnomon_job__ = declared  # type: ignore[attr-defined]
        return function

    return declare if func is None else declare(func)


def jobs_in(module: ModuleType) -> list[Job]:
    """Return the jobs that a module defines with @job, in order of definition, without imported ones."""
    found: dict[int, Job] = {}
    for value in vars(module).values():
        # Statically, since a proxy in the module may raise for any attribute. A function may have two names there.
        declared = inspect.getattr_static(value, "__gnomon_job__", None)
        if isinstance(declared, Job) and declared.func.__module__ == module.__name__:
            found[id(declared)] = declared
    return list(found.values())
