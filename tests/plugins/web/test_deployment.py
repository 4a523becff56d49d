"""config/web.toml, started as an operator starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE = 100.0


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    return kept | {"GNOMON__PLUGINS__WEB__PORT": "0"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "config/web.toml", tmp_path))


@pytest.fixture
def deployment(config: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start it, and tell where it listens when it has started."""
    command = [sys.executable, "-m", "gnomon.cli", "run", str(config), "--log-format", "json"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process, listening(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)


def listening(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said, url = [], ""
    for line in process.stderr:
        said.append(line)
        told = json.loads(line) if line.startswith("{") else {"event": line}
        if told["event"] == "web is listening":
            url = str(told["url"])
        elif told["event"] == "kernel started":
            return url
    pytest.fail("it ended before it had started:\n" + "".join(said))


def ask(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def test_the_deployment_is_served_on_this_machine_and_ends_cleanly(
    deployment: tuple[subprocess.Popen[str], str],
) -> None:
    process, url = deployment

    jobs = ask(f"{url}/scheduler/jobs")
    run = ask(f"{url}/scheduler/jobs/disk_usage/trigger", "POST")
    health = ask(f"{url}/readyz")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)

    assert url.startswith("http://127.0.0.1:")
    assert [job["id"] for job in jobs] == ["backup", "disk_usage", "integrity_audit", "sqlite.retention"]
    assert (run["job_id"], run["actor"]) == ("disk_usage", "local")
    assert health["status"] == "ok"
    assert process.returncode == 0


def test_the_deployment_without_tokens_refuses_other_addresses(config: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "gnomon.cli", "check", str(config)]
    variables = environment | {"GNOMON__PLUGINS__WEB__HOST": "0.0.0.0"}  # noqa: S104 - it is refused
    checked = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert checked.returncode == 2
    assert "there are no tokens" in checked.stdout + checked.stderr
