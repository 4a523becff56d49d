"""The Celery runner keeps the contract of remote runners, with real workers: processes, and threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celery_workers import CeleryWorker
from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.runners.base import Runner
from gnomon.testing.contracts import RemoteRunnerContract
from gnomon_celery.config import CeleryConfig
from gnomon_celery.runner import CeleryRunner
from servers import RedisServer

HEARTBEAT = 'heartbeat = "1s"'


@pytest.fixture(scope="module")
def broker(server_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(server_program, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.clean_up()


@pytest.fixture(scope="module", params=["prefork", "threads"])
def worker(
    request: pytest.FixtureRequest, broker: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """Provide one worker of each pool for all tests of this module."""
    worker = CeleryWorker(tmp_path_factory.mktemp(request.param), broker.url, more=HEARTBEAT)
    worker.start(f"--pool={request.param}", "--concurrency=2")
    yield worker
    worker.clean_up()


class TestCeleryRunner(RemoteRunnerContract):
    @pytest.fixture
    def runner(self, worker: CeleryWorker) -> Runner:
        self.url = worker.channel_url
        return self.another()

    def another(self, runner: Runner | None = None) -> Runner:
        return CeleryRunner(CeleryConfig(broker=Secret(self.url), heartbeat=Duration(seconds=1)))
