"""Reloads one after another, valid and invalid, while jobs fire: no fire is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_runs import rounds
from gnomon.deployment.reload import Reloaded
from gnomon.domain.kernel_health import Health
from gnomon.errors import ConfigError
from gnomon.orders.socket_channel import SocketChannel
from gnomon.orders.submitting import submit_extra
from gnomon_process import PATIENCE
from log_checker import check_log

JOBS = ("a", "b", "c", "d")
KEYS = ('every = "50ms"', 'every = "70ms"\noverlap = "queue"', 'every = "30ms"\ncatch_up = "all"', 'every = "1h"')
HEAD = '[kernel]\ndrain = "5s"\n[plugins.sqlite]\n'


def config(chance: random.Random) -> str:
    chosen = chance.sample(JOBS, chance.randrange(1, len(JOBS)))
    tables = [f'[[jobs]]\nid = "{job}"\nfunc = "storm_jobs:run"\n{chance.choice(KEYS)}\n' for job in chosen]
    return HEAD + "".join(tables)


def reload(log: Path) -> Reloaded:
    return asyncio.run(submit_extra(SocketChannel(log), "reload", Reloaded, limit_s=PATIENCE))


def until_idle(log: Path) -> None:
    """Wait until nothing runs or waits: a job may have fired faster than a busy machine could run it."""
    while True:
        health = asyncio.run(submit_extra(SocketChannel(log), "health", Health, limit_s=PATIENCE))
        if health.running == health.waiting == 0:
            return
        time.sleep(0.05)


@pytest.mark.timeout(1800)
def test_no_fire_is_lost_or_doubled_in_a_storm_of_reloads(start: Callable[..., Any], tmp_path: Path) -> None:
    chance, file = random.Random(12), tmp_path / "gnomon.toml"
    (tmp_path / "storm_jobs.py").write_text("async def run():\n    pass\n")
    file.write_text(config(chance))
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("next fire")

    for number in range(rounds(short=10, long=500)):
        file.write_text(config(chance))
        if number % 5 == 4:
            file.write_text(config(chance) + 'evry = "1s"\n')
            with pytest.raises(ConfigError, match="unknown key"):
                reload(tmp_path / "gnomon.db")
        elif number % 5 == 3:
            kernel.send(signal.SIGHUP)
            kernel.wait_for("reloaded")
        else:
            reload(tmp_path / "gnomon.db")

    file.write_text(HEAD + "".join(f'[[jobs]]\nid = "{job}"\nfunc = "storm_jobs:run"\nevery = "1h"\n' for job in JOBS))
    reload(tmp_path / "gnomon.db")
    until_idle(tmp_path / "gnomon.db")  # a run that waits in a queue at the stop would be left to the next kernel
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors
    check_log(tmp_path / "gnomon.db")
    command = [sys.executable, "-m", "gnomon.cli", "audit", "--json"]
    audit = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = json.loads(audit.stdout)
    assert report["is_proved"], [job["findings"] for job in report["jobs"]]
    assert sum(job["fires"] for job in report["jobs"]) > 0
