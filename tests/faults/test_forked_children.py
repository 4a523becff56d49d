"""Children that bodies fork: they outlive a killed kernel, and hold neither its log nor its socket."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fault_runs import rounds
from gnomon_process import PATIENCE
from log_checker import check_log

CONFIG = """
[plugins.sqlite]
[[jobs]]
id = "fork"
func = "fork_jobs:fork"
every = "1h"
[[jobs]]
id = "pool"
func = "fork_jobs:pool"
at_start = true
[[jobs]]
id = "others"
func = "fork_jobs:others"
at_start = true
"""
JOBS = """
import concurrent.futures
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

KEPT = []


def others():
    contexts = [multiprocessing.get_context(kind) for kind in ("forkserver", "spawn")]
    children = [context.Process(target=time.sleep, args=(600,)) for context in contexts]
    for child in children:
        child.start()
    children.append(subprocess.Popen(["sleep", "600"], close_fds=False))
    KEPT.extend(children)
    with Path("pids").open("a") as file:
        file.writelines(f"{child.pid}\\n" for child in children)


def fork():
    if (pid := os.fork()) == 0:
        time.sleep(600)
        os._exit(0)
    with Path("pids").open("a") as file:
        file.write(f"{pid}\\n")


def pool():
    context = multiprocessing.get_context("fork")
    executor = concurrent.futures.ProcessPoolExecutor(1, context)
    KEPT.append(executor)
    pid = executor.submit(os.getpid).result()
    executor.submit(time.sleep, 600)
    with Path("pids").open("a") as file:
        file.write(f"{pid}\\n")
"""


@pytest.fixture(autouse=True)
def orphans_are_killed(start: Callable[..., Any], tmp_path: Path) -> Iterator[None]:
    yield
    pids = (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.timeout(900)
def test_a_forked_child_does_not_hold_the_log_of_a_killed_kernel(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "fork_jobs.py").write_text(JOBS)
    (tmp_path / "gnomon.toml").write_text(CONFIG)
    for _ in range(rounds(short=2, long=20)):
        kernel = start("run", "--log-format", "json")
        assert {kernel.wait_for("succeeded")["job"] for _ in ("pool", "others")} == {"pool", "others"}
        trigger = start("trigger", "fork", "--follow")  # its connection is open while the body forks
        assert trigger.ends() == 0, trigger.errors
        kernel.send(signal.SIGKILL)
        kernel.process.wait(PATIENCE)  # not for the end of its output: the children hold that

    # The last kernel has no children, which would hold its output.
    (tmp_path / "gnomon.toml").write_text(CONFIG.replace("at_start = true", 'every = "1h"'))
    last = start("run", "--log-format", "json")
    last.wait_for("kernel started")
    last.send(signal.SIGTERM)

    assert last.ends() == 0, last.errors
    check_log(tmp_path / "gnomon.db")
