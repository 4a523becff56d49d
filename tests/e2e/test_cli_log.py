"""`gnomon log`: a log moves to another store while its kernel runs, and is led in one place only."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

JSON_LOG = ("--log-format", "json")


def test_a_log_moves_while_its_kernel_runs_and_goes_on_in_the_other_store(
    start: Callable[..., Any], gnomon: Callable[..., Any], configure: Callable[..., Path], folder: Path
) -> None:
    config = configure(tick='every = "100ms"', counts='every = "1s"')
    new = ("--config", "new.toml")
    (folder / "new.toml").write_text(config.read_text().replace("gnomon.db", "moved/new.db"))
    (folder / "moved").mkdir()
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("succeeded", job="counts")

    first = json.loads(gnomon("log", "export", "log.jsonl", "--json").stdout)
    arrived = gnomon("log", "import", "log.jsonl", *new)
    assert (first["is_final"], arrived.returncode) == (False, 0), arrived.stderr
    assert f"up to event {first['position']:,}" in arrived.stdout
    assert "it is not complete" in arrived.stderr
    too_early = gnomon("run", *new)
    assert (too_early.returncode, "is not complete" in too_early.stderr) == (2, True)
    checked = json.loads(gnomon("check", "--connect", "--json", *new).stdout)
    assert (checked["ok"], "is not complete" in checked["problems"][0]) == (False, True), checked
    in_use = gnomon("log", "export", "log.jsonl", "--final")
    assert in_use.returncode == 1
    kernel.wait_for("succeeded", job="tick")
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors
    rest = gnomon("log", "export", "log.jsonl", "--final")
    assert (rest.returncode, "the log is closed here" in rest.stderr) == (0, True), rest.stderr
    refused = gnomon("run")
    assert (refused.returncode, "this log was moved" in refused.stderr) == (2, True)
    checked = json.loads(gnomon("check", "--connect", "--json").stdout)
    assert (checked["ok"], "this log was moved" in checked["problems"][0]) == (False, True), checked
    complete = gnomon("log", "import", "log.jsonl", *new)
    assert (complete.returncode, "it is complete" in complete.stderr) == (0, True), complete.stderr
    assert json.loads(gnomon("check", "--connect", "--json", *new).stdout)["problems"] == []

    kernel = start("run", *JSON_LOG, *new)
    kernel.wait_for("succeeded", job="counts")
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0, kernel.errors

    audit = json.loads(gnomon("audit", "--json", *new).stdout)
    assert audit["is_proved"]
    assert {job["job_id"] for job in audit["jobs"]} == {"tick", "counts"}
    run = json.loads(gnomon("runs", "--job", "counts", "--json", "--limit", "1000", *new).stdout)["items"][-1]["id"]
    assert "  info      5\n" in gnomon("runs", "logs", run, *new).stdout
    assert "is closed" not in gnomon("log", "reopen", *new).stdout


def test_an_export_that_would_overwrite_a_file_of_something_else_is_refused(
    gnomon: Callable[..., Any], configure: Callable[..., Path], folder: Path
) -> None:
    configure(tick='every = "1h"')
    assert gnomon("exec", "tick").returncode == 0
    (folder / "notes.txt").write_text("my notes\n")

    refused = gnomon("log", "export", "notes.txt")
    missing = gnomon("log", "import", "nothing.jsonl", "--config", "gnomon.toml")

    assert (refused.returncode, (folder / "notes.txt").read_text()) == (1, "my notes\n")
    assert "line 1 of" in refused.stderr
    assert (missing.returncode, "cannot be read: No such file" in missing.stderr) == (1, True), missing.stderr
