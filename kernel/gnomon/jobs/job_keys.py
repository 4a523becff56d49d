"""From a table of a job's keys, as a config or an order has it, to the Job and to the RegisteredJob.

Keys of plugins become options, and the keys that a table does not have may come from a job that the deployment
declares. Every problem is added to a list, with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from gnomon.conversion import Table, convert, unknown_key
from gnomon.errors import ConfigError
from gnomon.jobs.groups import unknown_group
from gnomon.jobs.job import LIMITS_OF_SCHEDULES, NO_SCHEDULE, SCHEDULES, Job
from gnomon.jobs.plain_secrets import plain_secrets
from gnomon.jobs.registered import ARGUMENTS_LIMIT, JobProblem, RegisteredJob, check_job, check_schedule_and_function
from gnomon.jobs.runner_names import NO_RUNNERS, Runners, runner_problem
from gnomon.safe_text import is_instance
from gnomon.sourced_values import SourcedTable, origin_of, sources_of, typed

_OWN_NAME = re.compile(r"^job '[^']*': ")
STAND_IN = "a"
"""The id of a job whose own is wrong."""
MOST_ROUNDS = 5
"""How often keys that contradict each other are left out, to look at the others."""
JOB_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(Job))


class JobKeys:
    """The keys that a table of a job may have: those of `Job`, and those of plugins.

    `owners` has the Struct of the plugin for each key of a plugin. `explain` returns what is known about an unknown
    key, such as the plugin that it belongs to, or None. `groups` has the names of the groups that are defined,
    `runners` the runners of plugins.
    """

    def __init__(
        self,
        owners: Mapping[str, type[msgspec.Struct]],
        explain: Callable[[str], str | None] = lambda _: None,
        groups: Collection[str] = (),
        runners: Runners = NO_RUNNERS,
    ) -> None:
        self._groups = groups
        self._runners = runners
        self._owners = owners
        self._explain = explain

    def convert(
        self, table: Table, place: str, problems: list[str], warnings: list[str], base: Job | None = None
    ) -> Job | None:
        """Convert a table to a job; keys of plugins become options, missing keys come from `base`.

        What is wrong with the other keys of a table that is not valid is added to `problems`, too.
        """
        job, is_whole = self.convert_rest(table, place, problems, warnings, base)
        if job is not None and not is_whole:
            self.register_rest(job, place, problems)
        return job if is_whole else None

    def convert_rest(
        self, table: Table, place: str, problems: list[str], warnings: list[str], base: Job | None = None
    ) -> tuple[Job | None, bool]:
        """Convert a table to a job, as `convert` does, and return whether it is whole.

        A job that is not lacks the keys that are wrong, and serves to check the others; None where nothing is left.
        """
        problems += [self._unknown(place, key) for key in table if key not in JOB_KEYS and key not in self._owners]
        own = _part(table, {key: value for key, value in table.items() if key in JOB_KEYS})
        if owned := self._owned(table):
            own["options"] = _merged(own.get("options", {}), owned)
        _drop_empty_schedules(own, place, warnings)
        if base is not None:
            sources_of(own).pop(("func",), None)  # the id of the job, in whose place its function comes
            own = _part(own, _override(base, own))
        try:
            return convert(own, Job, place), True
        except ConfigError as exc:
            is_lost = keys_of(place, problems) - JOB_KEYS  # a misspelled key may be the schedule
            problems += [text for text in exc.problems if not (is_lost and NO_SCHEDULE in text)]
            wrong = keys_of(place, problems)
            return _rest(own, place, wrong, problems), False

    def register(
        self,
        job: Job,
        place: str,
        problems: list[str],
        warnings: list[str],
        *,
        timezone: str = "UTC",
        arguments_limit: int = ARGUMENTS_LIMIT,
    ) -> RegisteredJob | None:
        """Build the function, the trigger and the definition of a job, and check the options of plugins in it."""
        found: list[JobProblem] = []
        if (unfit := runner_problem(job, self._runners)) is not None:
            problems.append(f"{place}.{unfit.key}: {unfit}")
            job = msgspec.structs.replace(job, runner=None, limits=None)
        registered = check_job(job, timezone, found, arguments_limit)
        problems += [_located(place, problem) for problem in found]
        if (unknown := unknown_group(job, self._groups)) is not None:
            problems.append(f"{place}.group: {unknown}")
        self._check_options(job, place, problems)
        for name in ("args", "kwargs"):
            for where, reason in plain_secrets(getattr(job, name), f"{place}.{name}"):
                warnings.append(
                    f"{where}: looks like a secret ({reason}), and the log, the API and every viewer show it; write "
                    '{ env = "NAME" } or { file = "path" } in its place'
                )
        return registered

    def register_rest(self, job: Job, place: str, problems: list[str]) -> None:
        """Add what is wrong with a job that lacks keys, which are among `problems`."""
        wrong = keys_of(place, problems)
        found: list[str] = []
        whole = job
        if wrong & {"func", "args", "kwargs"}:  # its arguments cannot be checked
            whole = msgspec.structs.replace(job, func=_anything, args=[], kwargs={}, runner=None, limits=None)
            lone: list[JobProblem] = []
            check_schedule_and_function(job, lone)
            found += [_located(place, problem) for problem in lone]
        self.register(whole, place, found, [])
        found = [text.replace(f"job {STAND_IN!r}: ", "") for text in found]
        problems += [text for text in dict.fromkeys(found) if not keys_of(place, [text]) & wrong]

    def with_options(self, table: Table) -> dict[str, Any]:
        """Return a table in which the keys of plugins are in `options`, as the log has them."""
        owned = {key: value for key, value in table.items() if key in self._owners}
        rest = {key: value for key, value in table.items() if key not in owned}
        return rest | ({"options": _merged(rest.get("options", {}), owned)} if owned else {})

    def _owned(self, table: Table) -> dict[str, Any]:
        """Return the keys of plugins, with the values from the environment in the types that their plugins expect."""
        owned: dict[str, Any] = {}
        for key, value in table.items():
            if key in self._owners:
                owned[key] = typed(_part(table, {key: value}), self._owners[key])[key]
        return owned

    def _unknown(self, place: str, key: str) -> str:
        known = {*JOB_KEYS, *self._owners}
        if key not in Job.KEY_HINTS and (explanation := self._explain(key)):
            return f"{place}.{key}: {explanation}"
        return unknown_key(place, key, known, Job.KEY_HINTS)

    def _check_options(self, job: Job, place: str, problems: list[str]) -> None:
        options = job.options
        for key in options:
            if key not in self._owners:
                explanation = self._explain(key)
                where = f"{place}.options"
                problems.append(
                    f"{where}.{key}: {explanation}" if explanation else unknown_key(where, key, self._owners)
                )
        for owner in dict.fromkeys(self._owners[key] for key in options if key in self._owners):
            owned = {key: value for key, value in options.items() if self._owners.get(key) is owner}
            try:
                converted = convert(owned, owner, place)
                if (check := getattr(converted, "check_job", None)) is not None:
                    check(job)
            except ConfigError as exc:
                problems += exc.problems
            except ValueError as exc:
                problems.append(f"{place}: {exc}")


def _located(place: str, problem: JobProblem) -> str:
    key, text = problem.key, _OWN_NAME.sub("", str(problem.error))
    return f"{place}.{key}: {text.removeprefix('func ')}" if key else f"{place}: {text}"


def keys_of(place: str, problems: Iterable[str]) -> set[str]:
    """Return the keys of a job that problems name."""
    at = re.compile(rf"{re.escape(place)}\.(\w+)")
    missing = re.compile(rf"{re.escape(place)}: '(\w+)' is missing")
    return {found[1] for text in problems if (found := at.match(text) or missing.match(text)) is not None}


def _rest(own: Table, place: str, wrong: set[str], problems: list[str]) -> Job | None:
    """Return the job that is left of a table without the keys that are wrong; add what contradicts in it."""
    for _ in range(MOST_ROUNDS):
        left = {key: value for key, value in own.items() if key not in wrong}
        lacks_schedule = not any(key in left for key in SCHEDULES)
        if lacks_schedule and (wrong & {*SCHEDULES} or wrong - JOB_KEYS):  # its key is wrong, or perhaps misspelled
            left = {key: value for key, value in left.items() if key not in LIMITS_OF_SCHEDULES}
        if "runner" in wrong:
            left.pop("limits", None)
        try:
            job = convert({"id": STAND_IN, "func": _anything} | left, Job, place)
        except ConfigError as exc:
            problems += exc.problems
            if not (more := keys_of(place, exc.problems) - wrong):
                return None
            wrong |= more
        else:
            return job
    return None


def _anything(*args: Any, **kwargs: Any) -> None:
    """Accept any arguments, in the place of a function that cannot be called."""


def _drop_empty_schedules(table: dict[str, Any], place: str, warnings: list[str]) -> None:
    """Remove empty schedules, with a warning if none is left: a variable can be empty, not absent."""
    empty = [key for key in SCHEDULES if is_instance(found := table.get(key), str) and not found.strip()]
    has_other = any(table.get(key) is not None for key in SCHEDULES if key not in empty)
    for key in empty:
        origin = origin_of(table, f".{key}")
        if not has_other:
            warnings.append(
                f"{place}.{key}: is empty{f' (from {origin})' if origin else ''}, so the job has no schedule and "
                "runs only when it is triggered"
            )
        table[key] = None
        sources_of(table).pop((key,), None)  # else the conversion would put the empty text back


def _override(base: Job, table: Table) -> dict[str, Any]:
    """Return the keys of a job with some replaced; any schedule replaces the schedule of the job."""
    inherited = msgspec.structs.asdict(base)
    if any(key in table for key in SCHEDULES):
        inherited = {key: value for key, value in inherited.items() if key not in SCHEDULES}
    changed = {key: value for key, value in table.items() if key != "func"}
    return inherited | changed | {"options": _merged(base.options, changed.get("options", {}))}


def _part(table: Table, keys: dict[str, Any]) -> dict[str, Any]:
    return table.part(keys) if isinstance(table, SourcedTable) else keys


def _merged(options: Any, more: Any) -> Any:
    """Merge two tables; return anything else unchanged, for the conversion to refuse."""
    tables = isinstance(options, Mapping) and isinstance(more, Mapping)
    return {**options, **more} if tables else more if isinstance(options, Mapping) else options
