"""Jobs are added, changed, shown and removed from the command line, here and over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
Run = Callable[..., subprocess.CompletedProcess[str]]
Configure = Callable[..., Path]
JSON_LOG = ("--log-format", "json")


@pytest.fixture
def kernel(start: Start, configure: Configure) -> Any:
    configure(tick='every = "1h"')
    kernel = start("run", *JSON_LOG)
    kernel.wait_for("next fire")
    return kernel


def test_a_job_is_added_changed_shown_and_removed(gnomon: Run, kernel: Any, folder: Path) -> None:
    text = 'id = "nightly"\nfunc = "my_jobs:steps"\nat = 2099-01-01T00:00:00Z\nkwargs = { rows = 2 }\n'
    (folder / "job.toml").write_text(text, encoding="utf-8")

    preview = gnomon("jobs", "add", "job.toml", "--dry-run", "--json")
    assert json.loads(preview.stdout)["next_run_times"] == ["2099-01-01T00:00:00Z"]
    assert gnomon("jobs", "show", "nightly").returncode == 1

    added = gnomon("jobs", "add", "job.toml", "--owner", "tenant-7", "--reason", "new")
    assert added.stdout == "nightly is added (version 1)\n"
    assert "there is a job 'nightly' already" in gnomon("jobs", "add", "job.toml").stderr

    edited = gnomon("jobs", "edit", "nightly", "--set", "cron=0 3 * * *", "--set", "kwargs.rows=7")
    assert edited.stdout == "nightly is changed (version 2)\n"
    late = gnomon("jobs", "edit", "nightly", "--unset", "kwargs", "--expect-version", "1")
    assert (late.returncode, "has version 2, expected 1" in late.stderr) == (1, True)
    for option in ([], ["--dry-run"]):
        typo = gnomon("jobs", "edit", "nightly", "--unset", "timout", *option)
        assert (typo.returncode, "unknown key; did you mean 'timeout'?" in typo.stderr) == (2, True)

    shown = json.loads(gnomon("jobs", "show", "nightly", "--json").stdout)
    assert (shown["origin"], shown["owner"], shown["version"]) == ("api", "tenant-7", 2)
    assert shown["definition"].items() >= {"cron": "0 3 * * *", "kwargs": {"rows": 7}}.items()
    assert "at" not in shown["definition"]
    assert "kwargs = { rows = 7 }" in gnomon("jobs", "show", "nightly").stdout

    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0
    assert json.loads(gnomon("jobs", "show", "nightly", "--json").stdout)["version"] == 2


@pytest.mark.usefixtures("kernel")
def test_problems_of_a_job_are_all_printed_with_their_places(gnomon: Run) -> None:
    keys = ("--id", "x", "--func", "my_jobs:stesp", "--cron", "* *", "--set", "retry.attempts=two", "--set", "evry=1h")

    for more in ((), ("--dry-run",)):
        done = gnomon("jobs", "add", *keys, *more)
        lines = done.stderr.splitlines()
        assert done.returncode == 2
        assert {line.partition(": ")[0] for line in lines} == {"func", "cron", "retry.attempts", "evry"}
        assert any(line.endswith("did you mean 'steps'?") for line in lines)
    assert "no key" not in gnomon("jobs").stdout


@pytest.mark.usefixtures("kernel")
def test_a_job_of_the_config_names_its_file(gnomon: Run) -> None:
    for command in (("edit", "tick", "--set", "every=2h"), ("remove", "tick")):
        done = gnomon("jobs", *command)
        assert done.returncode == 1
        assert "gnomon.toml defines it" in done.stderr


@pytest.mark.usefixtures("kernel")
def test_a_trigger_says_before_that_it_resumes_a_paused_job(gnomon: Run) -> None:
    gnomon("pause", "tick", "--reason", "maintenance")
    kept = gnomon("trigger", "tick", "--keep-paused")
    resumed = gnomon("trigger", "tick")

    assert kept.stderr == ""
    assert "(maintenance), and this resumes its schedule; --keep-paused runs it once" in resumed.stderr
    assert "is now resumed" in resumed.stdout


def test_a_preview_needs_no_kernel(gnomon: Run, configure: Configure) -> None:
    configure(tick='every = "1h"')
    gnomon("exec", "tick")

    done = gnomon("jobs", "add", "--id", "x", "--func", "tick", "--every", "30m", "--dry-run", "--json")

    found = json.loads(done.stdout)
    assert (found["ok"], found["action"], found["schedule"]) == (True, "add", "every 30 minutes")
    assert "start one with `gnomon run`" in gnomon("jobs", "add", "--id", "x", "--func", "tick").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "--func", "a:b"), "the job has no id"),
        (("add", "nothing.toml"), "nothing.toml cannot be read"),
        (("add", "--id", "x", "--set", "kwargs"), "expected KEY=VALUE"),
        (("add", "--id", "x", "--set", "kwargs=1", "--set", "kwargs.a=1"), "kwargs is not a table"),
        (("edit", "x"), "nothing to change"),
    ],
)
def test_wrong_options_are_explained(gnomon: Run, configure: Configure, arguments: tuple[str, ...], said: str) -> None:
    configure(tick="")
    done = gnomon("jobs", *arguments)

    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.usefixtures("kernel")
def test_a_file_with_several_jobs_adds_all_of_them_or_none(gnomon: Run, folder: Path) -> None:
    table = '[[jobs]]\nid = "{}"\nfunc = "my_jobs:steps"\ncron = "{}"\n'
    (folder / "wrong.toml").write_text(table.format("a", "0 3 * * *") + table.format("b", "0 33 * * *"), "utf-8")
    (folder / "jobs.toml").write_text(table.format("a", "0 3 * * *") + table.format("b", "0 4 * * *"), "utf-8")

    for option in ([], ["--dry-run"]):
        refused = gnomon("jobs", "add", "wrong.toml", *option)
        assert (refused.returncode, refused.stderr.startswith("jobs[1].cron: ")) == (2, True)
    assert [job["id"] for job in json.loads(gnomon("jobs", "--json").stdout)] == ["tick"]

    assert gnomon("jobs", "add", "jobs.toml", "--owner", "me").stdout == (
        "a is added (version 1)\nb is added (version 1)\n"
    )
    assert [job["owner"] for job in json.loads(gnomon("jobs", "--json").stdout)] == ["me", "me", None]
    assert "keys and --replace are for a file with one job" in gnomon("jobs", "add", "jobs.toml", "--replace").stderr
