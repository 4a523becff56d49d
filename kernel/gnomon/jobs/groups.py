"""Groups of jobs that share slots and a rate, such as all jobs that use one warehouse or one API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gnomon.conversion import Table, convert
from gnomon.durations import Duration
from gnomon.errors import ConfigError, JobError
from gnomon.jobs.job import GROUP_NAME, Job
from gnomon.text import close_match

_RATE = re.compile(r"\s*(\d+)\s*/\s*(.+?)\s*", re.ASCII)
MOST_STARTS = 100_000
"""The largest count of a rate: the time of each start within its period is kept in memory."""


class Rate(msgspec.Struct, frozen=True):
    """At most `count` starts within any period of `period`."""

    count: int
    period: Duration

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Parse text such as "100/m", "5/s" or "20/15m"; raise ValueError for anything else."""
        found = _RATE.fullmatch(text)
        try:
            period = Duration.parse(f"1{found[2]}" if found[2].isalpha() else found[2]) if found else None
        except ValueError:
            period = None
        if found is None or not period or not 0 < int(found[1]) <= MOST_STARTS:
            raise ValueError(
                f'rate must be a number of starts, from 1 to {MOST_STARTS:,}, and a period, such as "5/s", "100/m" or '
                f'"20/15m", got {text!r}'
            )
        return cls(int(found[1]), period)

    def __str__(self) -> str:
        return f"{self.count} starts in {self.period}"


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The limits that the jobs of a group share.

    `limit` is how many of their runs may be active at once, and `rate`, such as "100/m", how many may start within a
    period.
    """

    limit: int | None = None
    rate: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for limits that are out of range."""
        if self.limit is None and self.rate is None:
            raise ValueError('a group needs a limit or a rate, such as { limit = 2, rate = "100/m" }')
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be 1 or more, got {self.limit}; to hold jobs back, pause them")
        if self.rate is not None:
            Rate.parse(self.rate)

    @property
    def starts(self) -> Rate | None:
        """The rate, parsed."""
        return Rate.parse(self.rate) if self.rate is not None else None


Groups = Mapping[str, Group]


def convert_groups(raw: Table, path: str = "groups") -> dict[str, Group]:
    """Build the groups of a table `name = limit` or `name = { limit, rate }`; ConfigError with every problem."""
    groups: dict[str, Group] = {}
    problems: list[str] = []
    for name, value in raw.items():
        if isinstance(value, Group):
            groups[name] = value
            continue
        if not GROUP_NAME.fullmatch(str(name)):
            problems.append(
                f"{path}.{name}: a name has 1 to 64 of A-Z a-z 0-9 . _ : -, and begins with a letter or digit"
            )
            continue
        is_table = isinstance(value, Mapping)
        try:
            groups[name] = convert(value if is_table else {"limit": value}, Group, f"{path}.{name}")
        except ConfigError as exc:
            problems += exc.problems if is_table else [_expected(path, name, value, exc)]
    if problems:
        raise ConfigError(problems)
    return groups


def _expected(path: str, name: str, value: Any, exc: ConfigError) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return exc.problems[0]
    table = '{ limit = 2, rate = "100/m" }'
    return f"{path}.{name}: expected a limit such as 2, or a table such as {table}, got {value!r}"


def unknown_group(job: Job, groups: Iterable[str]) -> JobError | None:
    """Return the problem of a job whose group is not defined; a misspelled one would have no limit at all."""
    if job.group is None or job.group in groups:
        return None
    known = sorted(groups)
    hint = close_match(job.group, known) or (f"; the groups are {', '.join(known)}" if known else "")
    return JobError(
        f"job {job.id!r}: the group {job.group!r} is not defined{hint.removesuffix('?')}; "
        f"define it under [groups] in the config, {job.group} = 2, or with Kernel(groups={{{job.group!r}: 2}})"
    )
