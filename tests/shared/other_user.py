"""A second user of the machine, for tests of what it may do."""

import os
import subprocess
import sys

import pytest

NOBODY = 65534
BECOME = f"""
import encodings.idna, http.client, json, os, socket, sys
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
"""


def needs_second_user() -> None:
    """Skip a test that cannot become another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a process as another user")


def start_as_nobody(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python script as the user nobody, who may be unable to read the interpreter: imports come first."""
    needs_second_user()
    command = [sys.executable, "-I", "-c", BECOME + script, *map(str, arguments)]
    return subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
