"""config/production.toml, started as an operator would start it, with real servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from servers import RedisServer, find_redis

ROOT = Path(__file__).parents[3]
PATIENCE = 100.0

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def redis_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(find_redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.clean_up()


@pytest.fixture
def environment(server_uri: str, redis_uri: str, database: Any) -> dict[str, str]:
    servers = {"MONGODB_URI": server_uri, "REDIS_URL": redis_uri, "GNOMON__PLUGINS__MONGO__DATABASE": database.name}
    servers["GNOMON__KERNEL__HOOK_TIMEOUT"] = "1m"  # so long may `check --connect` take
    return {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")} | servers


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "config/production.toml", tmp_path))


@pytest.fixture
def gnomon(config: Path, environment: dict[str, str]) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gnomon.cli", "--config", str(config), *arguments]
        return subprocess.run(
            command, env=environment, cwd=config.parent, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return run


@pytest.fixture
def kernel(config: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Provide a kernel that runs the deployment, and that has said so."""
    command = [sys.executable, "-m", "gnomon.cli", "run", str(config), "--log-format", "json"]
    with (config.parent / "log.txt").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, cwd=config.parent, stderr=log, text=True)
        until = time.monotonic() + PATIENCE
        while '"kernel started"' not in (said := (config.parent / "log.txt").read_text(encoding="utf-8")):
            assert process.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.05)
        yield process
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.timeout(300)
async def test_the_production_config_reaches_its_servers_and_runs_a_job(
    gnomon: Run, config: Path, request: pytest.FixtureRequest, database: Any, redis_uri: str
) -> None:
    checked = gnomon("check", "--connect", "--json")
    connections = {found["plugin"]: found for found in json.loads(checked.stdout)["connections"]}
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert set(connections) == {"mongo", "redis"}
    assert "no log yet" in connections["mongo"]["message"]

    kernel: subprocess.Popen[str] = request.getfixturevalue("kernel")
    triggered = gnomon("trigger", "disk_usage", "--json")
    assert triggered.returncode == 0, triggered.stderr
    until = time.monotonic() + PATIENCE
    while not await database.scheduler_executions.count_documents({"job_id": "disk_usage", "status": "success"}):
        assert time.monotonic() < until, gnomon("runs").stdout
        time.sleep(0.1)
    kernel.send_signal(signal.SIGTERM)

    assert kernel.wait(PATIENCE) == 0
    assert (config.parent / "gnomon-spool.db").exists()
    shown = json.loads(gnomon("runs", "--json").stdout)
    assert [(run["job_id"], run["status"]) for run in shown["items"]] == [("disk_usage", "success")]
    assert "disk_usage" in gnomon("stats", "--json").stdout
    with Redis.from_url(redis_uri) as redis:
        assert redis.exists(f"progress:{shown['items'][0]['id']}")


def test_without_its_secrets_the_production_config_says_what_is_missing(
    gnomon: Run, environment: dict[str, str]
) -> None:
    del environment["MONGODB_URI"]

    checked = gnomon("check", "--connect")

    assert checked.returncode == 2
    assert "plugins.mongo.uri" in checked.stderr
    assert "MONGODB_URI" in checked.stderr
