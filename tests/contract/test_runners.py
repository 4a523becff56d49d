"""The runners of the kernel fulfil the contract of runners, and a small remote one that of remote runners."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gnomon.clock import SystemClock
from gnomon.runners.async_task import AsyncRunner
from gnomon.runners.base import Runner
from gnomon.runners.process import ProcessRunner
from gnomon.runners.thread import ThreadRunner
from gnomon.testing.contracts import RemoteRunnerContract, RunnerContract
from spool_runner import SpoolRunner, spool_workers


class TestAsyncRunner(RunnerContract):
    kinds = interrupts = ("async",)

    @pytest.fixture
    def runner(self) -> Runner:
        return AsyncRunner(SystemClock())


class TestThreadRunner(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return ThreadRunner(SystemClock())


class TestProcessRunner(RunnerContract):
    interrupts = ("plain", "async")

    @pytest.fixture
    def runner(self) -> Runner:
        return ProcessRunner(SystemClock())


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run workers for all tests of this module."""
    folder = tmp_path_factory.mktemp("spool")
    with spool_workers(folder):
        yield folder


class TestSpoolRunner(RemoteRunnerContract):
    @pytest.fixture
    def runner(self, spool: Path) -> Runner:
        return SpoolRunner(spool)

    def another(self, runner: Runner) -> Runner:
        assert isinstance(runner, SpoolRunner)
        return SpoolRunner(runner.spool)
