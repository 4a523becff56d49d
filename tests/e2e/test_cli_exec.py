from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]


def test_exec_prints_the_result_and_the_steps(configure: Configure, gnomon: Run) -> None:
    config = configure(steps="")

    done = gnomon("exec", str(config), "steps", "--kwargs", '{"rows": 7}')

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"rows": 7}
    assert "✔ success" in done.stderr
    assert "step: store" in done.stderr


def test_exec_records_the_run(configure: Configure, gnomon: Run) -> None:
    configure(tick='every = "1h"')

    gnomon("exec", "tick")

    (run,) = json.loads(gnomon("runs", "--json").stdout)["items"]
    assert (run["job_id"], run["status"], run["is_manual"]) == ("tick", "success", True)


def test_a_failed_exec_prints_the_traceback_and_is_not_retried(configure: Configure, gnomon: Run) -> None:
    configure(broken="retry = { attempts = 3 }")

    done = gnomon("exec", "broken")

    assert done.returncode == 1
    assert "✘ failed" in done.stderr
    assert "ValueError: no such table: prices" in done.stderr
    assert len(json.loads(gnomon("runs", "--json").stdout)["items"]) == 1


def test_output_of_a_body_is_not_mixed_with_the_result(configure: Configure, gnomon: Run) -> None:
    configure(talkative="")

    done = gnomon("exec", "talkative")

    assert done.stdout == "this is\n"
    assert "this is not the result" in done.stderr


def test_log_lines_of_a_body_are_stored_even_if_not_shown(configure: Configure, gnomon: Run, folder: Path) -> None:
    configure(logging_one="")

    done = gnomon("exec", "logging_one")

    with contextlib.closing(sqlite3.connect(folder / "gnomon.db")) as log:
        kept = b"".join(body for (body,) in log.execute("SELECT body FROM log_lines"))
    assert b"42 rows are new" in kept
    assert "42 rows are new" not in done.stderr


def test_ctrl_c_cancels_the_run(configure: Configure, start: Start, gnomon: Run) -> None:
    configure(until_cancelled="")
    run = start("exec", "until_cancelled", "--json")
    while not json.loads(gnomon("jobs", "--json").stdout)[0]["running"]:
        assert run.process.poll() is None
    run.send(signal.SIGINT)

    code = run.ends()

    assert code == 130, run.errors
    assert json.loads(run.process.stdout.read())["status"] == "cancelled"


def test_exec_beside_a_running_kernel_is_not_recorded(configure: Configure, start: Start, gnomon: Run) -> None:
    configure(tick='every = "1h"')
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("kernel started")

    done = gnomon("exec", "tick")

    assert (done.returncode, done.stdout) == (0, "tock\n")
    assert "this run is not recorded" in done.stderr
    assert f"process {kernel.process.pid}" in done.stderr
    assert json.loads(gnomon("runs", "--json").stdout)["items"] == []


def test_exec_leaves_accepted_runs_to_the_next_kernel(configure: Configure, start: Start, gnomon: Run) -> None:
    configure(broken='every = "100ms"\nretry = { attempts = 2, delay = "1h" }\noverlap = "allow"', tick="")
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("scheduled", job="broken", attempt=2)
    kernel.send(signal.SIGTERM)
    kernel.ends()
    waiting = ["runs", "--json", "--status", "scheduled", "--limit", "1000"]
    before = json.loads(gnomon(*waiting).stdout)["items"]

    done = gnomon("exec", "tick")

    assert done.returncode == 0, done.stderr
    assert before
    assert json.loads(gnomon(*waiting).stdout)["items"] == before


def test_exec_of_an_unknown_job_suggests_a_similar_one(configure: Configure, gnomon: Run) -> None:
    configure(tick="")

    done = gnomon("exec", "tik")

    assert done.returncode == 1
    assert "did you mean 'tick'?" in done.stderr


def test_arguments_that_are_not_json_are_refused(configure: Configure, gnomon: Run) -> None:
    configure(tick="")

    done = gnomon("exec", "tick", "--kwargs", "{rows: 7}")

    assert done.returncode == 2
    assert "not valid JSON" in done.stderr
