"""The section [plugins.celery], which kernels and workers share, and the keys that jobs with this runner may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from gnomon import Job
from gnomon.config_table import NO_SECRET, ConfigTable, OptionalSecret
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon_celery.channel import HEARTBEAT_S

RUNNER = "celery"
"""The name of the runner, as jobs give it."""
REDIS_SCHEMES = ("redis", "rediss")
CHANNEL_SCHEMES = (*REDIS_SCHEMES, "unix")
LEAST: dict[str, Duration] = {
    "result_ttl": Duration(minutes=1),
    "claim_ttl": Duration(minutes=2),
    "visibility_timeout": Duration(minutes=1),
    "heartbeat": Duration(milliseconds=100),
    "timeout": Duration(milliseconds=100),
}
LONGEST_HEARTBEAT = Duration(minutes=1)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class CeleryConfig(ConfigTable, forbid_unknown_fields=True, kw_only=True):
    """The section [plugins.celery].

    `broker` is a URL as Celery has it; `channel` is the Redis through which workers report: the broker, where that is a
    Redis. `queue` is that of jobs without their own. A kernel that was away for less than `result_ttl` loses nothing.
    RabbitMQ declares queues with up to `max_priority`; by default, without priorities. Its queues are "classic" or, on
    several nodes, "quorum": `queue_type`.
    `visibility_timeout` is how long a Redis broker waits before it delivers a task again that no worker has
    acknowledged; `claim_ttl` is how long the id of a run stays claimed, so that nothing begins it twice. A body without
    three heartbeats counts as lost. `timeout` limits each request to the broker and to Redis.
    """

    broker: Secret
    channel: OptionalSecret = NO_SECRET
    queue: Name = "gnomon"
    prefix: Name = "gnomon"
    result_ttl: Duration = Duration(days=7)
    claim_ttl: Duration = Duration(days=7)
    visibility_timeout: Duration = Duration(hours=1)
    heartbeat: Duration = Duration(seconds=HEARTBEAT_S)
    timeout: Duration = Duration(seconds=5)
    max_priority: Annotated[int, msgspec.Meta(ge=1, le=255)] | None = None
    queue_type: Literal["classic", "quorum"] = "classic"

    def __post_init__(self) -> None:
        """Raise ValueError for values that are not valid; URLs are not quoted, they may contain passwords."""
        for url in _urls(self.broker):
            _check_url("broker", url)
        if self.channel is None:
            if self._broker_as_channel is None:
                raise ValueError(
                    "channel is missing: workers report through Redis, and the broker is another server; set it to the "
                    "URL of a Redis, such as redis://localhost:6379/0"
                )
        else:
            _check_url("channel", self.channel.reveal(), CHANNEL_SCHEMES)
        _check_queue(self.queue)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if self.heartbeat > LONGEST_HEARTBEAT:
            raise ValueError(f"heartbeat must be {LONGEST_HEARTBEAT} or less, got {self.heartbeat}")
        if self.claim_ttl <= self.visibility_timeout:
            raise ValueError(
                f"claim_ttl must be longer than visibility_timeout, got {self.claim_ttl} and "
                f"{self.visibility_timeout}: a task that is delivered again would find no claim, and begin twice"
            )
        if self.queue_type == "quorum" and self.max_priority is not None:
            raise ValueError("max_priority is for classic queues: RabbitMQ declares no quorum queue with it")
        if bad := set(self.prefix) & set("{} "):
            raise ValueError(f"prefix must not contain {' '.join(sorted(map(repr, bad)))}, got {self.prefix!r}")

    @property
    def channel_url(self) -> str:
        """The URL of the Redis through which workers report, with its password."""
        return self.channel.reveal() if self.channel is not None else self._broker_as_channel or ""

    @property
    def is_redis_broker(self) -> bool:
        """Whether the broker is a Redis, which delivers tasks again after `visibility_timeout`."""
        return self._broker_as_channel is not None

    @property
    def broker_address(self) -> str:
        """The broker for display: without user, password and options."""
        return ", ".join(address_of(url) for url in _urls(self.broker))

    @property
    def channel_address(self) -> str:
        """The Redis of the channel for display."""
        return address_of(self.channel_url)

    @property
    def _broker_as_channel(self) -> str | None:
        first = next(_urls(self.broker), "")
        scheme, _, rest = first.partition("://")
        if scheme in REDIS_SCHEMES:
            return first
        return f"unix://{rest}".replace("?virtual_host=", "?db=") if scheme == "redis+socket" else None

    def hide(self, text: str) -> str:
        """Return a text of a driver without the passwords of the URLs."""
        for url in (*_urls(self.broker), self.channel_url):
            for password in _passwords(url):
                text = text.replace(password, "***")
        return text


class JobOptions(msgspec.Struct, frozen=True):
    """The keys of a job with `runner = "celery"`.

    With a `routing_key` a task is published to the exchange that has the name of the queue; without one, it goes to the
    queue itself.
    """

    queue: Name | None = None
    routing_key: Name | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a queue whose name no worker can be given."""
        if self.queue is not None:
            _check_queue(self.queue)

    def check_job(self, job: Job) -> None:
        """Raise ValueError for a job that runs its body elsewhere: its keys would have no effect."""
        given = [name for name in ("queue", "routing_key") if getattr(self, name) is not None]
        if job.runner != RUNNER and given:
            found = "none" if job.runner is None else f'"{job.runner}"'
            raise ValueError(
                f'{" and ".join(given)} need{"s" if len(given) == 1 else ""} runner = "{RUNNER}", got {found}'
            )


def address_of(url: str) -> str:
    """Return the server of a URL for display: without user, password and options."""
    parts = urlsplit(url)
    if parts.scheme in {"unix", "redis+socket"}:
        return parts.path
    host = parts.hostname or "localhost"
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}{f':{parts.port}' if parts.port is not None else ''}{parts.path.rstrip('/')}"


def _urls(broker: Secret) -> Iterator[str]:
    """Yield the URLs of a broker: several, separated by semicolons, are tried in turn."""
    for url in broker.reveal().split(";"):
        if url.strip():
            yield url.strip()


def _check_queue(name: str) -> None:
    # Kombu's names of the lists for priorities in Redis contain control characters.
    if "," in name or name != name.strip() or not name.isprintable():
        raise ValueError(
            f"queue: a worker cannot be given {name!r}, because its queues are a list such as --queues a,b: choose a "
            "name without commas, control characters, and blanks at its ends"
        )


def _check_url(name: str, url: str, schemes: tuple[str, ...] = ()) -> None:
    parts = urlsplit(url)
    if schemes and parts.scheme not in schemes:
        raise ValueError(f"{name}: expected a URL that begins with {', '.join(f'{one}://' for one in schemes)}")
    if not parts.scheme or "://" not in url:
        raise ValueError(f"{name}: expected a URL such as redis://localhost:6379/0 or amqp://user:password@host/vhost")
    try:
        parts.port  # noqa: B018 - it is parsed when it is read
    except ValueError:
        raise ValueError(f"{name}: the port in the URL must be a number from 0 to 65535") from None
    if parts.scheme in REDIS_SCHEMES and (database := parts.path.strip("/")) and not database.isdecimal():
        raise ValueError(f"{name}: the database in the URL must be a number")  # redis-py would silently use 0


def _passwords(url: str) -> list[str]:
    password = urlsplit(url).password
    return [one for one in (password, unquote(password)) if one] if password else []
