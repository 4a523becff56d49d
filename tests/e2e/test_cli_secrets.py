"""Secrets of a deployment: in no file, no output and no plan, before and after they are rotated."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]

TOKENS = ("Kf8-first-token-of-two", "Zx3-second-token-of-two")
BODY = """
import logging
import sys


def leak(token, key="", *, fails=False):
    print("printed", token)
    print("complained", token, file=sys.stderr)
    logging.getLogger("app").warning("logged %s", token)
    if fails:
        raise ValueError(f"refused {token}")
    return {"token": token, "length": len(token), "key": len(key)}
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "my_jobs.py").write_text(BODY)
    return folder


def shown(*outputs: subprocess.CompletedProcess[str]) -> str:
    return "".join(done.stdout + done.stderr for done in outputs)


def test_a_secret_is_in_no_file_and_no_output(configure: Configure, gnomon: Run, folder: Path) -> None:
    (folder / "key.txt").write_text("0123-the-key-in-a-file\n")
    keys = '{ token = { env = "APP_TOKEN" }, key = { file = "key.txt" } }'
    configure(leak=f'cron = "0 0 1 1 *"\nrunner = "process"\nkwargs = {keys}')

    outputs = []
    for token in TOKENS:
        outputs.append(gnomon("exec", "leak", "--json", APP_TOKEN=token))
        assert json.loads(outputs[-1].stdout)["return_value"] == {"token": "***", "length": len(token), "key": 22}
        outputs.append(gnomon("plan", "--json", APP_TOKEN=token))
    outputs.append(gnomon("exec", "leak", "--kwargs", '{"fails": true}', APP_TOKEN=TOKENS[0]))
    outputs += [gnomon(command, "--json", APP_TOKEN=TOKENS[0]) for command in ("check", "runs")]
    kept = b"".join(path.read_bytes() for path in folder.glob("gnomon.db*"))

    assert len(json.loads(outputs[-1].stdout)["items"]) == 3
    for secret in (*TOKENS, "0123-the-key-in-a-file"):
        assert secret not in shown(*outputs)
        assert secret.encode() not in kept
    assert b"APP_TOKEN" in kept
    assert "refused ***" in shown(*outputs)


def test_a_log_that_holds_a_plain_secret_is_reported_without_it(configure: Configure, gnomon: Run) -> None:
    configure(leak=f'kwargs = {{ token = "{TOKENS[0]}", key = "plain" }}')
    assert gnomon("exec", "leak").returncode == 0
    warned = gnomon("check")
    configure(leak='kwargs = { token = { env = "APP_TOKEN" }, key = { env = "APP_KEY" } }')

    done = gnomon("check", "--log", APP_TOKEN=TOKENS[1], APP_KEY="plain")
    found = json.loads(gnomon("check", "--log", "--json", APP_TOKEN=TOKENS[1], APP_KEY="plain").stdout)

    assert warned.returncode == 0
    assert "jobs[0 'leak'].kwargs.token: looks like a secret (its name is 'token')" in warned.stderr
    assert done.returncode == 1
    assert "job 'leak': kwargs.token is in plain text in 1 event" in done.stderr
    assert [secret["place"] for secret in found["logged_secrets"]] == ["kwargs.key", "kwargs.token"]
    assert TOKENS[0] not in shown(warned, done)


def test_a_missing_secret_is_a_problem_with_its_place(configure: Configure, gnomon: Run) -> None:
    configure(leak='kwargs = { token = { env = "APP_TOKEN" } }')

    done = gnomon("check")

    assert done.returncode == 2
    assert "jobs[0 'leak'].kwargs.token: the environment variable APP_TOKEN is not set" in done.stderr


def test_commands_may_not_set_what_a_job_closes(configure: Configure, gnomon: Run) -> None:
    configure(leak='kwargs = { token = "x" }\noverrides = ["fails"]')

    refused = gnomon("exec", "leak", "--kwargs", '{"key": "y"}')
    shell = gnomon("exec", "leak", "--kwargs", '{"fails": true}')

    assert refused.returncode == 1
    assert "job 'leak' does not accept the argument 'key' from a command: only 'fails' may be set" in refused.stderr
    assert "refused x" in shown(shell)
