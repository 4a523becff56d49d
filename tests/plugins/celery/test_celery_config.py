"""The section [plugins.celery]: what is refused, what is derived, and that no password is shown."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.conversion import convert
from gnomon.deployment.assembly import Deployment, assemble
from gnomon.deployment.config import load_config
from gnomon.errors import ConfigError
from gnomon_celery import CeleryConfig
from gnomon_celery.config import address_of
from gnomon_celery.worker_app import make_worker_app

PASSWORD = "s3cr%2Ft"


def config(**keys: Any) -> CeleryConfig:
    return convert({"broker": "redis://localhost", **keys}, CeleryConfig, "[plugins.celery]")


def problem(**keys: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        config(**keys)
    return str(refused.value)


def test_a_redis_broker_is_the_channel_as_well() -> None:
    assert config(broker="rediss://:pw@r1:6380/2").channel_url == "rediss://:pw@r1:6380/2"
    assert config(broker="redis+socket:///run/redis.sock?virtual_host=3").channel_url == "unix:///run/redis.sock?db=3"
    assert config(broker="amqp://mq", channel="redis://r2").channel_url == "redis://r2"


def test_another_broker_needs_a_channel() -> None:
    assert "channel is missing" in problem(broker="amqp://guest:guest@mq//")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"broker": "localhost"}, "broker: expected a URL such as"),
        ({"broker": "redis://localhost:port"}, "broker: the port in the URL must be a number"),
        ({"broker": "redis://localhost/queue"}, "broker: the database in the URL must be a number"),
        ({"channel": "amqp://mq"}, "channel: expected a URL that begins with redis://, rediss://, unix://"),
        ({"claim_ttl": "1h", "visibility_timeout": "1h"}, "claim_ttl must be longer than visibility_timeout"),
        ({"result_ttl": "1s"}, "result_ttl must be 1m or more, got 1s"),
        ({"heartbeat": "2m"}, "heartbeat must be 1m or less, got 2m"),
        ({"queue": ""}, "queue"),
        ({"queue": "a,b"}, "queue: a worker cannot be given 'a,b', because its queues are a list such as --queues a,b"),
        ({"prefix": "a{b}"}, "prefix must not contain"),
        ({"brokre": "redis://localhost"}, "brokre"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], text: str) -> None:
    assert text in problem(**keys)


def test_times_are_durations() -> None:
    found = config(result_ttl="1d", visibility_timeout="2h", claim_ttl="3d")
    assert (found.result_ttl, found.visibility_timeout) == (timedelta(days=1), timedelta(hours=2))


@pytest.mark.parametrize("broker", ["redis://me:{}@r1:6379/0", "amqp://me:{}@mq:5672/main", "amqp://a;amqp://me:{}@b/"])
def test_passwords_are_neither_shown_nor_quoted(broker: str) -> None:
    found = config(broker=broker.format(PASSWORD), channel=f"redis://:{PASSWORD}@r2")
    shown = f"{found!r} {found} {found.broker_address} {found.channel_address}"
    for text in (PASSWORD, "s3cr/t"):
        assert text not in shown
        assert text not in found.hide(f"could not log in with {text}")
    assert PASSWORD not in problem(broker=broker.format(PASSWORD), channel=f"http://:{PASSWORD}@r2")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://:pw@r1:6379/0", "redis://r1:6379/0"),
        ("amqp://me:pw@[::1]:5672/main", "amqp://[::1]:5672/main"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock"),
        ("amqp://", "amqp://localhost"),
    ],
)
def test_a_server_is_shown_by_its_address(url: str, address: str) -> None:
    assert address_of(url) == address


def assembled(folder: Path, runner: str, keys: str) -> Deployment:
    path = folder / "gnomon.toml"
    path.write_text(f"""
[plugins.memory]
[plugins.celery]
broker = "redis://127.0.0.1:1"
[[jobs]]
id = "sum"
func = "gnomon_chores:shell"
kwargs = {{ argv = ["true"] }}
{runner}
{keys}
""")
    return assemble(load_config(path, {}))


def test_jobs_have_keys_of_the_plugin(tmp_path: Path) -> None:
    (job,) = assembled(tmp_path, 'runner = "celery"', 'queue = "reports"\nrouting_key = "eu"').jobs
    assert job.options == {"queue": "reports", "routing_key": "eu"}


@pytest.mark.parametrize(("runner", "found"), [("", "none"), ('runner = "thread"', '"thread"')])
def test_those_keys_need_the_runner(tmp_path: Path, runner: str, found: str) -> None:
    with pytest.raises(ConfigError) as refused:
        assembled(tmp_path, runner, 'queue = "reports"')
    assert refused.value.problems == [f"jobs[0 'sum']: queue needs runner = \"celery\", got {found}"]


@pytest.mark.parametrize("queue", ["a,b", " a", "a ", "a\n", "gnomon\x06\x163"])
def test_a_queue_that_no_worker_can_be_given_is_refused(tmp_path: Path, queue: str) -> None:
    with pytest.raises(ConfigError, match="queue: a worker cannot be given"):
        assembled(tmp_path, 'runner = "celery"', f"queue = {json.dumps(queue)}")


@pytest.mark.parametrize("queue", ["Größe 1", "a/b?c=1", "a*b.c-d_e"])
def test_a_queue_may_have_any_other_name(tmp_path: Path, queue: str) -> None:
    (job,) = assembled(tmp_path, 'runner = "celery"', f"queue = {json.dumps(queue)}").jobs
    assert job.options["queue"] == queue


def test_a_new_process_of_a_pool_has_time_to_start_on_a_busy_machine() -> None:
    app = make_worker_app(config())
    assert app.conf.worker_proc_alive_timeout == 60  # Celery's 4 s would kill it, start another one, and so on
