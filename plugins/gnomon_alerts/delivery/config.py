"""The channels, routes and the heartbeat of [plugins.alerts], validated before anything is sent."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from gnomon import TriggerError
from gnomon.config_table import NO_SECRET, ConfigTable, OptionalSecret
from gnomon.conversion import Secret
from gnomon.domain.alert_events import RANK, Severity
from gnomon.durations import Duration
from gnomon.scheduling.timezones import parse_timezone

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: Final = get_args(Day)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_HTTP = re.compile(r"https?://[^/?#\s]+\S*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class QuietHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time of the day in which a channel is quiet; it may end on the next day.

    `days` are those on which it begins, all where there are none.
    """

    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    days: list[Day] = []

    def __post_init__(self) -> None:
        """Refuse times that are not like 22:00."""
        for name, text in (("from", self.start), ("to", self.end)):
            if not _TIME.fullmatch(text):
                raise ValueError(f"{name} must be a time of the day such as 22:00, got {text!r}")

    def has(self, local: datetime) -> bool:
        """Return whether a local time is in these hours."""
        start, end, days = time.fromisoformat(self.start), time.fromisoformat(self.end), self.days or _DAYS
        now, today, yesterday = local.time(), _DAYS[local.weekday()], _DAYS[local.weekday() - 1]
        if start < end:
            return today in days and start <= now < end
        return (today in days and now >= start) or (yesterday in days and now < end)


class Channel(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where notifications go: the URL of a `webhook`, a URL of `apprise`, or a `command`; exactly one of them.

    Alerts of at least `severity` are sent. Changes within `group_wait` become one message, or one for each job, rule or
    alert by `group_by`, and a message follows the one before after `interval`. What is open is sent again after
    `repeat`; 0 disables that. With `recovery` the end is sent, too. In `quiet` hours, by the clock of `timezone`, the
    channel waits, except for alerts of at least `quiet_except`.

    An attempt may take `timeout`. One that fails is repeated after pauses up to `longest_pause`, until the change is
    older than `give_up_after`.
    """

    name: str
    webhook: OptionalSecret = NO_SECRET
    apprise: OptionalSecret = NO_SECRET
    command: list[str] | None = None
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    severity: Severity = "info"
    recovery: bool = True
    repeat: Duration = Duration(hours=4)
    group_by: Literal["all", "job", "rule", "alert"] = "all"
    group_wait: Duration = Duration(seconds=10)
    interval: Duration = Duration(minutes=1)
    quiet: list[QuietHours] = msgspec.field(default_factory=list)
    quiet_except: Severity | Literal["none"] = "critical"
    timezone: str = "UTC"
    timeout: Duration = Duration(seconds=30)
    longest_pause: Duration = Duration(minutes=5)
    give_up_after: Duration = Duration(days=1)

    def __post_init__(self) -> None:
        """Refuse a channel that could send nothing."""
        if not self.name:
            raise ValueError("name is empty; each channel needs a name")
        kinds = [kind for kind in ("webhook", "apprise", "command") if getattr(self, kind)]
        if len(kinds) != 1:
            got = " and ".join(kinds) or "none of them"
            raise ValueError(f"channel {self.name!r} must have one of webhook, apprise and command, got {got}")
        if self.webhook is not None and not _is_http(self.webhook):
            raise ValueError(f"channel {self.name!r}: webhook must be a URL such as https://example.org/hook")
        for header, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(header) or not _HEADER_VALUE.fullmatch(value.reveal()):
                raise ValueError(
                    f"channel {self.name!r}: the header {header!r} cannot be sent: its name has letters, digits and "
                    "hyphens, its value one line"
                )
        if self.headers and self.webhook is None:
            raise ValueError(f"channel {self.name!r}: headers belong to a webhook, and it has none")
        if min(self.timeout, self.longest_pause, self.give_up_after) <= timedelta():
            raise ValueError(f"channel {self.name!r}: timeout, longest_pause and give_up_after must be greater than 0")
        try:
            parse_timezone(self.timezone)
        except TriggerError as exc:
            raise ValueError(f"channel {self.name!r}: {exc}") from exc
        if self.apprise is not None:
            _check_apprise(self.name, self.apprise)

    @property
    def kind(self) -> str:
        """What it is: `webhook`, `apprise` or `command`."""
        return "webhook" if self.webhook is not None else "apprise" if self.apprise is not None else "command"

    def is_quiet(self, now: datetime) -> bool:
        """Return whether the channel is quiet at a moment."""
        return bool(self.quiet) and any(hours.has(now.astimezone(ZoneInfo(self.timezone))) for hours in self.quiet)

    def wants(self, severity: str) -> bool:
        """Return whether alerts of a severity are sent at all."""
        return RANK[severity] >= RANK[self.severity]

    def wakes_for(self, severity: str) -> bool:
        """Return whether an alert of a severity is sent in quiet hours, too."""
        return self.quiet_except != "none" and RANK[severity] >= RANK[self.quiet_except]


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which alerts go to which channels; all conditions that it has must be met.

    `rules`, `jobs` and `tags` are lists of names, with wildcards such as `etl-*`; one of each must fit. `severity` is
    the least one. An alert goes to the channels of all routes that fit, and to every channel where none fits.
    """

    channels: list[str]
    rules: list[str] = []
    jobs: list[str] = []
    tags: list[str] = []
    severity: Severity = "info"

    def fits(self, rule: str, severity: str, job_id: str, tags: Sequence[str]) -> bool:
        """Return whether an alert is routed here."""
        return (
            RANK[severity] >= RANK[self.severity]
            and (not self.rules or _fits(rule, self.rules))
            and (not self.jobs or _fits(job_id, self.jobs))
            and (not self.tags or any(_fits(tag, self.tags) for tag in tags))
        )


class Heartbeat(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A service that notices when pings stop: `url` is requested every `interval` while a kernel leads.

    While the kernel is degraded, `/fail` is appended to the path, as Healthchecks expects it.
    """

    url: Secret
    interval: Duration = Duration(minutes=1)
    timeout: Duration = Duration(seconds=10)
    fail: bool = True

    def __post_init__(self) -> None:
        """Refuse what is not an address, and pings without a pause."""
        if not _is_http(self.url):
            raise ValueError("url must be a URL such as https://hc-ping.com/UUID")
        if self.interval < timedelta(seconds=1):
            raise ValueError(f"interval must be 1s or more, got {self.interval}")


def check_channels(channels: Sequence[Channel], routes: Sequence[Route]) -> None:
    """Raise ValueError for two channels of one name, and for a route to a channel that does not exist."""
    names = [channel.name for channel in channels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"channels need different names, got {', '.join(map(repr, twice))} twice")
    for route in routes:
        if unknown := sorted(set(route.channels) - set(names)):
            known = f"the channels are {', '.join(map(repr, names))}" if names else "there are no channels"
            raise ValueError(f"a route names the channel {unknown[0]!r}, which does not exist; {known}")


def _is_http(url: Secret) -> bool:
    """Return whether a URL has a host, and a port that there may be."""
    try:
        parts = urlsplit(url.reveal())
        return bool(_HTTP.fullmatch(url.reveal()) and parts.hostname and parts.port != 0)
    except ValueError:  # such as a port above 65535
        return False


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_apprise(name: str, url: Secret) -> None:
    if importlib.util.find_spec("apprise") is None:
        raise ValueError(f"channel {name!r} needs the extra `alerts`: pip install 'gnomon[alerts]'")
    apprise: Any = importlib.import_module("apprise")
    found = apprise.Apprise.instantiate(url.reveal(), suppress_exceptions=True)
    if found is None:
        scheme = url.reveal().partition("://")[0]
        raise ValueError(
            f"channel {name!r}: apprise cannot use its URL, which begins with {scheme!r}; "
            "the forms of each service are on https://github.com/caronc/apprise/wiki"
        )
