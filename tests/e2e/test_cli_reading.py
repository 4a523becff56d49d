from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]


@pytest.mark.parametrize("command", [["jobs"], ["runs"], ["next", "tick"]])
def test_before_the_first_run_a_hint_says_how_to_start(command: list[str], configure: Configure, gnomon: Run) -> None:
    path = configure(tick='every = "10m"')

    done = gnomon(*command)

    assert done.returncode == 0
    assert "nothing has run yet; start a kernel with `gnomon run`" in done.stderr
    assert not path.with_name("gnomon.db").exists()


def test_before_the_first_run_json_lists_are_empty(configure: Configure, gnomon: Run) -> None:
    configure(tick='every = "10m"')

    assert json.loads(gnomon("runs", "--json").stdout) == {"items": [], "total": 0, "next": None}
    assert [job["state"] for job in json.loads(gnomon("jobs", "--json").stdout)] == ["new"]


def test_runs_are_listed_by_a_query(configure: Configure, gnomon: Run) -> None:
    configure(tick='every = "10m"', counts='every = "10m"')
    for job_id in ("tick", "counts"):
        assert gnomon("exec", job_id).returncode == 0

    found = json.loads(gnomon("runs", "--query", "job:ti* status:success since:-1d", "--json").stdout)
    others = json.loads(gnomon("runs", "--query", "job:c* duration<1m", "--json").stdout)
    wrong = gnomon("runs", "--query", "statsu:failed")

    assert [[run["job_id"] for run in page["items"]] for page in (found, others)] == [["tick"], ["counts"]]
    assert wrong.returncode == 2
    assert "at character 1: there is no key 'statsu'; did you mean" in " ".join(wrong.stderr.split())


@pytest.mark.parametrize("way", ["argument", "option", "global option", "variable"])
def test_a_config_is_found_by_option_variable_and_folder(way: str, configure: Configure, gnomon: Run) -> None:
    path = configure(tick='every = "10m"')
    path = path.rename(path.with_name("elsewhere.toml"))
    arguments, variables = {
        "argument": (["check", str(path), "--json"], {}),
        "option": (["check", "--config", str(path), "--json"], {}),
        "global option": (["--config", str(path), "check", "--json"], {}),
        "variable": (["check", "--json"], {"GNOMON_CONFIG": str(path)}),
    }[way]

    done = gnomon(*arguments, **variables)

    assert [job["id"] for job in json.loads(done.stdout)["jobs"]] == ["tick"]


def test_two_different_configs_are_refused(configure: Configure, gnomon: Run) -> None:
    configure(tick="")

    done = gnomon("--config", "other.toml", "check", "gnomon.toml")

    assert done.returncode == 2
    assert "expected one config file" in done.stderr


def test_check_shows_the_schedule_in_words_and_the_next_fires(configure: Configure, gnomon: Run) -> None:
    configure('timezone = "Asia/Shanghai"', tick='cron = "0 18 * * 1-5"\noverlap = "queue"')

    done = gnomon("check", COLUMNS="80")

    assert done.returncode == 0
    assert done.stdout.count(" 18:00 +08") == 5
    assert "At 18:00 on Monday" in done.stdout
    assert "overlap = queue" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_check_shows_a_time_that_is_past(configure: Configure, gnomon: Run) -> None:
    configure(tick="at = 2020-01-01T09:00:00Z")

    done = gnomon("check")

    assert done.returncode == 0
    assert "2020-01-01 09:00 UTC (past)" in done.stdout


def test_check_prints_the_problems_as_json(configure: Configure, gnomon: Run) -> None:
    configure(tick='cron = "0 25 * * *"', tock="")

    done = gnomon("check", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 2
    assert not found["ok"]
    assert any(problem.startswith("jobs[0 'tick'].cron") for problem in found["problems"])
    assert any("my_jobs has no 'tock'; did you mean 'tick'?" in problem for problem in found["problems"])


def test_check_connect_tests_the_servers_and_changes_nothing(configure: Configure, gnomon: Run) -> None:
    path = configure(tick='every = "10m"')

    done = gnomon("check", "--connect")

    assert done.returncode == 0
    assert "sqlite    ✔ ok" in done.stdout
    assert "does not exist yet: the first start creates it" in " ".join(done.stdout.split())
    assert not path.with_name("gnomon.db").exists()


def test_check_connect_exits_with_1_when_a_server_is_unreachable(configure: Configure, gnomon: Run) -> None:
    configure(tick='every = "10m"').with_name("gnomon.db").write_text("these are my notes, and no database at all")

    done, told = gnomon("check", "--connect"), json.loads(gnomon("check", "--connect", "--json").stdout)

    assert done.returncode == 1
    assert "sqlite    ✘ problem" in done.stdout
    assert "1 job, 1 problem" in done.stderr
    assert not told["ok"]
    assert told["problems"] == [f"sqlite: {told['connections'][0]['message']}"]
    assert "not a SQLite database" in told["problems"][0]
    assert gnomon("check").returncode == 0


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: os.truncate(path, 0)], ids=["deleted", "emptied"])
@pytest.mark.parametrize("command", [["runs"], ["audit"], ["explain", "tick"]], ids=lambda command: command[0])
def test_a_log_that_ends_before_its_mark_is_not_read_as_empty(
    command: list[str], lose: Callable[[Path], None], configure: Configure, gnomon: Run
) -> None:
    path = configure(tick='every = "10m"')
    gnomon("exec", "tick")
    lose(path.with_name("gnomon.db"))
    refused = gnomon("run")
    assert refused.returncode == 2

    done = gnomon(*command)

    assert "records that it had reached event" in done.stderr
    assert done.stderr.splitlines()[0] in refused.stderr
    assert "nothing has run yet" not in done.stderr
    if command == ["audit"]:
        assert done.returncode == 1
        assert "cannot be proved: the log lost events 1 to" in done.stderr


def test_runs_can_be_filtered_paged_and_shown(configure: Configure, gnomon: Run) -> None:
    configure(tick="", broken="")
    for job_id in ("tick", "broken", "tick"):
        gnomon("exec", job_id)

    failed = json.loads(gnomon("runs", "--status", "failed", "--since", "1h", "--json").stdout)
    first = json.loads(gnomon("runs", "--job", "tick", "--limit", "1", "--json").stdout)
    second = json.loads(gnomon("runs", "--job", "tick", "--cursor", first["next"], "--json").stdout)
    shown = gnomon("runs", "show", failed["items"][0]["id"])

    assert [run["job_id"] for run in failed["items"]] == ["broken"]
    assert (first["total"], len(second["items"]), second["next"]) == (2, 1, None)
    assert first["items"][0]["id"] != second["items"][0]["id"]
    assert "ValueError: no such table: prices" in shown.stdout


def test_runs_show_prints_a_run_with_its_events_as_json(configure: Configure, gnomon: Run) -> None:
    configure(steps="")
    gnomon("exec", "steps")
    (run,) = json.loads(gnomon("runs", "--json").stdout)["items"]

    shown = json.loads(gnomon("runs", "show", run["id"], "--json").stdout)

    assert shown | {"events": []} == run | {"events": []}
    assert [shown["events"][0]["type"], shown["events"][-1]["type"]] == ["scheduled", "succeeded"]


def test_an_empty_list_says_why_it_is_empty(configure: Configure, gnomon: Run) -> None:
    configure(steps="")
    gnomon("exec", "steps")

    assert gnomon("runs", "--job", "stesp").stderr == "there is no job 'stesp'; did you mean 'steps'?\n"
    assert gnomon("runs", "--job", "steps", "--status", "failed").stderr == "no run of the job 'steps' matches\n"
    assert gnomon("runs", "--status", "failed").stderr == "no run matches\n"
    assert gnomon("history", "stesp").stderr == "there is no job 'stesp'; did you mean 'steps'?\n"
    assert gnomon("history", "--action", "pause").stderr == "no action matches\n"


def test_tail_of_an_unknown_job_does_not_wait_for_it(configure: Configure, gnomon: Run) -> None:
    configure(steps="")
    gnomon("exec", "steps")

    done = gnomon("runs", "tail", "--job", "stesp")

    assert (done.returncode, done.stderr) == (1, "gnomon: there is no job 'stesp'; did you mean 'steps'?\n")


def test_a_command_says_that_it_uses_the_built_in_example(gnomon: Run) -> None:
    done = gnomon("jobs", "--json")

    assert "disk_usage" in done.stdout
    assert done.stderr.startswith("there is no gnomon.toml in ")
    assert "name a config with --config or $GNOMON_CONFIG" in done.stderr


def test_check_reports_a_database_folder_that_does_not_exist(configure: Configure, gnomon: Run) -> None:
    path = configure(steps="")
    path.write_text(path.read_text(encoding="utf-8").replace("gnomon.db", "no/such/gnomon.db"), encoding="utf-8")

    done = gnomon("check")

    assert done.returncode == 2
    assert done.stderr.startswith("plugins.sqlite: ")
    assert "there is no folder" in done.stderr


def test_the_history_can_be_read_when_a_job_is_broken(configure: Configure, gnomon: Run) -> None:
    configure(tick="")
    gnomon("exec", "tick")
    configure(gone="")

    done = gnomon("runs", "--json")

    assert json.loads(done.stdout)["total"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["runs", "show", "nothing"], 1, "there is no execution 'nothing'"),
        (["runs", "--cursor", "nonsense"], 2, "--cursor"),
        (["runs", "--since", "yesterday"], 2, "expected a duration such as"),
        (["next", "tik"], 1, "did you mean 'tick'?"),
        (["jbos"], 2, "No such command 'jbos'; did you mean 'jobs'?"),
    ],
)
def test_errors_are_printed_without_a_traceback(
    arguments: list[str], code: int, said: str, configure: Configure, gnomon: Run
) -> None:
    configure(tick="")
    gnomon("exec", "tick")

    done = gnomon(*arguments)

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_plugins_are_listed_with_their_state_and_hooks(configure: Configure, folder: Path, gnomon: Run) -> None:
    path = configure()
    (folder / "loud.py").write_text("import no_such_module_at_all\n")
    path.write_text(path.read_text() + '[plugins]\npaths = ["loud.py"]\n')

    done = gnomon("plugins", "--json")

    found = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    assert found["sqlite"]["state"] == "enabled"
    assert "register_store" in found["sqlite"]["hooks"]
    assert found["memory"]["state"] == "installed"
    assert found["loud"]["state"] == "failed"
    assert "no_such_module_at_all" in found["loud"]["problem"]


def test_output_works_on_an_ascii_terminal(configure: Configure, gnomon: Run) -> None:
    configure(tick='every = "1h"')

    done = gnomon("jobs", PYTHONIOENCODING="ascii")

    assert done.returncode == 0, done.stderr
    assert "tick" in done.stdout


def test_help_imports_nothing_expensive() -> None:
    script = (
        "import sys; from gnomon.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)

    loaded = set(done.stderr.split())
    assert "Schedule and run the jobs" in done.stdout
    assert not loaded & {"asyncio", "rich", "structlog", "msgspec", "pluggy", "apscheduler", "sqlite3"}


def test_a_table_fits_the_width_of_the_terminal(configure: Configure, gnomon: Run) -> None:
    configure(tick='cron = "*/5 9-17 * * 1-5"', until_cancelled='every = "10m"')
    gnomon("exec", "tick")

    for command in ("jobs", "runs", "plugins", "check"):
        assert max(map(len, gnomon(command, COLUMNS="80").stdout.splitlines())) <= 80, command


def test_a_table_in_a_pipe_has_one_line_for_each_row(configure: Configure, gnomon: Run) -> None:
    configure(broken='cron = "*/5 9-17 * * 1-5"\nname = "The one that always breaks"')
    run = json.loads(gnomon("exec", "broken", "--json").stdout)["id"]

    (job,) = gnomon("jobs").stdout.splitlines()[1:]
    (row,) = gnomon("runs").stdout.splitlines()[1:]

    assert "The one that always breaks" in job
    assert "from 09:00 through 17:59" in job
    assert run in row
    assert "exception, no such table: prices" in row


def test_runs_logs_follows_a_run_to_its_end(start: Start, configure: Configure, gnomon: Run) -> None:
    configure(talkative="", counts="")
    kernel = start("run", "--log-format", "json", "--log-level", "debug")
    kernel.wait_for("kernel started")
    run = json.loads(gnomon("trigger", "counts", "--json").stdout)["execution"]["id"]

    followed = gnomon("runs", "logs", run, "--follow")
    as_json = gnomon("runs", "logs", run, "--json")

    assert [line.split()[1:] for line in followed.stdout.splitlines()] == [["info", str(n)] for n in range(1, 6)]
    assert [json.loads(line)["text"] for line in as_json.stdout.splitlines()] == list("12345")
