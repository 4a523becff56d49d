"""Bodies that break logging and the standard streams: the kernel's lines, its plugins and its stop are not hurt."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gnomon_process import Gnomon

Start = Callable[..., Gnomon]
Run = Callable[..., CompletedProcess[str]]

MODULE = """
import contextlib, io, logging, os, sys, threading

class Raises(logging.Filter):
    def filter(self, record):
        raise AttributeError("a filter of a body")

class Broken(logging.Handler):
    def handle(self, record):
        raise KeyError("a handler of a body")

class Unwritable(io.StringIO):
    def write(self, text):
        raise SystemExit("a stream of a body")

def closed():
    sys.stdout.close()
    sys.stderr.close()

def closed_descriptor():
    os.close(2)

def replaced():
    sys.stdout = sys.stderr = sys.__stderr__ = Unwritable()

def overlapping():
    one, other = open(os.devnull, "w"), open(os.devnull, "w")
    first, second = contextlib.redirect_stderr(one), contextlib.redirect_stderr(other)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    one.close()

def filtered():
    for logger in (logging.getLogger(), *map(logging.getLogger, list(logging.Logger.manager.loggerDict))):
        logger.addFilter(Raises())
        for handler in logger.handlers:
            handler.addFilter(Raises())

def handled():
    logging.getLogger().addHandler(Broken())
    logging.getLogger("gnomon").addHandler(Broken())

def factory():
    def make(*args, **kwargs):
        raise SystemExit("a factory of a body")
    logging.setLogRecordFactory(make)

def disabled():
    logging.disable(logging.CRITICAL)
    logging.shutdown()
"""
BODIES = ("closed", "closed_descriptor", "replaced", "overlapping", "filtered", "handled", "factory", "disabled")


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_breaks_logging_hurts_nobody_else(
    body: str, start: Start, gnomon: Run, folder: Path, port: int
) -> None:
    (folder / "breaking.py").write_text(MODULE)
    (folder / "gnomon.toml").write_text(
        f'[kernel]\ndrain = "5s"\n[plugins.sqlite]\npath = "gnomon.db"\n[plugins.web]\nport = {port}\n'
        f'[[jobs]]\nid = "breaks"\nfunc = "breaking:{body}"\n[[jobs]]\nid = "tick"\nfunc = "my_jobs:tick"\n'
    )
    kernel = start("run", "--log-format", "json")
    kernel.wait_for("kernel started")

    assert gnomon("trigger", "breaks", "--follow").returncode == 0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/scheduler/jobs", timeout=60) as answer:
        assert {job["id"] for job in json.load(answer)} == {"breaks", "tick"}
    assert gnomon("trigger", "tick", "--follow").returncode == 0
    kernel.send(signal.SIGTERM)

    assert kernel.ends() == 0
    written = [json.loads(line) for line in kernel.lines if line.startswith("{")]
    if body != "factory":  # its records cannot be made, so these lines are written in plain text
        assert {"path": "/scheduler/jobs", "status": 200}.items() <= next(
            line for line in written if line["event"] == "request" and "jobs" in line["path"]
        ).items()
        assert "kernel stopped" in [line["event"] for line in written]
