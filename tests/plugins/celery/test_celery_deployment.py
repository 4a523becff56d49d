"""config/celery.toml, started as an operator starts it: a kernel, and workers for both of its queues."""

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

import pytest

from servers import RedisServer

ROOT = Path(__file__).parents[3]
PATIENCE = 120.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(server: RedisServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
    return kept | {"CELERY_BROKER": server.url, "GNOMON__KERNEL__HOOK_TIMEOUT": "1m"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "config/celery.toml", tmp_path))


@pytest.fixture
def start(config: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a command, and wait until its log has a text."""
    processes: list[subprocess.Popen[str]] = []

    def start(ready: str, *arguments: str) -> subprocess.Popen[str]:
        path = config.parent / f"log{len(processes)}.txt"
        with path.open("w", encoding="utf-8") as log:
            command = [sys.executable, "-m", "gnomon.cli", *arguments]
            process = subprocess.Popen(command, env=environment, cwd=config.parent, stdout=log, stderr=log, text=True)
        processes.append(process)
        until = time.monotonic() + PATIENCE
        while ready not in (said := path.read_text(encoding="utf-8")):
            assert process.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.05)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.timeout(300)
def test_the_deployment_runs_its_jobs_in_workers(start: Start, config: Path, environment: dict[str, str]) -> None:
    def gnomon(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gnomon.cli", "--config", str(config), *arguments]
        return subprocess.run(
            command, env=environment, cwd=config.parent, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    kernel = start("kernel started", "run", str(config), "--log-format", "json")
    workers = [
        start(" ready.", "worker", str(config), "--concurrency=1", f"--queues={queue}")
        for queue in ("gnomon", "reports")
    ]
    checked = gnomon("check", "--connect", "--json")
    connections = {one["plugin"]: one for one in json.loads(checked.stdout)["connections"]}
    assert "2 workers for the queues gnomon, reports" in connections["celery"]["message"], checked.stdout
    for job in ("disk_usage", "integrity_audit"):
        done = gnomon("trigger", job, "--follow", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"runner":"celery"' in done.stdout.replace(" ", ""), done.stdout
    for process in (kernel, *workers):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
