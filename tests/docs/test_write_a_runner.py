"""The runner of docs/how-to/write-a-runner.md keeps the contract, as the page shows it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.test_examples import ROOT, blocks

from gnomon.jobs.job import Job
from gnomon.runners.base import Runner
from gnomon.testing import make_kernel
from gnomon.testing.contracts import RunnerContract

PAGE = ROOT / "docs/how-to/write-a-runner.md"


@pytest.fixture(autouse=True)
def files_of_the_page(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write the module of the page, which this process and the bodies' own import."""
    folder = tmp_path_factory.mktemp("page")
    for block in blocks(PAGE, "python"):
        (folder / str(block.file_name)).write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield
    sys.modules.pop("gnomon_ssh", None)


class TestSshRunner(RunnerContract):
    kinds = ("plain",)

    @pytest.fixture
    def runner(self, files_of_the_page: None) -> Runner:
        runner: Runner = importlib.import_module("gnomon_ssh").SshRunner([sys.executable])
        return runner


async def test_a_job_runs_where_the_plugin_of_the_page_runs_it() -> None:
    gnomon_ssh = importlib.import_module("gnomon_ssh")
    plugin = gnomon_ssh.Plugin(gnomon_ssh.Plugin.Config([sys.executable]))
    job = Job(id="add", func="gnomon.testing.runner_bodies:add", kwargs={"a": 1}, runner="ssh")
    async with make_kernel(job, plugins=[plugin]) as kernel:
        run = await kernel.wait((await kernel.trigger("add")).execution.id)
        assert (run.status, run.return_value["sum"], run.runner) == ("success", 3, "ssh")


async def test_a_command_that_is_not_there_and_one_that_ends_are_failures(tmp_path: Path) -> None:
    gnomon_ssh = importlib.import_module("gnomon_ssh")
    job = Job(id="add", func="gnomon.testing.runner_bodies:add", kwargs={"a": 1}, runner="ssh")
    for command, error in ([str(tmp_path / "nothing")], "FileNotFoundError"), (["false"], "ConnectionLost"):
        plugin = gnomon_ssh.Plugin(gnomon_ssh.Plugin.Config(command))
        async with make_kernel(job, plugins=[plugin]) as kernel:
            run = await kernel.wait((await kernel.trigger("add")).execution.id)
            assert (run.status, run.error_type) == ("failed", error), run.error_message
