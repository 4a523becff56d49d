"""Jobs: a function, its schedule and its policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import msgspec

from gnomon.conversion import convert
from gnomon.domain.events import DeclaredStep
from gnomon.domain.labels import label_problem
from gnomon.domain.secret_references import is_flat, sealed
from gnomon.durations import LONGEST_DELAY, Duration, encode_hook
from gnomon.errors import ConfigError, GnomonError, JobError, JobKeysError, TriggerError
from gnomon.jobs.callables import reference
from gnomon.jobs.overrides import Overrides
from gnomon.jobs.plain_values import PREPARED
from gnomon.jobs.schedule import SINGLE, ScheduleKeys, build_schedule, plain_schedules
from gnomon.json_depth import MAX_DEPTH, is_text_too_deep, is_too_deep
from gnomon.logs import get_logger
from gnomon.safe_text import is_instance, safe_repr, safe_str
from gnomon.scheduling.catch_up import CatchUp
from gnomon.scheduling.foreign_triggers import definition_text
from gnomon.scheduling.triggers import AnchoredTrigger, explain_trigger
from gnomon.text import is_writable

log = get_logger("gnomon.jobs")
Overlap = Literal["skip", "queue", "cancel_previous", "allow"]

_PLAIN_TYPES = {"timezone": str, "at": datetime, "start": datetime, "end": datetime}
GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
MOST_PRIORITY = 1_000_000
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
SCHEDULES = (*SINGLE, "schedules")
LIMITS_OF_SCHEDULES = ("start", "end", "jitter", "exclude")
NO_SCHEDULE = "but no schedule to limit"
CRON_TABLE = 'trigger = { type = "cron", hour = 18, day_of_week = "mon-fri" }'
LARGEST_DEFINITION = 4_000_000
"""Bytes as JSON: an event, which also has an actor and a reason, may have 4 MiB."""


def _write_durations(struct: msgspec.Struct, *names: str) -> None:
    """Turn each timedelta into a Duration, because the log could not give a timedelta back."""
    for name in names:
        if type(value := getattr(struct, name)) is timedelta:
            msgspec.structs.force_setattr(struct, name, Duration(value.days, value.seconds, value.microseconds))


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The retry policy of a job: `attempts` in all, including the first one.

    Attempt n + 1 waits delay * backoff ** (n - 1), at most `max_delay`. A random share of up to `jitter` (0 to 1) is
    added, so that jobs that failed together do not all come back at once.
    """

    attempts: int = 3
    delay: Duration = Duration(seconds=30)
    backoff: float = 2.0
    max_delay: Duration | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Write a timedelta as a Duration; raise JobError for a policy that is not valid."""
        _write_durations(self, "delay", "max_delay")
        if self.attempts < 1 or self.backoff < 1 or not 0 <= self.jitter <= 1:
            got = f"attempts = {self.attempts}, backoff = {self.backoff:g} and jitter = {self.jitter:g}"
            raise JobError(f"retry needs attempts >= 1, backoff >= 1 and jitter from 0 to 1, got {got}")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a run in a process: `memory` in bytes of address space, `cpu` as CPU time."""

    VALUE_HINTS: ClassVar[Mapping[str, str]] = {"memory": "write bytes as a number, such as memory = 1_000_000_000"}

    memory: int | None = None
    cpu: Duration | None = None

    def __post_init__(self) -> None:
        """Write a timedelta as a Duration."""
        _write_durations(self, "cpu")


class ProgressPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A regular expression that turns a log line of the run into progress.

    The groups named percent, message, step, current_item, processed_items and total_items are taken from the line; the
    fields of this class are constant values.
    """

    match: str
    step: str | None = None
    message: str | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        """Raise JobError for a pattern that is not a valid regular expression."""
        try:
            re.compile(self.match)
        except re.error as exc:
            raise JobError(f"progress pattern {self.match!r} is not a valid regular expression: {exc}") from exc


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A named function with a schedule and policies.

    `func` is a callable or "package.module:callable". A SecretReference in `args` or
    `kwargs` is read when a run starts. At most one of `cron`, `every`, `at` and `trigger` (an object
    with APScheduler's interface, or a mapping with a `type`) is its schedule, or `schedules`, a list of mappings with
    one of these keys each, whose fires it all has; without one the job runs only when it is triggered. `start`, `end`,
    `exclude` and `jitter` limit and spread the fires of a schedule. With `at_start` the job also runs once whenever a
    kernel starts. `overrides` lists the arguments that a command may set for one run, or is "all" or "none"; the
    default is what the function declares, else "all". `options` holds the keys that plugins own. A job that was added
    at run time is removed when its schedule has ended, unless it has `keep`. `KEY_HINTS` has the keys that other
    schedulers call otherwise.
    """

    KEY_HINTS: ClassVar[Mapping[str, str]] = {
        "misfire_grace_time": 'the time in which a late fire still runs is `grace`, such as grace = "5m"',
        "coalesce": 'which of several late fires run is `catch_up`: "latest", "all" or "none"',
        "replace_existing": "leave it out of a config; add_job replaces a job with replace=True",
        "executor": 'where a job runs is `runner`: "async", "thread" or "process"',
        "jobstore": "leave it out: a deployment keeps all jobs in one log",
        "next_run_time": "the only fire of a job is `at`; a job that starts paused has paused = true",
        "trigger_args": 'they are in the table of the trigger: trigger = { type = "interval", minutes = 5 }',
        "day": "write a cron line, or " + CRON_TABLE,
        "week": "write " + CRON_TABLE,
        "year": "write " + CRON_TABLE,
        "month": "write a cron line, or " + CRON_TABLE,
        "day_of_week": "write a cron line, or " + CRON_TABLE,
        "hour": "write a cron line, or " + CRON_TABLE,
        "minute": "write a cron line, or " + CRON_TABLE,
        "second": "write a cron line with seconds first, or " + CRON_TABLE,
        "crontab": 'write cron = "0 18 * * 1-5"',
        "start_date": "write start = 2026-12-01T18:00:00+08:00",
        "end_date": "write end = 2026-12-31T18:00:00+08:00",
        "days": 'write every = "2d"',
        "weeks": 'write every = "2w"',
        "max_retries": "write retry = { attempts = 3 }, which counts the first attempt too",
        "retries": "write retry = { attempts = 3 }, which counts the first attempt too",
        "memory": 'write limits = { memory = 1_000_000_000 }, in bytes, with runner = "process"',
        "cpu": 'write limits = { cpu = "10m" } with runner = "process"',
        "seconds": 'write every = "30s"',
        "minutes": 'write every = "5m"',
        "hours": 'write every = "2h"',
        "interval": 'write every = "5m"',
        "run_date": "write at = 2026-12-01T18:00:00+08:00",
        "concurrency": "write max_instances = 2, or group = NAME for a limit that several jobs share",
        "pool": "the limit that jobs share is that of their group: group = NAME, and NAME = 2 under [groups]",
    }

    PREPARED: ClassVar[Mapping[str, Callable[[Any], Any]]] = PREPARED

    id: str
    func: Any
    name: str = ""
    description: str = ""
    tags: list[str] = []
    cron: str | None = None
    every: Duration | None = None
    at: datetime | None = None
    trigger: Any = None
    schedules: list[Any] = []
    timezone: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    jitter: Duration | None = None
    exclude: list[Any] = []
    at_start: bool = False
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    overrides: Overrides | None = None
    catch_up: CatchUp = "latest"
    grace: Duration | None = None
    overlap: Overlap = "skip"
    max_instances: int | None = None
    queue_limit: int | None = None
    debounce: Duration | None = None
    group: str | None = None
    priority: int = 0
    after: list[str] = []
    labels: dict[str, str] = {}
    timeout: Duration | None = None
    silence: Duration | None = None
    cancel_grace: Duration = Duration(seconds=10)
    retry: Retry = Retry(attempts=1)
    runner: str | None = None
    limits: Limits | None = None
    steps: list[str | DeclaredStep] = []
    progress_patterns: list[ProgressPattern] = []
    paused: bool = False
    keep: bool = False
    options: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Raise JobError for a definition that contradicts itself, or has a value of a wrong type that shows here."""
        try:
            self._prepare()
            self._check()
        except (TypeError, AttributeError) as exc:
            raise JobError(self._wrong_type() or f"job {safe_repr(self.id)}: {safe_str(exc)}") from exc

    def _prepare(self) -> None:
        """Put plain values in place of zones and dates."""
        for name, value in (("timezone", self.timezone), ("at", self.at), ("start", self.start), ("end", self.end)):
            if value is not None and type(value) is not _PLAIN_TYPES[name]:
                try:
                    msgspec.structs.force_setattr(self, name, PREPARED[name](value))
                except TriggerError as exc:
                    raise JobKeysError(self.id, [(name, str(exc))], f"job {safe_repr(self.id)}: {exc}") from exc

    def _wrong_type(self) -> str | None:
        """Return the problems of the keys whose values have the wrong type."""
        try:
            convert(self.given(), Job, f"job {safe_repr(self.id)}", strict=True)
        except ConfigError as exc:
            return str(exc)
        except GnomonError:
            pass
        return None

    def _check(self) -> None:
        if self.cron is not None and not self.cron.strip():
            log.warning("cron is empty, so the job has no schedule", job=self.id)
            msgspec.structs.force_setattr(self, "cron", None)
        # Without getattr, as below: that took 1 µs of the 2.3 µs in which a job is made.
        count = [self.cron is None, self.every is None, self.at is None, self.trigger is None].count(False)
        problems: list[tuple[str, str]] = []
        if not _JOB_ID.fullmatch(self.id):
            expected = "expected 1 to 128 of A-Z a-z 0-9 . _ : - beginning with a letter or a digit"
            problems.append(("id", f"job id {safe_repr(self.id, 200)} is not valid: {expected}"))
        if count + bool(self.schedules) > 1:
            given = [name for name in SCHEDULES if getattr(self, name) not in (None, [])]
            several = 'several schedules are schedules = [{ cron = "0 9 * * *" }, { every = "4h" }]'
            problem = f"job {self.id!r} has {' and '.join(given)}: give one of {', '.join(SCHEDULES)}; {several}"
            problems.append((given[-1], problem))
        if not count and not self.schedules and (self.start or self.end or self.jitter is not None or self.exclude):
            found = [name for name in LIMITS_OF_SCHEDULES if getattr(self, name) not in (None, [])]
            limits = f"has {' and '.join(found)} {NO_SCHEDULE}: give one of {', '.join(SCHEDULES)}"
            problems.append((found[0], f"job {self.id!r} {limits}"))
        self._check_limits(problems)
        if self.args or self.kwargs:
            self._seal_arguments(problems)
        if self.limits is not None and self.runner in (None, "async", "thread"):
            problems.append(("limits", f'job {self.id!r} has limits, which only `runner = "process"` can enforce'))
        if problems:
            prefix = f"job {self.id!r}: "
            keyed = [(key, text.removeprefix(prefix)) for key, text in problems]
            raise JobKeysError(self.id, keyed, "\n".join(text for _, text in problems))

    def _check_limits(self, problems: list[tuple[str, str]]) -> None:
        job = f"job {self.id!r}: "
        if self.max_instances is not None and self.max_instances < 1:
            problems.append(("max_instances", f"{job}max_instances must be 1 or more, got {self.max_instances}"))
        if self.queue_limit is not None and self.queue_limit < 0:
            problems.append(("queue_limit", f"{job}queue_limit must be 0 or more, got {self.queue_limit}"))
        if self.debounce is not None and not timedelta() < self.debounce <= LONGEST_DELAY:
            limit = f"more than 0 and at most {LONGEST_DELAY.days} days"
            problems.append(("debounce", f"{job}debounce must be {limit}, got {self.debounce}; leave it out for none"))
        if self.group is not None and not GROUP_NAME.fullmatch(self.group):
            expected = "expected 1 to 64 of A-Z a-z 0-9 . _ : - beginning with a letter or a digit"
            problems.append(("group", f"{job}group {self.group!r} is not valid: {expected}"))
        if self.labels and (problem := label_problem(self.labels)) is not None:
            problems.append(("labels", f"{job}{problem}"))
        if not -MOST_PRIORITY <= self.priority <= MOST_PRIORITY:
            span = f"from {-MOST_PRIORITY} to {MOST_PRIORITY}"
            problems.append(("priority", f"{job}priority must be {span}, got {self.priority}"))

    def _seal_arguments(self, problems: list[tuple[str, str]]) -> None:
        """Put the form of the log in place of references to secrets."""
        for name in ("args", "kwargs"):
            given = getattr(self, name)
            if is_flat(given) or is_too_deep(given):  # the log refuses the latter
                continue
            try:
                kept = sealed(given, name)
            except ValueError as exc:
                problems.append((name, f"job {self.id!r}: {exc}"))
                continue
            if kept is not given:
                msgspec.structs.force_setattr(self, name, kept)

    @property
    def title(self) -> str:
        """The name of the job for people."""
        return self.name or self.id

    @property
    def schedule_key(self) -> str | None:
        """The key that holds the schedule: `cron`, `every`, `at`, `trigger`, `schedules`, or None."""
        return next((key for key in SCHEDULES if getattr(self, key) not in (None, [])), None)

    @property
    def has_schedule(self) -> bool:
        """Whether the job has a schedule."""
        single = self.cron is None and self.every is None and self.at is None and self.trigger is None
        return bool(self.schedules) or not single

    @property
    def instances(self) -> float:
        """How many runs of the job may run at once: by default one, with overlap = "allow" any number."""
        return self.max_instances or (float("inf") if self.overlap == "allow" else 1)

    def build_trigger(self) -> AnchoredTrigger | None:
        """Build the trigger, None for a job without a schedule; raises TriggerError for one that is not valid."""
        return build_schedule(self.schedule_keys)

    @property
    def schedule_keys(self) -> ScheduleKeys:
        """The keys that make up the schedule."""
        return ScheduleKeys(
            self.id,
            *(self.cron, self.every, self.at, self.trigger, self.schedules),
            *(self.timezone, self.start, self.end, self.jitter, self.exclude),
        )

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        # Most fields are the default object itself: comparing all values by name would take 20 of 25 µs. msgspec itself
        # omits only that object, and keeps a value that equals it, such as "10s" in a config.
        fields = zip(self.__struct_fields__, msgspec.structs.astuple(self), _DEFAULTS, strict=True)
        return {
            name: value
            for name, value, default in fields
            if value is not default and (type(value) is not type(default) or value != default)
        }

    def definition(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the job as JSON data, as the log keeps it and people see it; JobError if it is too large.

        `given` is the result of `given()`, if the caller has it already.
        """
        definition = {**(self.given() if given is None else given), "func": reference(self.func)}
        if self.trigger is not None:
            definition["trigger"] = _plain_trigger(self.trigger)
        if self.schedules:
            definition["schedules"] = list(plain_schedules(self.schedules))
        for name, value in definition.items():
            if isinstance(value, timedelta):
                definition[name] = str(Duration.parse(value))
        if halves := [name for name, value in definition.items() if not is_writable(value)]:
            raise JobError(
                f"job {self.id!r}: {', '.join(halves)} has half a character (a lone surrogate), which no log can hold: "
                "remove it, or decode the text with errors='replace'"
            )
        written = _encoder.encode(definition)
        if is_text_too_deep(written):
            raise JobError(f"job {self.id!r}: its definition is nested deeper than {MAX_DEPTH} levels: flatten it")
        if len(written) > LARGEST_DEFINITION:
            raise JobError(
                f"job {self.id!r} is too large for the log: {len(written):,} bytes as JSON, {LARGEST_DEFINITION:,} are "
                "allowed; keep large data elsewhere and pass the job a reference to it"
            )
        # Decoded from JSON, so that it equals what the log returns, which has no tuples. But text, numbers and booleans
        # stay the objects of the job, which saves 20 MB for 100,000 definitions.
        return definition if _SIMPLE.issuperset(map(type, definition.values())) else _decode(written)


_SIMPLE = frozenset({str, bool, int})
_encoder = msgspec.json.Encoder(enc_hook=encode_hook)
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_DEFAULTS = tuple(
    field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    for field in msgspec.structs.fields(Job)
)
"""The defaults of the fields of a job; NODEFAULT for required ones."""


def explain_schedule(job: Job) -> str:
    """Describe in plain words when the job is due."""
    try:
        trigger = job.build_trigger()
    except GnomonError as exc:  # a job of the log, which another version could build
        return f"a schedule that cannot be built: {exc}"
    after = f"after {' and '.join(job.after)}" if job.after else ""
    if trigger is None:
        return after or "only when triggered"
    return f"{explain_trigger(trigger)}, {after}" if after else explain_trigger(trigger)


def _plain_trigger(trigger: Any) -> Any:
    if trigger is None or is_instance(trigger, Mapping):
        return trigger
    return {"type": "object", "text": definition_text(trigger)}
