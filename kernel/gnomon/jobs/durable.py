"""Jobs that live in the log: their function is text, so that the next kernel finds it again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from gnomon.domain.job_state import JobState
from gnomon.errors import GnomonError, JobError, JobExistsError
from gnomon.jobs.body import Body
from gnomon.jobs.callables import name_problem, reference
from gnomon.jobs.definition import convert_job, stored_job
from gnomon.jobs.dependencies import check_dependencies
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob, build_stored, check_job
from gnomon.jobs.runner_names import NO_RUNNERS, Runners, undefined_name
from gnomon.safe_text import is_instance

FindDefined = Callable[[str], RegisteredJob | None]
"""Returns the job of a config, of code or of a plugin with that id, or None."""
ALSO = "or pass temporary=True for a job that ends with this kernel"


def check_durable(job: Job) -> None:
    """Raise JobError for a job that no other process could build from the log."""
    if job.trigger is not None and not is_instance(job.trigger, (Mapping, str)):  # no text is a trigger
        raise JobError(
            f"job {job.id!r}: its trigger is an object, which the log cannot bring back after a restart: write it as a "
            f"table such as {{'type': 'interval', 'minutes': 5}}, {ALSO}"
        )
    if not is_instance(job.func, str) and (problem := name_problem(job.func)) is not None:
        raise JobError(
            f"job {job.id!r}: its function {reference(job.func)} cannot be found again after a restart ({problem}): "
            f'define it at the top level of a module, or give "module:function", {ALSO}'
        )


def refers_to_job(func: object) -> bool:
    """Return whether the function of a job is the id of a job that is defined elsewhere."""
    return is_instance(func, str) and ":" not in func


def register_added(job: Job, timezone: str, arguments_limit: int, find_defined: FindDefined) -> RegisteredJob:
    """Check a job of an order and build what it runs, its function kept as text; JobError or TriggerError.

    A function without a colon is the id of a job that is defined at the start: its function is taken, and nothing else.
    """
    name = reference(job.func)
    func = _function_of(job, find_defined) if refers_to_job(job.func) else job.func
    problems: list[tuple[str, GnomonError]] = []
    registered = check_job(msgspec.structs.replace(job, func=func), timezone, problems, arguments_limit)  # type: ignore[arg-type]
    if registered is None:
        errors = [error for _, error in problems]
        raise errors[0] if len(errors) == 1 else JobError("\n".join(map(str, errors)))
    if refers_to_job(job.func):
        registered.definition = {**registered.definition, "func": name}
        registered.job = msgspec.structs.replace(registered.job, func=name)
    registered.origin = "api"
    return registered


def _function_of(job: Job, find_defined: FindDefined) -> Callable[..., object]:
    if (defined := find_defined(job.func)) is None:
        raise JobError(
            f'job {job.id!r}: func {job.func!r} is neither "package.module:callable" nor the id of a job that a '
            "config, a module or a plugin defines"
        )
    return defined.body.func


def restore_job(job_id: str, definition: dict[str, Any], find_defined: FindDefined) -> RegisteredJob:
    """Build a job from its definition in the log; one that cannot be built here has a `problem` in place of a body."""
    try:
        job = stored_job(definition)
        func = _function_of(job, find_defined) if refers_to_job(job.func) else job.func
        return build_stored(job, func, definition)
    except GnomonError as exc:
        return _broken(job_id, definition, str(exc))


def restore_jobs(
    states: Iterable[JobState],
    defined: Iterable[RegisteredJob],
    groups: Collection[str] = (),
    runners: Runners = NO_RUNNERS,
) -> list[RegisteredJob]:
    """Build the jobs that a start with these definitions brings back from the log; JobExistsError for a double id."""
    by_id = {registered.job.id: registered for registered in defined}
    added = [state for state in states if state.origin == "api" and not state.removed and not state.temporary]
    refuse_double(added, by_id)
    restored = [restore_job(one.job_id, one.definition, by_id.get) for one in added]
    note_unserved((*by_id.values(), *restored), groups, runners)
    return restored


def note_unserved(jobs: Iterable[RegisteredJob], groups: Collection[str], runners: Runners) -> None:
    """Write the `problem` of each added job that was built: that its group, runner or upstream job is gone; or None."""
    every = {registered.job.id: registered for registered in jobs}
    built = [registered for registered in every.values() if registered.origin == "api" and registered.is_built]
    waits = dict(check_dependencies({job_id: one.job for job_id, one in every.items()}, [one.job.id for one in built]))
    for registered in built:
        problem = undefined_name(registered.job, groups, runners) or waits.get(registered.job.id)
        text = str(problem).removeprefix(f"job {registered.job.id!r}: ")
        registered.problem = text if problem is not None else None


def refuse_double(states: Iterable[JobState], defined: Mapping[str, RegisteredJob]) -> None:
    """Raise JobExistsError where a job was added at run time and a config, code or a plugin defines its id too."""
    for state in states:
        registered = defined.get(state.job_id)
        if registered is None or state.origin != "api" or state.removed:
            continue
        belongs = f" and belongs to {state.owner!r}" if state.owner is not None else ""
        raise JobExistsError(
            state.job_id,
            f"job {state.job_id!r} was added at run time{belongs}, and {registered.defined_by} defines a job with the "
            "same id: give that one another id, or leave it out until the job is removed (gnomon jobs remove "
            f"{state.job_id})",
        )


def _broken(job_id: str, definition: Mapping[str, Any], problem: str) -> RegisteredJob:
    """Return a job that shows what can be read of its definition, and runs nothing."""

    def cannot_run(*_args: object, **_kwargs: object) -> None:
        raise JobError(problem)

    kept: dict[str, object] = {"id": job_id, "func": str(definition.get("func", ""))}
    for key, value in definition.items():
        try:
            convert_job({**kept, key: value})
        except GnomonError:
            continue
        kept[key] = value
    return RegisteredJob(
        convert_job(kept),
        Body(cannot_run, is_async=False),
        None,
        dict(definition),
        origin="api",
        problem=problem,
        is_built=False,
    )
