"""The rules: what is an alert, for which jobs, and how severe. The defaults are right without any in the config.

Each kind has one rule for each job: the last one in the config that fits the job, else the default, changed by the key
`alerts` of the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

import msgspec

from gnomon.domain.alert_events import Severity
from gnomon.domain.events import MissedReason
from gnomon.durations import Duration, decode_hook

Kind = Literal[
    "failed",
    "lost",
    "missed",
    "late_start",
    "too_long",
    "no_success",
    "silent",
    "lingering",
    "unscheduled",
    "store",
    "plugin",
    "queue",
    "kernel",
    "leader",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
OF_JOBS: Final = frozenset(KINDS[:9])
"""Kinds of alerts about jobs; the others are about parts of the deployment."""
LIMITED: Final = frozenset(KINDS[9:]) | {"late_start", "lingering", "no_success", "too_long"}
"""Kinds whose rules have a `limit`."""


class JobRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said about one kind of alert, by a rule of the config or by the key `alerts` of a job."""

    enabled: bool = True
    severity: Severity | None = None
    after: int | None = None
    limit: Duration | None = None
    factor: float | None = None
    reasons: list[MissedReason] | None = None
    resolve: Literal["auto", "by_hand"] | None = None


class Rule(JobRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of the config. `jobs` are ids or patterns such as "etl.*", and `tags` one of which a job must have.

    `after` is how many times in a row it must have happened, `limit` how long it may take, and `factor` how many times
    longer than usual. `reasons` are those of missed fires that count. With `resolve` = "by_hand" an alert stays open
    until an operator resolves it. A rule with `enabled` = false turns its kind off for its jobs.
    """

    kind: Kind
    name: str = ""
    jobs: list[str] = []
    tags: list[str] = []

    def __post_init__(self) -> None:
        """Raise ValueError for a value that this kind of rule does not have."""
        if self.after is not None and (self.after < 1 or self.kind not in {"failed", "lost", "missed"}):
            raise ValueError(
                f"after counts failures or missed fires in a row, 1 or more, got {self.after} for {self.kind}"
            )
        if self.limit is not None and self.kind not in LIMITED:
            raise ValueError(
                f"a rule of the kind {self.kind} has no limit; these have one: {', '.join(sorted(LIMITED))}"
            )
        if self.limit is not None and self.limit < timedelta(seconds=1):
            raise ValueError(f"limit must be 1s or more, got {self.limit}")
        if self.factor is not None and (self.factor < 1 or self.kind != "too_long"):
            raise ValueError(f"factor is that of too_long, 1 or more, got {self.factor:g} for {self.kind}")
        if self.reasons is not None and self.kind != "missed":
            raise ValueError(f"reasons are those of the kind missed, and this rule is of the kind {self.kind}")
        if (self.jobs or self.tags) and self.kind not in OF_JOBS:
            raise ValueError(f"a rule of the kind {self.kind} is not about jobs: leave out jobs and tags")

    def fits(self, job_id: str, tags: Iterable[str]) -> bool:
        """Return whether the rule is about a job."""
        is_named = not self.jobs or any(fnmatchcase(job_id, pattern) for pattern in self.jobs)
        return is_named and (not self.tags or not set(self.tags).isdisjoint(tags))


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for one kind of alert about one job, or about a part of the deployment."""

    kind: Kind
    name: str
    severity: Severity
    enabled: bool = True
    after: int = 1
    limit: Duration | None = None
    factor: float = 2.0
    reasons: tuple[str, ...] = ()
    is_by_hand: bool = False


DEFAULTS: Final[Mapping[str, Setting]] = {
    setting.kind: setting
    for setting in (
        Setting(kind="failed", name="failed", severity="error"),
        Setting(kind="lost", name="lost", severity="error"),
        Setting(kind="missed", name="missed", severity="error", reasons=("late", "capacity", "downtime")),
        Setting(kind="late_start", name="late_start", severity="warning", limit=Duration(minutes=5)),
        Setting(kind="too_long", name="too_long", severity="warning", limit=Duration(minutes=1)),
        Setting(kind="no_success", name="no_success", severity="error", enabled=False),
        Setting(kind="silent", name="silent", severity="warning"),
        Setting(kind="lingering", name="lingering", severity="warning", limit=Duration(minutes=1)),
        Setting(kind="unscheduled", name="unscheduled", severity="error"),
        Setting(kind="store", name="store", severity="critical", limit=Duration(minutes=1)),
        Setting(kind="plugin", name="plugin", severity="warning", limit=Duration(minutes=1)),
        Setting(kind="queue", name="queue", severity="error", limit=Duration(minutes=2)),
        Setting(kind="kernel", name="kernel", severity="error", limit=Duration(minutes=1)),
        Setting(kind="leader", name="leader", severity="critical", limit=Duration(minutes=1)),
    )
}
"""`no_success` needs a limit, which nobody can guess. The limit of `too_long` is how much longer than usual a run must
be besides its factor, so that a job of seconds gives no alert for seconds."""


class JobOptions(msgspec.Struct, frozen=True):
    """The key that the plugin adds to jobs.

    `alerts = false` turns all alerts of a job off. Else it is a table by kind: `failed = 3` for three in a row,
    `no_success = "26h"` for a limit, `missed = false` for none, or a table with the keys of a rule.
    """

    alerts: bool | dict[str, Any] = True

    def __post_init__(self) -> None:
        """Raise ValueError for a kind or a value that there is not."""
        if isinstance(self.alerts, dict):
            for kind, given in self.alerts.items():
                if kind not in OF_JOBS:
                    raise ValueError(f"alerts.{kind}: expected one of {', '.join(k for k in KINDS if k in OF_JOBS)}")
                job_rule(kind, given)


def job_rule(kind: str, given: Any) -> Rule:
    """Return what a job says about a kind as a rule; ValueError for anything else."""
    if isinstance(given, bool):
        given = {"enabled": given}
    elif isinstance(given, int) and kind not in LIMITED:
        given = {"after": given}
    elif isinstance(given, str | int | float) and kind in LIMITED:
        given = {"limit": given}
    try:
        found = msgspec.convert(given, JobRule, dec_hook=decode_hook)
        return Rule(kind=kind, **msgspec.structs.asdict(found))  # type: ignore[arg-type]  # the kind is checked here
    except (msgspec.ValidationError, ValueError) as exc:
        raise ValueError(f"alerts.{kind}: {exc}") from exc


class Rules:
    """The rules of a config, and what they say about each job."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules: dict[str, list[Rule]] = {kind: [] for kind in KINDS}
        for rule in rules:
            self._rules[rule.kind].append(rule)

    def of_part(self, kind: Kind) -> Setting:
        """Return what counts for a part of the deployment."""
        setting = DEFAULTS[kind]
        return _changed(setting, self._rules[kind][-1]) if self._rules[kind] else setting

    def of_job(self, job_id: str, tags: Iterable[str], option: Any) -> dict[str, Setting]:
        """Return what counts for a job, by kind; kinds that are off are left out. `option` is its key `alerts`."""
        if option is False:
            return {}
        tags, own = list(tags), option if isinstance(option, dict) else {}
        found: dict[str, Setting] = {}
        for kind in OF_JOBS:
            setting = DEFAULTS[kind]
            fitting = [rule for rule in self._rules[kind] if rule.fits(job_id, tags)]
            if fitting:
                setting = _changed(setting, fitting[-1])
            if kind in own:
                with suppress(ValueError):  # of a definition in the log that another version accepted
                    setting = _changed(setting, job_rule(kind, own[kind]))
            if setting.enabled:
                found[kind] = setting
        return found


def _changed(setting: Setting, rule: Rule) -> Setting:
    """Return a setting with what a rule says. A limit turns `no_success` on, which is off without one."""
    given: dict[str, Any] = {
        name: value for name in ("severity", "after", "limit", "factor") if (value := getattr(rule, name)) is not None
    }
    if rule.reasons is not None:
        given["reasons"] = tuple(rule.reasons)
    if rule.resolve is not None:
        given["is_by_hand"] = rule.resolve == "by_hand"
    limit = given.get("limit", setting.limit)
    is_possible = setting.kind != "no_success" or limit is not None
    return msgspec.structs.replace(
        setting, name=rule.name or setting.name, enabled=rule.enabled and is_possible, **given
    )
