"""Queries for the lists of runs and of jobs: one grammar for REST, command line and dashboard (`query_terms`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec

from gnomon.domain.events import Origin
from gnomon.domain.execution import STATUSES
from gnomon.domain.labels import MOST_LABELS, parse_label
from gnomon.domain.query_terms import ListQueryError, Term, Value, expect_key, parse_terms
from gnomon.domain.records import Bounds, ExecutionQuery, JobScope
from gnomon.domain.run_sorting import SORT_KEYS, RunSort
from gnomon.durations import Duration
from gnomon.errors import JobError
from gnomon.moments import parse_moment

JobState = Literal["active", "paused", "running", "failing"]
JOB_STATES: Final[tuple[JobState, ...]] = get_args(JobState)
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)
MOST_VALUES = 50
_JOB = re.compile(r"[A-Za-z0-9._:*?-]{1,128}")
_OPERATORS = {">=": "least", ">": "above", "<=": "most", "<": "below"}
Tags = tuple[tuple[str, ...], ...]
F = TypeVar("F", bound=msgspec.Struct)


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a query asks of runs. A run's job has one tag of each of the `tags`."""

    jobs: tuple[str, ...] = ()
    tags: Tags = ()
    status: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    is_manual: bool | None = None
    labels: tuple[str, ...] = ()
    late: Bounds | None = None
    duration: Bounds | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """The fields of an ExecutionQuery that it sets, but for the jobs and the labels."""
        names = ("status", "actors", "is_manual", "late", "duration", "since", "until", "text")
        return {name: value for name in names if (value := getattr(self, name)) not in (None, ())}

    def query(self, tags_of: Mapping[str, Collection[str]], base: ExecutionQuery) -> ExecutionQuery:
        """Return a query for a store, which asks for what `base` does as well.

        `tags_of` are the tags of the jobs by id, if the filter asks for any.
        """
        own = self.asked | {"labels": base.labels + self.labels}
        if self.tags:
            scope = _scope(self.jobs)
            ids = [job_id for job_id in tags_of if not self.jobs or scope.has(job_id)]
            own["within"] = JobScope(ids=frozenset(one for one in ids if _has_tags(tags_of[one], self.tags)))
        elif len(self.jobs) == 1 and not _is_pattern(self.jobs[0]) and base.job_id is None:
            own["job_id"] = self.jobs[0]
        elif self.jobs:
            own["within"] = _scope(self.jobs)
        return msgspec.structs.replace(base, **own)


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a query asks of jobs: one of the states, one tag of each of the `tags`."""

    jobs: tuple[str, ...] = ()
    tags: Tags = ()
    status: tuple[JobState, ...] = ()
    owner: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    text: str | None = None

    def has_job(self, job_id: str) -> bool:
        """Return whether the id of a job is asked for."""
        return not self.jobs or _scope(self.jobs).has(job_id)

    def has_tags(self, tags: Collection[str]) -> bool:
        """Return whether a job has the tags that are asked for."""
        return _has_tags(tags, self.tags)


def _scope(jobs: Collection[str]) -> JobScope:
    patterns = tuple(job for job in jobs if _is_pattern(job))
    return JobScope(patterns, frozenset(jobs) - frozenset(patterns))


def _is_pattern(job: str) -> bool:
    return "*" in job or "?" in job


def _has_tags(own: Collection[str], wanted: Tags) -> bool:
    return all(any(tag in own for tag in tags) for tags in wanted)


RUN_KEYS: Final = (
    "status", "job", "tag", "by", "manual", "label", "late", "duration", "since", "until",
)  # fmt: skip
JOB_KEYS: Final = ("status", "job", "tag", "owner", "origin")
RANGES: Final = frozenset({"late", "duration"})
"""Keys with operators such as `>`; all others have `:`."""
REPEATED: Final = frozenset({"tag", "label", *RANGES})
"""Keys that may be given several times: then all of them count."""


def parse_run_query(text: str, now: datetime, zone: tzinfo | None) -> RunFilter:
    """Parse a query for runs; times without an offset are in `zone`. ListQueryError."""

    def moment(term: Term) -> datetime:
        expected = "expected a moment such as -7d, 2026-12-01 or 2026-12-01T18:00:00Z"
        try:
            return parse_moment(term.value.text, now, zone)
        except (ValueError, OverflowError):
            raise term.value.refused(expected) from None

    fields: dict[str, tuple[str, Callable[[Term], Any]]] = {
        "status": ("status", lambda term: _one_of(term, STATUSES)),
        "job": ("jobs", _job_ids),
        "tag": ("tags", lambda term: (_texts(term),)),
        "by": ("actors", _texts),
        "manual": ("is_manual", lambda term: _one_of(term, ("true", "false")) == ("true",)),
        "label": ("labels", _label),
        "late": ("late", _bounds),
        "duration": ("duration", _bounds),
        "since": ("since", moment),
        "until": ("until", moment),
    }
    found = _parse(text, RunFilter, fields)
    if len(found.labels) > MOST_LABELS:
        raise ListQueryError(0, len(text), f"{len(found.labels)} labels are too many: a run has at most {MOST_LABELS}")
    return found


def parse_selection(text: str, now: datetime) -> RunFilter:
    """Parse the query of an act on runs; times without an offset are UTC. JobError where it is not valid."""
    try:
        return parse_run_query(text, now, UTC)
    except ListQueryError as exc:
        raise JobError(f"the query is not valid: {exc}") from exc


def parse_job_query(text: str) -> JobFilter:
    """Parse a query for jobs; ListQueryError."""
    fields: dict[str, tuple[str, Callable[[Term], Any]]] = {
        "status": ("status", lambda term: _one_of(term, JOB_STATES)),
        "job": ("jobs", _job_ids),
        "tag": ("tags", lambda term: (_texts(term),)),
        "owner": ("owner", _texts),
        "origin": ("origin", lambda term: _one_of(term, ORIGINS)),
    }
    return _parse(text, JobFilter, fields)


def parse_sort(text: str) -> RunSort:
    """Parse the order of a list of runs: a key, with a minus for the descending order. ValueError."""
    key = text.removeprefix("-")
    if key not in SORT_KEYS:
        raise ValueError(
            f"expected one of {', '.join(SORT_KEYS)}, or with a minus for the descending order, got {text!r}"
        )
    return RunSort(key, descending=text.startswith("-"))


def _parse(text: str, into: type[F], fields: Mapping[str, tuple[str, Callable[[Term], Any]]]) -> F:
    values: dict[str, Any] = {}
    words: list[str] = []
    seen: set[str] = set()
    for term in parse_terms(text):
        if not term.key:
            words.append(term.values[0].text)
            continue
        expect_key(term, fields)
        if term.key in seen and term.key not in REPEATED:
            raise ListQueryError(term.start, len(term.key), f"{term.key!r} is given twice: separate values by commas")
        seen.add(term.key)
        _expect_operator(term)
        name, read = fields[term.key]
        value = read(term)
        values[name] = _combined(values[name], value) if name in values else value
    if words:
        values["text"] = " ".join(words)
    return into(**values)


def _combined(first: Any, second: Any) -> Any:
    if not isinstance(first, Bounds):
        return first + second
    given = {name: value for name, value in msgspec.structs.asdict(second).items() if value is not None}
    return msgspec.structs.replace(first, **given)


def _expect_operator(term: Term) -> None:
    at = term.start + len(term.key)
    if term.key in RANGES and term.operator not in _OPERATORS:
        raise ListQueryError(at, len(term.operator), f"{term.key!r} takes >, >=, < or <=, such as {term.key}>1m")
    if term.key not in RANGES and term.operator != ":":
        problem = f"{term.key!r} takes a colon, such as {term.key}:{term.values[0].text or '…'}"
        raise ListQueryError(at, len(term.operator), problem)


def _texts(term: Term) -> tuple[str, ...]:
    if len(term.values) > MOST_VALUES:
        raise term.values[MOST_VALUES].refused(f"{term.key!r} takes at most {MOST_VALUES} values")
    return tuple(value.text for value in term.values)


def _one_of(term: Term, words: Collection[str]) -> tuple[str, ...]:
    for value in term.values:
        if value.text not in words:
            raise value.refused(f"expected one of {', '.join(words)}")
    return _texts(term)


def _job_ids(term: Term) -> tuple[str, ...]:
    for value in term.values:
        if not _JOB.fullmatch(value.text):
            raise value.refused("expected the id of a job, or a part of it with * and ?")
    return _texts(term)


def _label(term: Term) -> tuple[str, ...]:
    try:
        return (":".join(parse_label(term.value.text)),)
    except ValueError:
        raise term.value.refused("expected a label such as tenant=7, a name and its value") from None


def _bounds(term: Term) -> Bounds:
    seconds = _seconds(term.value)
    return Bounds(**{_OPERATORS[term.operator]: seconds})


def _seconds(value: Value) -> float:
    try:
        return Duration.parse(value.text).total_seconds()
    except ValueError:
        raise value.refused("expected a duration such as 30s, 5m or 1h 30m") from None
