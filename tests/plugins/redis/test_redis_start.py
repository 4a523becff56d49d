"""What the config may say, and what `gnomon check --connect` tells."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon import ConfigError
from gnomon.plugins.connection_check import try_connections
from gnomon.plugins.plugin_set import PluginSet
from gnomon_redis import RedisPlugin


async def connection(**settings: Any) -> Any:
    plugins = PluginSet()
    plugins.add(RedisPlugin, "redis", {"timeout": "30s"} | settings)
    (found,) = await try_connections(plugins, "leader", 60)
    return found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "http://ann:topsecret@127.0.0.1"}, "expected a URL that begins with redis://, rediss://, unix://"),
        ({"url": "127.0.0.1:6379"}, "expected a URL that begins with redis://"),
        ({"url": "redis://ann:topsecret@127.0.0.1:99999"}, "the port in the URL must be a number"),
        ({"url": "redis://ann:topsecret@127.0.0.1:port"}, "the port in the URL must be a number"),
        ({"url": "redis://ann:topsecret@127.0.0.1/database"}, "the database in the URL must be a number"),
        ({"ttl": "0s"}, "ttl must be 1s or more"),
        ({"live_ttl": "10ms"}, "live_ttl must be 1s or more"),
        ({"timeout": "0s"}, "timeout must be more than 0"),
        ({"stream_length": 0}, "stream_length must be 1 or more"),
        ({"uri": "redis://127.0.0.1"}, "unknown key; did you mean 'url'?"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_without_telling_a_password(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        PluginSet().add(RedisPlugin, "redis", settings)

    assert said in str(caught.value)
    assert "topsecret" not in str(caught.value)


async def test_a_server_that_can_be_used_is_told_with_its_version_and_nothing_is_changed(
    server: Any, redis: Any
) -> None:
    found = await connection(url=server.url)

    assert found.ok
    assert found.message.startswith("Redis ")
    assert f"at 127.0.0.1:{server.port}/0 accepts writes to progress:*" in found.message
    assert await redis.dbsize() == 0


async def test_a_server_that_is_not_there_is_told(idle_server: Any) -> None:
    found = await connection(url=idle_server.url.replace("://", "://ann:topsecret@"))

    assert not found.ok
    assert f"Redis at 127.0.0.1:{idle_server.port}/0 cannot be reached" in found.message
    assert "topsecret" not in found.message


async def test_a_server_that_does_not_answer_is_told_in_time(server: Any) -> None:
    import signal

    server.send(signal.SIGSTOP)
    found = await connection(url=server.url, timeout="300ms")
    server.send(signal.SIGCONT)

    assert "does not respond in time" in found.message


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("ann:wrong@", "rejects the user or the password"),
        ("reader:topsecret@", "grant the user the keys and channels progress:*"),
        ("deaf:topsecret@", "grant the user the keys and channels progress:*"),
        ("ann:topsecret@", "accepts writes to progress:*"),
    ],
)
async def test_users_passwords_and_permissions_are_told(server: Any, redis: Any, credentials: str, said: str) -> None:
    await redis.execute_command("ACL SETUSER ann on >topsecret ~progress:* &progress:* +@all -@dangerous -@admin")
    await redis.execute_command("ACL SETUSER reader on >topsecret ~progress:* &progress:* +@read +@connection")
    await redis.execute_command("ACL SETUSER deaf on >topsecret ~progress:* &other:* +@all")

    found = await connection(url=server.url.replace("://", f"://{credentials}"))

    assert said in found.message
    assert found.ok == (credentials == "ann:topsecret@")
