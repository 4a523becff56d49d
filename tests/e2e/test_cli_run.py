from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.kernel import Kernel

Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
AWAY = """
import asyncio
import logging

from gnomon import hookimpl
from gnomon.stores.memory import MemoryStore


class Away(MemoryStore):
    async def open(self, *, read_only=False):
        logging.getLogger("away").warning("the store is away")
        await asyncio.sleep(600)


@hookimpl
def register_store(register):
    register(Away())
"""
JSON_LOG = ("--log-format", "json", "--log-level", "debug")


def runs(gnomon: Run, *filters: str) -> list[dict[str, Any]]:
    done = gnomon("runs", "--json", "--limit", "1000", *filters)
    assert done.returncode == 0, done.stderr
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def test_the_built_in_example_runs_in_an_empty_folder_and_stops_cleanly(start: Start, gnomon: Run) -> None:
    kernel = start("run", *JSON_LOG, GNOMON__JOBS__DISK_USAGE__EVERY="200ms")
    said = kernel.wait_for("succeeded", job="disk_usage")
    kernel.send(signal.SIGTERM)

    code = kernel.ends()

    assert code == 0, kernel.errors
    (run,) = [run for run in runs(gnomon) if run["id"] == said["run"]]
    assert run["status"] == "success"


def test_the_start_logs_config_store_and_next_fires(start: Start, configure: Configure) -> None:
    path = configure(tick='every = "1h"')
    kernel = start("run", *JSON_LOG)

    starting, started, due = (kernel.wait_for(what) for what in ("starting", "kernel started", "next fire"))

    assert (starting["config"], starting["jobs"]) == (path.name, 1)
    assert started["store"] == "sqlite"
    assert (due["job"], due["schedule"]) == ("tick", "every hour")


def test_a_log_line_of_a_body_names_its_job_and_run(start: Start, configure: Configure) -> None:
    configure(logging_one='every = "100ms"')
    kernel = start("run", *JSON_LOG)

    line = kernel.wait_for("42 rows are new")

    assert line["job"] == "logging_one"
    assert kernel.wait_for("succeeded", run=line["run"])


def test_a_stop_waits_for_running_bodies_and_logs_them(start: Start, configure: Configure, gnomon: Run) -> None:
    configure('drain = "300ms"', until_cancelled='every = "100ms"')
    kernel = start("run", *JSON_LOG)
    run = kernel.wait_for("started")["run"]
    kernel.send(signal.SIGINT)

    kernel.wait_for("waiting for", job="until_cancelled", run=run)

    assert kernel.ends() == 0
    assert {one["id"]: one["status"] for one in runs(gnomon)}[run] == "cancelled"


def test_a_body_that_never_ends_does_not_keep_the_kernel_from_stopping(
    start: Start, configure: Configure, gnomon: Run
) -> None:
    configure('drain = "100ms"', slow='every = "100ms"\ncancel_grace = "100ms"')
    kernel = start("run", *JSON_LOG)
    run = kernel.wait_for("started")["run"]
    kernel.send(signal.SIGTERM)

    code = kernel.ends()

    assert code == 0, kernel.errors
    (record,) = [one for one in runs(gnomon) if one["id"] == run]
    assert (record["status"], record["reason"]) == ("failed", "lost")


def test_a_second_signal_exits_at_once_and_records_lost_runs(start: Start, configure: Configure, gnomon: Run) -> None:
    configure('drain = "10m"', slow='every = "100ms"')
    kernel = start("run", *JSON_LOG)
    run = kernel.wait_for("started")["run"]
    kernel.send(signal.SIGTERM)
    kernel.wait_for("waiting for")
    kernel.send(signal.SIGTERM)

    code = kernel.ends()

    assert code == 128 + signal.SIGTERM
    (record,) = [one for one in runs(gnomon) if one["id"] == run]
    assert (record["status"], record["reason"]) == ("failed", "lost")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start_that_waits_for_its_store(start: Start, folder: Path, number: signal.Signals) -> None:
    (folder / "away.py").write_text(AWAY)
    (folder / "gnomon.toml").write_text('[plugins]\npaths = ["away.py"]\n')
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("the store is away")
    kernel.send(number)

    kernel.wait_for("stopped", reason="a signal arrived before the kernel had started")

    assert kernel.ends() == 0, kernel.errors
    assert "Traceback" not in kernel.errors


def test_a_plugin_that_cannot_start_is_reported_without_a_traceback(configure: Configure, gnomon: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = configure()
        path.write_text(f"{path.read_text()}[plugins.web]\nport = {port}\n")

        refused = gnomon("run", "--log-level", "error")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"gnomon: plugin 'web' could not start: cannot listen on 127.0.0.1 port {port}: address already in use; "
        "stop the process that uses it (`ss -ltnp` shows it), or set another `port`\n"
    )


def test_a_kernel_runs_with_all_its_streams_closed(folder: Path, configure: Configure, environment: Any) -> None:
    configure(tick="")
    command = [sys.executable, "-m", "gnomon.cli", "run"]
    script = f"exec {shlex.join(command)} <&- >&- 2>&-"
    process = subprocess.Popen(["sh", "-c", script], cwd=folder, env=environment)
    try:
        until = time.monotonic() + 90
        while not (folder / "gnomon.db.sock").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()


def test_a_second_kernel_on_the_same_log_is_refused_and_names_the_first(
    start: Start, configure: Configure, gnomon: Run
) -> None:
    configure(tick='every = "100ms"')
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("kernel started")

    refused = gnomon("run", "--log-level", "error")

    assert refused.returncode == 1
    assert f"process {kernel.process.pid}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_reading_commands_work_beside_a_running_kernel(start: Start, configure: Configure, gnomon: Run) -> None:
    configure(tick='every = "100ms"', slow='every = "100ms"')
    kernel = start("run", *JSON_LOG)
    run = kernel.wait_for("started", job="slow")["run"]
    kernel.wait_for("succeeded", job="tick")

    jobs = {job["id"]: job for job in json.loads(gnomon("jobs", "--json").stdout)}
    shown = gnomon("runs", "show", run[:14])
    due = gnomon("next", "tick", "-n", "3")

    assert jobs["slow"]["running"] == [run]
    assert jobs["tick"]["state"] == "active"
    assert "▶ running" in shown.stdout
    assert len(due.stdout.splitlines()) == 3
    assert kernel.process.poll() is None


@pytest.mark.parametrize("command", [["run"], ["check"], ["exec", "tick"], ["jobs"], ["plugins"]])
def test_problems_of_the_config_are_printed_one_per_line_and_exit_with_2(
    command: list[str], folder: Path, gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text('[kernel]\ndrain = "soon"\nmax_runing = 5\n')

    done = gnomon(*command)

    assert done.returncode == 2
    assert "max_running" in done.stderr
    assert "kernel.drain: expected a duration" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_deposed_kernel_exits_with_1(start: Start, configure: Configure, folder: Path) -> None:
    configure(tick='every = "100ms"')
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("succeeded")
    with contextlib.closing(sqlite3.connect(folder / "gnomon.db", timeout=30)) as log, log:
        log.execute(
            "INSERT INTO commits "
            "SELECT max(last) + 1, max(last) + 1, latest, latest, setback, '[0]', '[null]', 0 FROM commits"
        )

    code = kernel.ends()

    assert code == 1, kernel.errors
    assert "gnomon: the kernel stops: the log already has" in kernel.errors
    assert "Traceback" not in kernel.errors


async def pause(folder: Path, job_id: str) -> None:
    deployment = assemble(load_config(folder / "gnomon.toml", {}))
    async with Kernel(store=deployment.store, jobs=deployment.jobs) as kernel:
        await kernel.pause(job_id, actor="ana", reason="month end")


async def test_a_kill_loses_nothing_that_was_acknowledged(
    start: Start, configure: Configure, gnomon: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    configure(steps='every = "10m"')
    await pause(folder, "steps")
    configure(steps='every = "10m"', tick='every = "200ms"', slow='every = "300ms"')
    kernel = start("run", *JSON_LOG)
    going = kernel.wait_for("started", job="slow")["run"]
    kernel.wait_for("succeeded", job="tick")
    kernel.wait_for("succeeded", job="tick")
    acknowledged = {run["id"]: run for run in runs(gnomon)}
    kernel.send(signal.SIGKILL)
    assert kernel.ends() == -signal.SIGKILL
    time.sleep(1)  # the down-time itself

    again = start("run", *JSON_LOG)
    again.wait_for("failed", job="slow", run=going, reason="lost")
    again.wait_for("missed", job="tick", reason="downtime")
    again.wait_for("succeeded", job="tick")
    paused = {job["id"]: job for job in json.loads(gnomon("jobs", "--json").stdout)}["steps"]
    again.send(signal.SIGTERM)
    again.wait_for("stopping")
    again.send(signal.SIGTERM)  # a second one: `slow` was started again, and would be waited for
    again.ends()

    records = {run["id"]: run for run in runs(gnomon)}
    assert records[going]["status"] == "failed"
    assert (paused["state"], paused["paused_by"]) == ("paused", "ana")
    ended = {i: run for i, run in acknowledged.items() if run["status"] not in {"running", "scheduled"}}
    assert ended
    assert {i: records[i] for i in ended} == ended
    assert_every_fire_has_one_outcome([run for run in records.values() if run["job_id"] == "tick"])


def assert_every_fire_has_one_outcome(ticks: list[dict[str, Any]]) -> None:
    spans = sorted((datetime.fromisoformat(t["first"] or t["scheduled_time"]), t["count"]) for t in ticks)
    interval = timedelta(milliseconds=200)
    for (first, count), (following, _) in itertools.pairwise(spans):
        assert following == first + count * interval


@pytest.mark.parametrize("change", ["delete", "replace"])
def test_a_kernel_whose_log_is_gone_exits_with_1(start: Start, configure: Configure, folder: Path, change: str) -> None:
    configure(tick='every = "1h"')
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("next fire")
    log = folder / "gnomon.db"
    if change == "replace":
        (folder / "copy.db").write_bytes(log.read_bytes())
        (folder / "copy.db").replace(log)
    else:
        log.unlink()

    code = kernel.ends()

    assert code == 1, kernel.errors
    assert f"the log {log} was " in kernel.errors
    assert "Traceback" not in kernel.errors
