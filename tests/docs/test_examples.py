"""The examples of README.md and docs/ are run as a reader would run them.

The folder in which a page's examples run begins empty. A block whose first line is `# NAME` is written to that file; a
test file is run by pytest, a config is assembled. Any other Python block is run as a program: it has to print what it
says that it prints, and its classes with hooks are added to a kernel's plugins. Any other TOML block is a part of a
config. Of a console block `exec`, `check`, `plugins` and `cat` are run; other commands need a history or a kernel.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from gnomon.cli import main
from gnomon.deployment.config import load_config
from gnomon.jobs.definition import convert_job

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"^# (?P<name>[\w./-]+\.(?:py|toml))$")
COMMAND = re.compile(r"^\$ (?P<line>.+)$", re.MULTILINE)
PATIENCE = 100.0
RUN_ELSEWHERE = {"test_gnomon_ssh.py"}
"""Examples of tests that take long: tests/docs/test_write_a_runner.py runs this one, test by test."""

# What differs from one run to the next: ids, times and durations.
VARYING = re.compile(
    r"\b[0-9a-f]{24}\b|\b[0-9a-f]{12}\b|\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?|\b\d+(\.\d+)? (ms|s)\b|\s+"
)

ADD_PLUGINS = """
import inspect, runpy, sys
from gnomon.plugins.plugin_set import PluginSet
plugins = PluginSet()
for name, value in runpy.run_path(sys.argv[1], run_name="__main__").items():
    if inspect.isclass(value) and any(hasattr(member, "gnomon_impl") for member in vars(value).values()):
        plugins.add(value)
"""
ASSEMBLE = """
import sys
from pathlib import Path
from gnomon.deployment.config import load_config
from gnomon.deployment.assembly import assemble
assemble(load_config(Path(sys.argv[1])))
"""


ELSEWHERE = {
    "behind-a-proxy.md": {"nginx", "js"},  # tests/plugins/web/test_behind_a_proxy.py
    "postgresql.md": {"sql"},  # tests/plugins/postgres/test_postgres_rights.py
    "sql.md": {"sql"},  # tests/plugins/postgres/test_postgres_sql_views.py
    "transactional-orders.md": {"sql"},  # tests/plugins/postgres/test_transactional_orders.py
}
"""Languages of blocks that other tests look at."""
SECRETS = {
    "APP_PASSWORD": "the password of an example",
    "DATABASE_URL": "postgresql://localhost:5432/app",
    "GNOMON_OIDC_SECRET": "the secret of an example",
    "HEARTBEAT_URL": "https://ping.example.org/the-id-of-an-example",
    "MAIL_URL": "mailtos://user:password@example.org",
    "MONGODB_URI": "mongodb://localhost:27017",
    "OPS_AUTHORIZATION": "Bearer the-token-of-an-example",
    "OPS_WEBHOOK": "https://hooks.example.org/the-hook-of-an-example",
}
"""Variables to which the examples refer."""


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The file that its first line names."""
        found = FILE_NAME.match(self.text.partition("\n")[0])
        return found["name"] if found else None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match["language"], match["text"])
        for match in FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def run(arguments: list[str], folder: Path, place: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")} | SECRETS
    completed = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert completed.returncode == 0, f"{place}: {shlex.join(arguments[2:])}\n{completed.stdout}{completed.stderr}"
    return completed.stdout + completed.stderr


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", *arguments]


def try_python(block: Block, folder: Path) -> None:
    name = block.file_name
    path = folder / (name or "example.py")
    path.write_text(block.text, encoding="utf-8")
    if name is None:
        said = run(python("-c", ADD_PLUGINS, path.name), folder, block.place)
        for promised in re.findall(r"print\(.*\)  # (.+)$", block.text, re.MULTILINE):
            assert promised in said.splitlines(), f"{block.place}: it says {promised!r}, and printed\n{said}"
    elif name.startswith("test_") and name not in RUN_ELSEWHERE:
        pytest_options = ["-q", "--rootdir", ".", "-p", "no:cacheprovider", name]
        run([sys.executable, "-m", "pytest", *pytest_options], folder, block.place)


def try_toml(block: Block, folder: Path) -> None:
    name = block.file_name
    if name is None:
        check_part(block, folder)
        return
    (folder / name).write_text(block.text, encoding="utf-8")
    if name == "pyproject.toml":
        tomllib.loads(block.text)
    else:
        run(python("-c", ASSEMBLE, name), folder, block.place)


def check_part(block: Block, folder: Path) -> None:
    """Check what can be checked of a part of a config: its shape, and the keys of [kernel] and of its jobs."""
    path = folder / "part.toml"
    path.write_text(block.text, encoding="utf-8")
    config = load_config(path, SECRETS)
    for table in config.jobs:
        convert_job(table, block.place).build_trigger()


def try_console(block: Block, folder: Path) -> None:
    """Run the commands that end by themselves; each line that the page shows has to be in their output."""
    parts = COMMAND.split(block.text)[1:]
    for line, shown in zip(parts[::2], parts[1::2], strict=True):
        program, *arguments = shlex.split(line)
        if program == "cat":
            said = (folder / arguments[0]).read_text(encoding="utf-8")
        elif program == "gnomon" and arguments[0] in {"exec", "check", "plugins"}:
            said = run(python("-m", "gnomon.cli", *arguments), folder, block.place)
        else:
            continue
        missing = [one for one in shown.splitlines() if masked(one) not in masked(said)]
        assert not missing, f"{block.place}: `{line}` does not say {missing}, but\n{said}"


def masked(text: str) -> str:
    return VARYING.sub("", text)


TRIALS: dict[str, Callable[[Block, Path], None]] = {"python": try_python, "toml": try_toml, "console": try_console}


WITH_EXAMPLES = [page for page in PAGES if blocks(page, *TRIALS)]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    files = [block for block in blocks(page) if block.file_name]
    # A config stands above the file that it names, or below it: the reader has both.
    for block in files:
        (tmp_path / str(block.file_name)).write_text(block.text, encoding="utf-8")

    for block in blocks(page, *TRIALS):
        TRIALS[block.language](block, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_has_a_language_that_somebody_looks_at(page: Path) -> None:
    opening = re.findall(r"^```(.*)\n(?:(?!^```).*\n)*^```$", page.read_text(encoding="utf-8"), re.MULTILINE)

    assert set(opening) <= {*TRIALS, "text", "bash", *ELSEWHERE.get(page.name, ())}


def shown_commands(page: Path) -> set[str]:
    """Find the calls of gnomon that a page shows, in blocks and in running text."""
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^\$ gnomon (.+)$", text, re.MULTILINE) + re.findall(r"`gnomon ([a-z][^`]*)`", text)
    return {" ".join(line.split()) for line in shown if "..." not in line}


def wrong_words(line: str) -> list[str]:
    """Follow a call through the commands; return the words that are neither a command nor an option."""
    command: click.Command = main
    wrong = []
    for word in shlex.split(line):
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            command, is_known = found or command, found is not None or command is not main
        else:
            is_known = True
        options = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        if not (word in options if word.startswith("-") else is_known):
            wrong.append(word)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_that_a_page_shows_exist(page: Path) -> None:
    wrong = {line: words for line in shown_commands(page) if (words := wrong_words(line))}

    assert not wrong
