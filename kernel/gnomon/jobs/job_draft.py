"""A job as someone orders it: its keys are checked completely, and so is what the sender may name in it.

An order from outside, such as over HTTP, may name a function that `allow_functions` has, or the id of a job that the
deployment declares (in the config, in code or in a plugin). Of such a job it inherits all keys that it does not have,
and it may set the arguments that `overrides` of the job leaves to commands. It may not refer to secrets, because a
function could then send any file of the kernel to anyone; it keeps those of the job that it changes or names, as long
as the function stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.conversion import Table
from gnomon.domain.job_preview import KeyProblem
from gnomon.domain.secret_references import lookalikes, references
from gnomon.errors import FunctionNotAllowedError, JobError, OverrideError
from gnomon.jobs.allowed_functions import AllowedFunctions
from gnomon.jobs.body import Body
from gnomon.jobs.job import Job
from gnomon.jobs.job_keys import JOB_KEYS, JobKeys
from gnomon.jobs.overrides import check_overrides
from gnomon.jobs.registered import ARGUMENTS_LIMIT, RegisteredJob
from gnomon.json_depth import MAX_DEPTH, is_too_deep
from gnomon.safe_text import safe_repr
from gnomon.text import close_match

MOST_KEYS = 200
"""Keys of an order: a problem of each is looked up among those that exist."""
SHOWN = 80
"""Characters of a value in a problem."""
_CALL = ("func", "args", "kwargs", "overrides")
_MISSING = re.compile(r"'(\w+)' is missing")


class OrderRules(msgspec.Struct, frozen=True):
    """What orders are checked against. `declared` are the jobs of the deployment by id, `exists` looks among all jobs.

    `allowed` are the functions that may be named, None for senders that may name any.
    """

    keys: JobKeys
    declared: Callable[[str], RegisteredJob | None]
    declared_ids: Callable[[], list[str]]
    exists: Callable[[str], bool]
    allowed: AllowedFunctions | None = None
    timezone: str = "UTC"
    arguments_limit: int = ARGUMENTS_LIMIT


class JobDraft(msgspec.Struct):
    """The result of a check: a job that can be added as it is, or problems. `refusal` is one of permission."""

    registered: RegisteredJob | None = None
    problems: list[KeyProblem] = []
    warnings: list[KeyProblem] = []
    refusal: FunctionNotAllowedError | None = None


def draft_job(table: Table, rules: OrderRules, present: Table | None = None, *, is_whole: bool = False) -> JobDraft:
    """Check the keys of a job; `present` is the definition of the job that they replace, as the log has it.

    Keys that are the whole definition inherit nothing from the declared job that they name.
    """
    func = table.get("func")
    name = func if isinstance(func, str) and ":" not in func else None
    base = rules.declared(name) if name is not None else None
    draft = JobDraft()
    if deep := [key for key, value in table.items() if is_too_deep(value)]:
        problem = f"is nested deeper than {MAX_DEPTH} levels: flatten it"
        draft.problems += [KeyProblem(key, problem) for key in deep]
        return draft
    if name is not None and base is None:
        draft.problems.append(_no_such_job(name, rules))
    elif base is None and isinstance(func, str) and rules.allowed is not None and not _is_same_call(table, present):
        _check_function(func, rules.allowed, draft)
    if len(table) > MOST_KEYS:
        draft.problems.append(KeyProblem("", f"has {len(table):,} keys, and a job has {len(JOB_KEYS)}"))
    else:
        _check_keys(table, rules, base, present or {}, draft, is_whole=is_whole)
    return draft


def _check_keys(
    table: Table, rules: OrderRules, base: RegisteredJob | None, present: Table, draft: JobDraft, *, is_whole: bool
) -> None:
    problems: list[str] = []
    warnings: list[str] = []
    is_function_wrong = bool(draft.problems)  # then the rest is checked with another one
    given = {**table, "func": _anything} if is_function_wrong else table
    if is_whole and base is not None:
        given = {**table, "func": base.body.func}
    inherited = base.job if base is not None and not is_whole else None
    job, is_converted = rules.keys.convert_rest(given, "", problems, warnings, inherited)
    if job is not None and not is_converted:
        rules.keys.register_rest(job, "", problems)
        draft.problems += _unknown_upstream(job, rules)
    elif job is not None:
        checked = msgspec.structs.replace(job, runner=None, limits=None) if is_function_wrong else job
        registered = rules.keys.register(
            checked, "", problems, warnings, timezone=rules.timezone, arguments_limit=rules.arguments_limit
        )
        draft.problems += _unknown_upstream(job, rules)
        if rules.allowed is not None and not _is_same_call(table, present):
            draft.problems += _liberties(job, base, present, table["func"])
        if base is not None and registered is not None:
            registered = _of_declared(registered, str(table["func"]))
        draft.registered = registered
    draft.problems += [_problem(text) for text in problems]
    draft.warnings += [_problem(text) for text in warnings]
    if draft.problems:
        draft.registered = None


def _unknown_upstream(job: Job, rules: OrderRules) -> list[KeyProblem]:
    unknown = [one for one in job.after if one != job.id and not rules.exists(one)]
    return [KeyProblem("after", f"there is no job {one!r}{close_match(one, rules.declared_ids())}") for one in unknown]


def _is_same_call(table: Table, present: Table | None) -> bool:
    """Return whether a job calls the same function with the same arguments as before, which needs no permission."""
    return bool(present) and all(table.get(key) == (present or {}).get(key) for key in _CALL)


def _anything(*args: Any, **kwargs: Any) -> None:
    """Accept any arguments, in the place of a function that may not be imported."""


def _check_function(func: str, allowed: AllowedFunctions, draft: JobDraft) -> None:
    try:
        allowed.check(func)
    except FunctionNotAllowedError as exc:
        draft.refusal = exc
        draft.problems.append(KeyProblem("func", str(exc)))
    except JobError:
        pass  # the function cannot be loaded, which the check of the keys reports


def _liberties(job: Job, base: RegisteredJob | None, present: Table, func: Any) -> list[KeyProblem]:
    """Return what an order from outside may not say: references to secrets, and arguments closed to commands.

    What the job has at present may stay, unless `func`, the name of the function in the order, is another one.
    """
    before = _places(present.get("args"), present.get("kwargs"))
    kept = present if present.get("func") == func else {}
    known = (_places(base.job.args, base.job.kwargs) if base is not None else {}) | (before if kept else {})
    problems = [
        KeyProblem(where, f"refers to a secret, {found}, which {_refusal(before.get(where) == found, present)}")
        for where, found in _places(job.args, job.kwargs).items()
        if known.get(where) != found
    ]
    problems += [
        KeyProblem(where, f"{safe_repr(found, SHOWN)} looks like a reference to a secret, {_NO_SECRETS}")
        for where, found in _lookalikes(job.args, job.kwargs).items()
        if _lookalikes(present.get("args"), present.get("kwargs")).get(where) != found
        and (base is None or _lookalikes(base.job.args, base.job.kwargs).get(where) != found)
    ]
    if base is not None and (refused := _closed_argument(job, base.job, base.body, kept)) is not None:
        problems.append(refused)
    return problems


def _refusal(is_left: bool, present: Table) -> str:
    if is_left:
        return (
            f"the job has for {present.get('func')!r} and an order may not take to another function: remove the "
            "argument too, or leave `func` as it is"
        )
    return f"orders from outside may not: {_DECLARE}"


_DECLARE = "declare a job that has the reference in its arguments, and name the id of that job as `func`"
_NO_SECRETS = f"and would be stored as it is, since orders from outside may not refer to secrets: {_DECLARE}"


def _lookalikes(args: Any, kwargs: Any) -> dict[str, Any]:
    return dict([*lookalikes(args, "args"), *lookalikes(kwargs, "kwargs")])


def _places(args: Any, kwargs: Any) -> dict[str, Any]:
    return dict([*references(args, "args"), *references(kwargs, "kwargs")])


def _closed_argument(job: Job, base: Job, body: Body, present: Table) -> KeyProblem | None:
    """Return the argument of a declared job that an order changes and commands may not set, or None.

    What the job has at present may stay.
    """
    if body.overrides == "all":
        return None
    accepted = [] if body.overrides == "none" else list(body.overrides)
    known, before = base.kwargs, present.get("kwargs", {})
    if job.args not in (base.args, present.get("args", base.args)):
        return KeyProblem("args", str(OverrideError(base.id, "args", accepted)))
    if job.overrides not in (base.overrides, present.get("overrides", base.overrides)):
        return KeyProblem("overrides", str(OverrideError(base.id, "overrides", accepted)))
    lost = [key for key in known if key not in job.kwargs and key not in accepted and (not present or key in before)]
    given = {key: value for key, value in job.kwargs.items() if key not in before or before[key] != value}
    try:
        check_overrides(base.id, body.overrides, known, given)
        if lost:
            raise OverrideError(base.id, lost[0], accepted)
    except OverrideError as exc:
        return KeyProblem(f"kwargs.{exc.key}", str(exc))
    return None


def _of_declared(registered: RegisteredJob, name: str) -> RegisteredJob:
    """Return the job with the id of the declared job in place of its function, as the log keeps it."""
    return RegisteredJob(
        msgspec.structs.replace(registered.job, func=name),
        registered.body,
        registered.trigger,
        registered.definition | {"func": name},
    )


def _no_such_job(name: str, rules: OrderRules) -> KeyProblem:
    hint = close_match(name, rules.declared_ids())
    return KeyProblem(
        "func", f'there is no job {name!r}: expected "package.module:callable", or the id of a declared job{hint}'
    )


def _problem(text: str) -> KeyProblem:
    """Return the problem in a message such as `.retry.attempts: expected integer, got text`."""
    key, _, detail = text.partition(": ")
    detail = re.sub(r"^job '[^']*': ", "", detail)
    if not key and (missing := _MISSING.fullmatch(detail)):
        return KeyProblem(missing[1], "is missing")
    return KeyProblem(key.removeprefix("."), detail)
