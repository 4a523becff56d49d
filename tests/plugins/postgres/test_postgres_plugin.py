"""The plugin's configuration, and config/postgres.toml as an operator starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnomon.conversion import Secret, convert
from gnomon.durations import Duration
from gnomon.errors import ConfigError
from gnomon_postgres import PostgresPlugin
from gnomon_process import Gnomon

ROOT = Path(__file__).parents[3]


def config(**keys: Any) -> PostgresPlugin.Config:
    return convert(keys, PostgresPlugin.Config, "plugins.postgres", Path("/x"))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"dsn": ""},
            "dsn: not a connection string of PostgreSQL: it is empty, as that of a variable without",
        ),
        (
            {"dsn": "postgresql://db1/x?wrong=1"},
            'PostgreSQL: it has the unknown option "wrong"; expected postgresql://',
        ),
        ({"dsn": "hunter2"}, 'dsn: not a connection string of PostgreSQL: a word has no "="'),
        ({"schema": ""}, "schema: expected a name"),
        ({"schema": "pg_log"}, "schema: information_schema and names that begin with pg_ belong to the server"),
        ({"schema": "ü" * 32}, "schema: expected at most 63 bytes"),
        ({"spool_limit": 0}, "spool_limit must be 1"),
        ({"timeout": "15s"}, "timeout must be more than 0 and less than lease"),
        ({"partition": "10s"}, "partition must be 1m or more"),
    ],
)
def test_an_invalid_value_is_named_without_the_password(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**keys)

    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_connection_strings_of_both_kinds_are_valid() -> None:
    assert config(dsn="host=db1,db2 dbname=app user=gnomon").dsn == Secret("host=db1,db2 dbname=app user=gnomon")
    assert config(dsn="postgresql:///app?host=/run/postgresql").schema == "gnomon"


def test_the_retention_jobs_are_those_that_the_configuration_enables(tmp_path: Path) -> None:
    def jobs(**keys: Any) -> list[str]:
        found: list[str] = []
        plugin = PostgresPlugin(PostgresPlugin.Config(spool=tmp_path / "spool.db", **keys))
        plugin.register_jobs(lambda **job: found.append(job["id"]))
        return found

    assert jobs() == []
    assert jobs(retention=Duration(days=90)) == ["postgres.retention"]
    assert jobs(progress_retention=Duration(days=7)) == ["postgres.progress_retention"]


@pytest.fixture
def start(dsn: str, tmp_path: Path) -> Iterator[Callable[..., Gnomon]]:
    """Start a command with config/postgres.toml; what still runs at the end is killed."""
    shutil.copy(ROOT / "config/postgres.toml", tmp_path / "gnomon.toml")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    environment |= {"GNOMON__PLUGINS__WEB__PORT": "0", "GNOMON__KERNEL__HOOK_TIMEOUT": "1m"}
    started: list[Gnomon] = []

    def begin(*arguments: str, **variables: str) -> Gnomon:
        started.append(Gnomon(tmp_path, arguments, environment | {"DATABASE_URL": dsn} | variables))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def answer(command: Gnomon) -> Any:
    assert command.ends() == 0, command.errors
    assert command.process.stdout is not None
    return json.load(command.process.stdout)


@pytest.mark.timeout(300)
def test_the_config_in_the_repository_reaches_its_server_and_runs_a_job(start: Callable[..., Gnomon]) -> None:
    checked = {found["plugin"]: found for found in answer(start("check", "--connect", "--json"))["connections"]}
    assert "no log yet; the first start creates it" in checked["postgres"]["message"]

    kernel = start("run", "--log-format", "json")
    kernel.wait_for("kernel started", store="postgres")
    triggered = answer(start("trigger", "disk_usage", "--json"))
    kernel.wait_for("succeeded", job="disk_usage")
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors

    shown = answer(start("runs", "--json"))["items"]
    assert [(run["id"], run["status"]) for run in shown] == [(triggered["execution"]["id"], "success")]
    assert "a log at event" in answer(start("check", "--connect", "--json"))["connections"][0]["message"]
    assert start("postgres", "verify").ends() == 0


def test_a_wrong_password_or_address_is_told_without_the_secret(start: Callable[..., Gnomon]) -> None:
    checked = start("check", "--connect", DATABASE_URL="postgresql://gnomon:hunter2@127.0.0.1:1/app")

    assert checked.ends() == 1
    assert checked.process.stdout is not None
    said = checked.process.stdout.read() + checked.errors
    assert "127.0.0.1:1/app" in said
    assert "hunter2" not in said
