"""Commands that control a kernel in another process."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
JSON_LOG = ("--log-format", "json", "--log-level", "debug")


@pytest.fixture
def kernel(start: Start, configure: Configure) -> Any:
    configure(until_cancelled="", steps="", tick='every = "1h"')
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("next fire")
    return kernel


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.usefixtures("kernel")
def test_a_job_is_triggered_with_arguments(gnomon: Run, kernel: Any) -> None:
    triggered = answer(gnomon("trigger", "steps", "--kwargs", '{"rows": 7}', "--json"))

    ended = kernel.wait_for("succeeded", run=triggered["execution"]["id"])

    shown = answer(gnomon("runs", "show", ended["run"], "--json"))
    assert shown["return_value"] == {"rows": 7}
    assert shown["is_manual"] is True


def test_runs_are_listed_by_the_labels_of_their_triggers(gnomon: Run, kernel: Any) -> None:
    wanted = answer(gnomon("trigger", "steps", "--label", "tenant=7", "--label", "team:data", "--json"))["execution"]
    other = answer(gnomon("trigger", "steps", "--label", "tenant=8", "--json"))["execution"]
    for run in (wanted["id"], other["id"]):
        kernel.wait_for("succeeded", run=run)

    listed = answer(gnomon("runs", "--label", "tenant=7", "--label", "team=data", "--json"))
    refused = gnomon("runs", "--label", "tenant")

    assert wanted["labels"] == {"tenant": "7", "team": "data"}
    assert ([item["id"] for item in listed["items"]], listed["total"]) == ([wanted["id"]], 1)
    assert (refused.returncode, 'expected a label such as "tenant:7"' in refused.stderr) == (2, True)


def test_a_run_is_cancelled(gnomon: Run, kernel: Any) -> None:
    run = answer(gnomon("trigger", "until_cancelled", "--json"))["execution"]["id"]
    kernel.wait_for("started", run=run)

    said = gnomon("cancel", run, "--reason", "no need")

    # The body stops within 10 ms: it may have done so when the answer comes.
    outcome = said.stdout.strip().removeprefix(f"{run} of until_cancelled")
    assert outcome in {": cancellation requested", " is cancelled"}
    kernel.wait_for("cancelled", run=run)
    again = gnomon("cancel", run)
    assert again.returncode == 1
    assert "has already ended (cancelled)" in again.stderr


def test_the_beginning_of_an_id_names_the_run_to_cancel(gnomon: Run, kernel: Any) -> None:
    run = answer(gnomon("trigger", "until_cancelled", "--json"))["execution"]["id"]

    assert f"{run} of until_cancelled" in gnomon("cancel", run[:12]).stdout
    kernel.wait_for("cancelled", run=run)
    assert "there is no execution 'abc'" in gnomon("cancel", "abc").stderr


@pytest.mark.usefixtures("kernel")
def test_a_job_is_paused_with_a_reason_and_resumed(gnomon: Run) -> None:
    assert gnomon("pause", "tick", "--reason", "maintenance").stdout.strip() == "tick is paused"
    assert gnomon("pause", "tick").stdout.strip() == "tick was already paused"
    assert "paused" in gnomon("jobs").stdout
    assert gnomon("resume", "tick").stdout.strip() == "tick is resumed"


@pytest.mark.usefixtures("kernel")
def test_the_history_lists_acts_newest_first(gnomon: Run) -> None:
    assert gnomon("history").stdout == "No actions yet.\n"
    gnomon("pause", "tick", "--reason", "maintenance")
    run = answer(gnomon("trigger", "steps", "--json"))["execution"]["id"]
    gnomon("resume", "tick")

    found = answer(gnomon("history", "--json", "--limit", "2"))

    assert [(one["action"], one["job_id"], one["execution_id"]) for one in found["items"]] == [
        ("resume", "tick", None),
        ("trigger", "steps", run),
    ]
    assert found["total"] == 3
    of_one = gnomon("history", "tick").stdout
    assert "pause" in of_one
    assert "maintenance" in of_one
    assert "trigger" not in of_one
    filters = ("--actor", found["items"][0]["actor"], "--status", "success", "--action", "pause", "--since", "1h")
    assert answer(gnomon("history", *filters, "--json"))["total"] == 1
    assert answer(gnomon("history", "--status", "failed", "--json"))["total"] == 0


@pytest.mark.usefixtures("kernel")
def test_an_unknown_job_is_refused_with_a_close_match(gnomon: Run) -> None:
    done = gnomon("trigger", "tikc")

    assert done.returncode == 1
    assert "there is no job 'tikc'; did you mean 'tick'" in done.stderr


def test_commands_without_a_kernel_fail_with_a_plain_message(gnomon: Run, configure: Configure) -> None:
    configure(tick='every = "1h"')

    done = gnomon("trigger", "tick")

    assert done.returncode == 1
    assert "no kernel leads this log" in done.stderr


@pytest.mark.usefixtures("kernel")
def test_a_reload_replaces_the_jobs(gnomon: Run, configure: Configure) -> None:
    configure(tick='every = "2h"', slow="")

    changes = answer(gnomon("reload", "--json"))

    assert changes == {
        "added": ["slow"],
        "changed": {"tick": {"every": "2h"}},
        "removed": ["steps", "until_cancelled"],
        "needs_restart": [],
    }
    assert {job["id"] for job in answer(gnomon("jobs", "--json"))} == {"slow", "tick"}


@pytest.mark.usefixtures("kernel")
def test_a_reload_of_an_invalid_config_changes_nothing(gnomon: Run, configure: Configure) -> None:
    configure(tick='every = "2h"\ncronn = "1"', slow='cron = "99 * * * *"')

    done = gnomon("reload")

    assert done.returncode == 2
    assert "cronn" in done.stderr
    assert "99" in done.stderr
    assert gnomon("trigger", "steps").returncode == 0


def test_jobs_of_plugins_run_after_reloads(gnomon: Run, configure: Configure, start: Start) -> None:
    config = configure()
    plugins = config.read_text(encoding="utf-8") + 'retention = "30d"\n[plugins.reaper]\n'
    config.write_text(plugins, encoding="utf-8")
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("next fire")
    config.write_text(f'{plugins}[[jobs]]\nid = "own.check"\nfunc = "gnomon.reaper"\nevery = "2h"\n', encoding="utf-8")

    assert answer(gnomon("reload", "--json"))["added"] == ["own.check"]
    kernel.send(signal.SIGHUP)
    kernel.wait_for("reloaded", added=[])

    for job_id in ("gnomon.reaper", "sqlite.retention", "own.check"):
        run = answer(gnomon("trigger", job_id, "--json"))["execution"]["id"]
        kernel.wait_for("succeeded", run=run)


def test_sighup_reloads_too(configure: Configure, kernel: Any) -> None:
    configure(tick='every = "1h"', slow="")

    kernel.send(signal.SIGHUP)

    assert kernel.wait_for("reloaded")["added"] == ["slow"]


def test_an_invalid_config_at_sighup_is_logged_and_changes_nothing(
    gnomon: Run, configure: Configure, kernel: Any
) -> None:
    configure(tick='every = "often"')

    kernel.send(signal.SIGHUP)

    assert "often" in kernel.wait_for("reload refused, nothing has changed")["problem"]
    assert gnomon("trigger", "steps").returncode == 0


@pytest.mark.usefixtures("kernel")
def test_a_fire_is_skipped_and_the_skip_is_withdrawn(gnomon: Run) -> None:
    skipped = answer(gnomon("skip", "tick", "--reason", "disk full", "--json"))
    assert skipped["job_id"] == "tick"
    assert answer(gnomon("next", "tick", "--json"))["next_fires"][0] > skipped["scheduled_time"]
    assert "runs after all" in gnomon("skip", "tick", skipped["scheduled_time"], "--undo").stdout
    assert answer(gnomon("next", "tick", "-n", "1", "--json"))["next_fires"] != []
    assert "has no fire to come at" in gnomon("skip", "tick", "2020-01-01").stderr
    assert "expected a time" in gnomon("skip", "tick", "soon").stderr


def test_all_jobs_are_held_also_by_the_next_kernel_and_released(gnomon: Run, kernel: Any, start: Start) -> None:
    assert gnomon("hold", "--reason", "migration").stdout.startswith("all jobs are held")
    assert gnomon("hold").stdout.strip() == "all jobs were already held"
    kernel.process.send_signal(signal.SIGKILL)
    kernel.process.wait()

    again = start("run", *JSON_LOG)
    again.wait_for("kernel started")

    assert "migration" in gnomon("history").stdout
    assert gnomon("release").stdout.strip() == "all jobs are released"
    assert gnomon("release").stdout.strip() == "the jobs were not held"


@pytest.mark.usefixtures("kernel")
def test_many_jobs_and_runs_are_named_by_what_they_have_in_common(gnomon: Run, kernel: Any) -> None:
    assert gnomon("pause", "-q", "tick").stdout.strip() == "tick: paused"
    assert gnomon("resume", "-q", "tick").stdout.strip() == "tick: resumed"
    nothing = gnomon("pause", "--tag", "nosuch")
    assert (nothing.returncode, nothing.stderr.strip()) == (1, "nothing matches")
    assert "give either a JOB, or --tag or -q" in gnomon("pause").stderr
    run = answer(gnomon("trigger", "until_cancelled", "--json"))["execution"]["id"]
    kernel.wait_for("started", run=run)
    assert gnomon("cancel", "--job", "until_cancelled").stdout.strip() == f"{run}: cancellation requested"
    kernel.wait_for("cancelled", run=run)


@pytest.mark.usefixtures("kernel")
def test_a_backfill_is_ordered_and_stopped(gnomon: Run) -> None:
    begun = gnomon("backfill", "tick", "--from", "2026-01-01T00:00", "--to", "2026-01-01T05:30", "--limit", "1/h")
    assert begun.stdout.strip().startswith("tick: the backfill of ")
    assert "is not over" in gnomon("backfill", "tick", "--from", "2026-01-01", "--to", "2026-01-02").stderr
    assert gnomon("backfill", "tick", "--stop").stdout.strip() == "tick: the backfill is stopped"
    assert gnomon("backfill", "tick", "--stop").stdout.strip() == "tick has no backfill"
    assert "give --from and --to, or --stop" in gnomon("backfill", "tick", "--from", "2026-01-01").stderr


@pytest.mark.usefixtures("kernel")
def test_a_command_reaches_the_kernel_of_the_log_with_another_config(folder: Path, gnomon: Run) -> None:
    (folder / "operator.toml").write_text('[plugins.sqlite]\npath = "gnomon.db"\n', encoding="utf-8")

    paused = gnomon("--config", "operator.toml", "pause", "tick", "--reason", "maintenance")
    reloaded = gnomon("--config", "operator.toml", "reload")

    assert paused.returncode == 0, paused.stderr
    assert (reloaded.returncode, reloaded.stdout) == (0, "nothing has changed\n")  # the leader reads its config
    assert answer(gnomon("status", "--json"))["state"] == "healthy"


def test_a_kernel_with_its_log_in_memory_receives_commands_beside_its_config(
    folder: Path, start: Start, gnomon: Run
) -> None:
    (folder / "gnomon.toml").write_text(
        '[plugins.memory]\n[[jobs]]\nid = "tick"\nfunc = "time:time"\nevery = "1h"\n', encoding="utf-8"
    )
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("next fire")

    held = gnomon("hold", "--reason", "maintenance")

    assert held.returncode == 0, held.stderr
    assert "maintenance" in json.loads(gnomon("status", "--json").stdout)["problem"]
    assert gnomon("reload").stdout == "nothing has changed\n"
    assert (folder / "gnomon.sock").is_socket()
