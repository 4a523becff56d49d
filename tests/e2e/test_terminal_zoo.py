"""Foreign text on its way to a terminal: none of it controls the terminal, whichever command prints it.

The job's name, tags, steps, messages, items, log lines, result, errors and arguments are hostile, as are the reasons of
operators and the paths that strangers request without a token.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from gnomon.text import visible, visible_json
from gnomon_process import PATIENCE, Gnomon
from gnomon_web.http.responses import encode_json

Start = Callable[..., Gnomon]
Run = Callable[..., CompletedProcess[str]]

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31mred\r\u202egnp\u2066\u200b\ufeff\u2028end"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
TOKEN = "k3vDq8xW2mZr7pLs9TfYb4Hn"
MODULE = f"""
import logging, sys
from gnomon import job, current

HOSTILE = {HOSTILE!r}

class Odd(Exception):
    pass

Odd.__qualname__ = Odd.__name__ = HOSTILE

@job(id="hostile", name=HOSTILE, description=HOSTILE, tags=[HOSTILE], kwargs={{"text": HOSTILE}}, every=3600)
def hostile(text, fails=False):
    logging.getLogger(HOSTILE).warning("line\\n2026-01-01 00:00:00 [info] forged " + HOSTILE)
    logging.getLogger("x").error(HOSTILE, extra={{HOSTILE: HOSTILE}})
    current().step(HOSTILE)
    current().progress(10, HOSTILE, current_item=HOSTILE)
    if fails:
        raise Odd("first\\nsecond " + HOSTILE)
    return HOSTILE
"""
CONFIG = f"""
[kernel]
python_path = ["."]
modules = ["hostile_jobs"]
drain = "5s"
[plugins.sqlite]
path = "gnomon.db"
[plugins.web]
port = PORT
[[plugins.web.tokens]]
name = "anna"
role = "admin"
token = "{TOKEN}"
"""


@pytest.fixture
def config(folder: Path, port: int) -> None:
    (folder / "hostile_jobs.py").write_text(MODULE)
    (folder / "gnomon.toml").write_text(CONFIG.replace("PORT", str(port)))


def wait_for_server(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def request(port: int, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            pass


def unsafe_in(printed: dict[str, str]) -> dict[str, list[str]]:
    found = {name: sorted({ascii(character) for character in UNSAFE.findall(text)}) for name, text in printed.items()}
    return {name: characters for name, characters in found.items() if characters}


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("style", ["console", "logfmt", "json"])
def test_no_line_of_a_kernels_log_controls_a_terminal(style: str, start: Start, gnomon: Run, port: int) -> None:
    kernel = start("run", "--log-format", style, "--log-level", "debug")
    wait_for_server(port)
    gnomon("trigger", "hostile", "--follow", "--kwargs", '{"fails": true}')
    for path in (b"/%1b]0;owned%07", b"/%C2%9B31m", b"/%E2%80%AEgnp", b"/%0a%0d2026-01-01", b"/\x1b[2J"):
        request(port, b"GET " + path)
    kernel.send(signal.SIGTERM)
    assert kernel.ends() == 0

    assert "owned" in kernel.errors
    assert unsafe_in({"run": kernel.errors}) == {}
    assert not any(line.startswith("2026-01-01") for line in kernel.lines)


@pytest.mark.timeout(900)  # two dozen processes, one after the other
@pytest.mark.usefixtures("config")
def test_no_command_prints_what_controls_a_terminal(start: Start, gnomon: Run, port: int) -> None:
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("kernel started")
    url = ("--url", f"http://127.0.0.1:{port}")
    printed: dict[str, str] = {}

    def call(*arguments: str) -> str:
        done = gnomon(*arguments, GNOMON_TOKEN=TOKEN)
        printed[" ".join(arguments)] = done.stdout + done.stderr
        return done.stdout

    call("trigger", "hostile", "--follow")
    call("trigger", "hostile", "--follow", "--kwargs", '{"fails": true}', *url)
    call("pause", "hostile", "--reason", HOSTILE)
    call("trigger", HOSTILE, *url)
    call("pause", HOSTILE)
    failed, succeeded = (run["id"] for run in json.loads(call("runs", "--json"))["items"])
    call("runs", "show", succeeded)
    call("runs", "show", failed, *url)
    call("runs", "show", failed, "--json")
    call("runs", "logs", failed)
    call("runs", "logs", failed, "--json", *url)
    call("history", "--json")
    for command in ("runs", "jobs", "history"):
        call(command)
        call(command, *url)
    for command in ("check", "plan", "next", "explain", "audit", "exec"):
        call(command, *(["hostile"] if command in {"next", "explain", "exec"} else []))

    assert unsafe_in(printed) == {}
    assert sum("owned" in text for text in printed.values()) > 15


def test_json_keeps_every_character() -> None:
    texts: list[Any] = [HOSTILE, {"a": HOSTILE}]

    assert json.loads(visible_json(json.dumps(texts, ensure_ascii=False))) == texts
    assert not UNSAFE.search(visible_json(json.dumps(texts, ensure_ascii=False)))
    assert visible_json('{"at": "2026-11-28"}\n') == '{"at": "2026-11-28"}\n'
    assert not UNSAFE.search(encode_json(texts).decode())
    assert json.loads(encode_json(texts)) == texts


def test_what_is_made_visible_is_one_line_or_many() -> None:
    assert visible("a\x1b[2J\tb\r\nc\u202e") == r"a\x1b[2J\tb\r\nc\u202e"
    assert visible("a\x1b[2J\tb\r\nc\u202e", lines=True) == "a\\x1b[2J\tb\nc\\u202e"
    assert visible("任务 🏴 é\u200d") == "任务 🏴 é\u200d"
