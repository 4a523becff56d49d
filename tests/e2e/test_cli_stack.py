"""`gnomon runs stack`: where a running body is in its code, over the orders of a log."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from gnomon import BackgroundKernel, Job
from gnomon_sqlite import SqliteStore

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_stack_of_a_running_body_is_printed_as_a_traceback(folder: Path, gnomon: Run) -> None:
    (folder / "gnomon.toml").write_text("[plugins.sqlite]\n")
    begun, go = threading.Event(), threading.Event()

    def dig(depth: int = 150) -> None:
        if depth:
            dig(depth - 1)
        else:
            begun.set()
            go.wait()  # here

    jobs = [Job(id="dig", func=dig)]
    with BackgroundKernel(store=SqliteStore(folder / "gnomon.db"), jobs=jobs, drain=timedelta(0)) as kernel:
        run = kernel.trigger("dig").execution.id
        assert begun.wait(60)
        shown = gnomon("runs", "stack", run[:10])
        found = json.loads(gnomon("runs", "stack", run, "--json").stdout)
        go.set()
        kernel.wait(run)
        over = gnomon("runs", "stack", run)

    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == "the body (most recent call last):"
    assert "    go.wait()  # here" in lines
    assert [line for line in lines if "left out" in line] == [f"  … {found['stacks'][0]['left_out']} calls left out …"]
    assert re.search(r"CPU \d+ ms since its start, process \d+ \(.*shared with other runs\), runner thread", lines[-1])
    assert len(found["stacks"][0]["frames"]) == 100
    assert (over.returncode, over.stdout) == (1, "")
    assert f"execution {run} has already ended (success)" in over.stderr
