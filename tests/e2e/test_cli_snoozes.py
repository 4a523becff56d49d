"""Runs that snooze, across a SIGKILL and on the command line; triggers that join a waiting run."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
EVERY_HOUR = 'every = "1h"'
JSON_LOG = ("--log-format", "json", "--log-level", "debug")


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_snoozed_run_survives_a_kill(start: Start, gnomon: Run, configure: Configure) -> None:
    configure(naps='kwargs = { delay = "2s" }', tick=EVERY_HOUR)
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("next fire")
    run = answer(gnomon("trigger", "naps", "--json"))["execution"]["id"]
    first = kernel.wait_for("snoozed", run=run)
    kernel.send(signal.SIGKILL)
    kernel.ends()

    again = start("run", *JSON_LOG)
    second = again.wait_for("snoozed", run=first["next"])
    again.wait_for("succeeded", run=second["next"])

    listed = answer(gnomon("runs", "--json"))["items"]
    assert [(one["status"], one["snoozes"]) for one in listed] == [("success", 2), ("cancelled", 1), ("cancelled", 0)]
    assert [one["snoozed_to"] for one in listed] == [None, listed[0]["id"], listed[1]["id"]]
    assert "snoozed" in gnomon("runs").stdout
    assert gnomon("audit").returncode == 0


def test_follow_and_exec_wait_for_the_run_that_ends_it_all(start: Start, gnomon: Run, configure: Configure) -> None:
    config = configure(naps='debounce = "1h"')

    alone = gnomon("exec", str(config), "naps")
    configure(naps="", tick=EVERY_HOUR)
    start("run", *JSON_LOG).wait_for("next fire")
    followed = gnomon("trigger", "naps", "--follow")

    for done in (alone, followed):
        assert done.returncode == 0, done.stderr
        assert done.stdout == "2\n"
        assert done.stderr.count("is snoozed for 100ms: not ready; waiting for run") == 2
        assert "✔ success" in done.stderr


def test_the_command_line_says_which_run_a_trigger_has_joined(start: Start, gnomon: Run, configure: Configure) -> None:
    configure(tick=f'{EVERY_HOUR}\ndebounce = "1h"')
    start("run", *JSON_LOG).wait_for("next fire")

    first = answer(gnomon("trigger", "tick", "--json"))
    said = gnomon("trigger", "tick")
    second = answer(gnomon("trigger", "tick", "--json"))

    run = first["execution"]["id"]
    assert (first["joined"], first["is_new"], second["joined"], second["is_new"]) == (False, True, True, False)
    assert second["execution"]["id"] == run
    assert said.stdout.startswith(f"tick {run} is scheduled until ")
    assert "joins" in said.stdout
