"""Commands that control and read a remote kernel: over HTTP, with a token, across the ends of servers."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
JSON_LOG = ("--log-format", "json", "--log-level", "debug")
OPERATOR, VIEWER = "Zq8v-3rWk-X5tL-of-the-operator", "Zq8v-3rWk-X5tL-of-the-viewer"

CONFIG = """
[kernel]
drain = "20s"
max_running = {max_running}

[plugins.sqlite]
path = "gnomon.db"

[plugins.stats]

[plugins.web]
port = {port}
tokens = [
  {{ name = "ann", role = "operator", token = "{operator}" }},
  {{ name = "eve", role = "viewer", token = "{viewer}" }},
]
"""
JOBS = ("steps", "broken", "slow", "until_cancelled", "counts")


@pytest.fixture
def serve(start: Start, folder: Path, port: int) -> Callable[..., Any]:
    """Start a kernel with its server, in its own folder; on the same port when it is started again."""
    home = folder / "server"
    home.mkdir()
    (home / "my_jobs.py").write_text((folder / "my_jobs.py").read_text())

    def serve(max_running: int = 10) -> Any:
        text = CONFIG.format(max_running=max_running, port=port, operator=OPERATOR, viewer=VIEWER)
        text += "".join(f'[[jobs]]\nid = "{name}"\nfunc = "my_jobs:{name}"\noverlap = "queue"\n' for name in JOBS)
        (home / "gnomon.toml").write_text(text)
        kernel = start("--config", str(home / "gnomon.toml"), "run", *JSON_LOG)
        kernel.wait_for("kernel started")
        return kernel

    return serve


@pytest.fixture
def environment(environment: dict[str, str], port: int) -> dict[str, str]:
    """The environment of a remote user."""
    return environment | {"GNOMON_URL": f"http://127.0.0.1:{port}", "GNOMON_TOKEN": OPERATOR}


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_trigger_follow_waits_for_success_and_failure(gnomon: Run, serve: Callable[..., Any]) -> None:
    serve()

    good = gnomon("trigger", "steps", "--kwargs", '{"rows": 7}', "--follow")
    bad = gnomon("trigger", "broken", "--follow", "--json")

    assert (good.returncode, json.loads(good.stdout)) == (0, {"rows": 7}), good.stderr
    assert "✔ success  steps" in good.stderr
    assert bad.returncode == 1
    record = json.loads(bad.stdout)
    assert (record["status"], record["error_message"], record["actor"]) == ("failed", "no such table: prices", "ann")


def test_a_followed_run_survives_a_restart_of_the_server(start: Start, gnomon: Run, serve: Callable[..., Any]) -> None:
    kernel = serve(max_running=1)
    answer(gnomon("trigger", "slow", "--json"))
    following = start("trigger", "steps", "--follow")  # it waits for the slot of the other one
    kernel.wait_for("scheduled", job="steps")

    kernel.send(signal.SIGKILL)
    kernel.ends()
    serve(max_running=1)

    assert following.ends() == 0, following.errors
    assert json.loads(following.process.stdout.read()) == {"rows": 4}
    assert answer(gnomon("history", "--config", "server/gnomon.toml", "--json"))["total"] == 2  # one of each trigger


def test_a_run_that_ends_while_the_server_is_down_is_still_reported(
    start: Start, gnomon: Run, serve: Callable[..., Any]
) -> None:
    kernel = serve()
    following = start("trigger", "slow", "--follow", "--json")
    kernel.wait_for("started", job="slow")

    kernel.send(signal.SIGKILL)
    kernel.ends()
    serve()

    assert following.ends() == 1, following.errors
    assert json.loads(following.process.stdout.read())["reason"] == "lost"
    assert gnomon("cancel", "0" * 24).returncode == 1


def test_jobs_are_paused_with_a_reason_and_resumed_and_runs_cancelled(gnomon: Run, serve: Callable[..., Any]) -> None:
    kernel = serve()

    assert gnomon("pause", "steps", "--reason", "maintenance").stdout.strip() == "steps is paused"
    assert gnomon("pause", "steps").stdout.strip() == "steps was already paused"
    triggered = answer(gnomon("trigger", "steps", "--keep-paused", "--json"))
    assert (triggered["resumed"], triggered["is_new"]) == (False, True)
    assert gnomon("resume", "steps").stdout.strip() == "steps is resumed"
    run = answer(gnomon("trigger", "until_cancelled", "--json"))["execution"]["id"]
    kernel.wait_for("started", run=run)
    assert gnomon("cancel", run[:12], "--reason", "no need").stdout.startswith(f"{run} of until_cancelled")
    kernel.wait_for("cancelled", run=run)

    acts = answer(gnomon("history", "--config", "server/gnomon.toml", "--json"))["items"]

    assert [(one["action"], one["actor"], one["detail"]) for one in reversed(acts)] == [
        ("pause", "ann", "maintenance"),
        ("trigger", "ann", None),
        ("resume", "ann", None),
        ("trigger", "ann", None),
        ("cancel", "ann", "no need"),
    ]


def test_every_failed_request_has_a_plain_message(gnomon: Run, serve: Callable[..., Any]) -> None:
    assert "no kernel answers at http://127.0.0.1:" in refusal(gnomon("pause", "steps"))
    serve()

    assert "there is no job 'stesp'; did you mean 'steps'?" in refusal(gnomon("trigger", "stesp"))
    assert "there is no execution" in refusal(gnomon("cancel", "0" * 24))
    assert "requires a token" in refusal(gnomon("pause", "steps", GNOMON_TOKEN=""))
    assert "does not accept this token" in refusal(gnomon("pause", "steps", GNOMON_TOKEN="x" * 20))
    assert "the role operator; 'eve' has the role viewer" in refusal(gnomon("pause", "steps", GNOMON_TOKEN=VIEWER))
    assert "is not the address of a kernel" in refusal(gnomon("pause", "steps", "--url", "gnomon.example"))
    both = gnomon("pause", "steps", "--url", "http://127.0.0.1:9", "--config", "server/gnomon.toml")
    assert (both.returncode, "give one of them" in both.stderr) == (2, True)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("place", [(), ("--config", "server/gnomon.toml")], ids=["elsewhere", "here"])
def test_runs_tail_prints_events_live(
    start: Start, gnomon: Run, serve: Callable[..., Any], place: tuple[str, ...]
) -> None:
    serve()
    tail = start("runs", "tail", "--job", "broken", "--json", *place)
    lines: list[dict[str, Any]] = []
    has_failed = threading.Event()

    def read() -> None:
        for line in tail.process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["type"] == "failed":
                has_failed.set()

    reader = threading.Thread(target=read)
    reader.start()
    while not has_failed.wait(0.5):  # it begins with what happens after it has begun
        gnomon("trigger", "broken")
    gnomon("trigger", "steps")
    tail.send(signal.SIGINT)

    assert tail.ends() == 0
    reader.join()
    assert {line["job_id"] for line in lines} == {"broken"}


def test_a_local_run_is_followed_without_an_address(gnomon: Run, serve: Callable[..., Any]) -> None:
    serve()
    here = ("--config", "server/gnomon.toml")

    good = gnomon("trigger", "steps", "--follow", *here)
    bad = gnomon("trigger", "broken", "--follow", *here)

    assert (good.returncode, json.loads(good.stdout)) == (0, {"rows": 4}), good.stderr
    assert bad.returncode == 1
    assert "no such table: prices" in bad.stderr


def test_ctrl_c_stops_following_but_not_the_run(start: Start, gnomon: Run, serve: Callable[..., Any]) -> None:
    kernel = serve()
    following = start("trigger", "until_cancelled", "--follow")
    run = kernel.wait_for("started", job="until_cancelled")["run"]
    following.wait_for(f"until_cancelled {run} is running")

    following.send(signal.SIGINT)

    assert following.ends() == 130
    assert f"the run goes on; `gnomon cancel {run}` stops it" in following.errors
    assert gnomon("cancel", run).returncode == 0


@pytest.fixture
def history(gnomon: Run, serve: Callable[..., Any]) -> dict[str, str]:
    """Start a kernel with a history, all of it from an operator; return the ids of its runs."""
    serve()
    runs = {}
    for job, code in (("steps", 0), ("broken", 1), ("counts", 0)):
        done = gnomon("trigger", job, "--follow", "--json")
        assert done.returncode == code, done.stderr
        runs[job] = json.loads(done.stdout)["id"]
    assert gnomon("pause", "broken", "--reason", "the table is gone").returncode == 0
    return runs


READ_ALIKE = (
    ["jobs"],
    ["runs", "--job", "steps", "--status", "success", "--since", "-1h", "--limit", "1"],
    ["runs", "show", "{broken:.12}"],
    ["runs", "logs", "{counts}"],
    ["history", "broken"],
    ["stats"],
)


def test_json_is_the_same_over_http_and_from_the_store(gnomon: Run, history: dict[str, str]) -> None:
    here = ("--config", "server/gnomon.toml")
    for words in READ_ALIKE:
        command = [word.format(**history) for word in words]

        there, local = (gnomon(*command, "--json", *place) for place in ((), here))

        assert (there.returncode, there.stdout) == (0, local.stdout), f"{command}: {there.stderr}"
        assert len(there.stdout) > 20, command


def test_tables_are_the_same_over_http_and_from_the_store(gnomon: Run, history: dict[str, str]) -> None:
    for command in (["runs"], ["history"], ["runs", "show", history["steps"]]):
        there = gnomon(*command, TZ="UTC")  # the zone of that kernel; else times are those of this machine
        assert there.stdout == gnomon(*command, "--config", "server/gnomon.toml").stdout, there.stderr
    assert "‖ paused by ann" in gnomon("jobs", COLUMNS="120").stdout
    assert "today on the server" in gnomon("stats", "steps").stdout


def test_a_command_without_http_names_the_deployment_it_uses_or_the_remedy(
    gnomon: Run, serve: Callable[..., Any], folder: Path
) -> None:
    serve()
    here = ("--config", "server/gnomon.toml")
    for command in (["explain", "steps"], ["stats", "--verify"], ["audit", "--url", "http://127.0.0.1:9", *here]):
        refused = gnomon(*command)
        assert (refused.returncode, refused.stdout) == (2, ""), command
        assert f"`gnomon {command[0]}` needs the log itself, which the kernel at http://127.0.0.1:" in refused.stderr
        assert "run it on the machine of that kernel, or name a config whose store" in refused.stderr
    named = gnomon("audit", *here)
    assert (named.returncode, "over HTTP" in named.stderr) == (0, False), named.stderr

    (folder / "gnomon.toml").write_text("[plugins.sqlite]\npath = 'server/gnomon.db'\n")
    found = gnomon("audit", "--json")

    assert answer(found)["is_proved"]
    assert f"using the deployment on this machine instead, {folder / 'gnomon.toml'}" in found.stderr
