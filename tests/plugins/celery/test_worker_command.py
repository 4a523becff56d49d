"""`gnomon worker` and the settings of workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.utils.imports import cwd_in_path
from click.testing import CliRunner

from celery_workers import SHARED, CeleryWorker, KernelEnd, until
from gnomon.cli import main
from gnomon.errors import ConfigError
from gnomon.jobs.callables import load_function
from gnomon_celery.worker_config import read_worker_config, worker_config_of_environment
from servers import START_PATIENCE, RedisServer, find_redis

BROKER = "redis://:hunter22@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path


def write(folder: Path, text: str) -> Path:
    path = folder / "gnomon.toml"
    path.write_text(text)
    return path


def test_the_worker_reads_its_section_and_leaves_those_of_other_plugins_alone(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        """
        [kernel]
        python_path = ["code"]
        [plugins.mongo]
        url = { env = "A_SECRET_THAT_THE_WORKER_DOES_NOT_HAVE" }
        [plugins.celery]
        broker = { env = "BROKER" }
        queue = "reports"
        [[jobs]]
        id = "report"
        func = "not_here:f"
        kwargs = { password = { env = "ANOTHER_ONE" } }
        """,
    )
    settings = read_worker_config(config, {"BROKER": BROKER})
    assert (settings.channel_url, settings.queue) == (BROKER, "reports")
    assert sys.path[0] == str(tmp_path / "code")


def test_a_config_without_the_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no section \[plugins.celery\]"):
        read_worker_config(write(tmp_path, "[plugins.memory]"), {})


def test_the_environment_configures_a_worker_of_celerys_own_command(tmp_path: Path) -> None:
    environ = {"GNOMON_CELERY_BROKER": "amqp://localhost", "GNOMON_CELERY_CHANNEL": BROKER}
    settings = worker_config_of_environment(environ | {"GNOMON_CELERY_HEARTBEAT": "2s"})
    assert (settings.broker.reveal(), settings.channel_url) == ("amqp://localhost", BROKER)
    assert settings.heartbeat.total_seconds() == 2
    config = write(tmp_path, f"[plugins.celery]\nbroker = '{BROKER}'")
    assert worker_config_of_environment({"GNOMON_CONFIG": str(config)}).broker.reveal() == BROKER


def test_celerys_own_command_finds_the_jobs_beside_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs_beside_the_config.py").write_text("def report():\n    pass\n")
    config = write(tmp_path, f"[plugins.celery]\nbroker = '{BROKER}'")
    monkeypatch.chdir(tmp_path)
    with cwd_in_path():  # Celery imports the application in it, and takes the folder out of sys.path afterwards
        worker_config_of_environment({"GNOMON_CONFIG": str(config)})
    assert load_function("jobs_beside_the_config:report").__name__ == "report"


def test_a_worker_without_settings_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="GNOMON_CELERY_BROKER is not set, and neither is GNOMON_CONFIG"):
        worker_config_of_environment({})
    with pytest.raises(ConfigError, match="channel is missing: workers report through Redis"):
        worker_config_of_environment({"GNOMON_CELERY_BROKER": "amqp://localhost"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[plugins.celery]", "'broker' is missing"),
        ("[plugins.celery]\nbroker = 'localhost'", "expected a URL such as redis://localhost:6379/0"),
        ("[plugins.celery]\nbroker = 'redis://h'\nqeue = 'x'", "did you mean 'queue'?"),
        ("", "has no section [plugins.celery]"),
    ],
)
def test_the_command_reports_a_bad_config_without_a_traceback(tmp_path: Path, text: str, problem: str) -> None:
    result = CliRunner().invoke(main, ["worker", str(write(tmp_path, text))])
    assert result.exit_code == 2
    assert problem in result.output
    assert "Traceback" not in result.output


def test_celerys_own_command_starts_a_worker_and_its_log_has_no_password(tmp_path: Path) -> None:
    server = RedisServer(find_redis(), tmp_path)
    server.start("--requirepass", "hunter22")
    url = server.url.replace("://", "://:hunter22@")
    worker = CeleryWorker(tmp_path / "worker", url)
    environ = {"GNOMON_CELERY_BROKER": url, "PYTHONPATH": str(SHARED)}
    command = [sys.executable, "-m", "celery", "-A", "gnomon_celery.worker", "worker"]
    kernel = KernelEnd(url)
    try:
        worker.start_command([*command, "-P", "threads", "-c", "1", "-Q", "a,gnomon", "-n", worker.name], environ)
        ended = kernel.run("talk")
        assert ("info", "loading 3 rows", "loader") in kernel.lines(ended.id)  # whatever the level of Celery's own log
        info = worker.info()
        assert info is not None
        assert info.queues == ["a", "gnomon"]
        assert worker.stop() == 0
        assert "hunter22" not in worker.log.read_text()
        assert "loading 3 rows" not in worker.log.read_text()  # its level is WARNING
    finally:
        kernel.close()
        worker.clean_up()
        server.clean_up()


@pytest.mark.parametrize(
    ("broker", "channel", "said"),
    [
        ("wrong999", "hunter22", "Cannot connect to redis://:**@"),
        ("hunter22", "wrong999", "the channel, Redis at redis://127.0.0.1"),
    ],
)
def test_a_worker_says_which_server_refuses_it_and_shows_no_password(
    tmp_path: Path, broker: str, channel: str, said: str
) -> None:
    server = RedisServer(find_redis(), tmp_path)
    server.start("--requirepass", "hunter22")
    urls = [server.url.replace("://", f"://:{password}@") for password in (broker, channel)]
    worker = CeleryWorker(tmp_path / "worker", *urls)
    try:
        worker.launch([sys.executable, "-m", "gnomon.cli", "worker", str(worker.config), "--pool=threads"])
        until(lambda: said in worker.log.read_text(), said, START_PATIENCE)
        assert "invalid username-password pair" in worker.log.read_text()
        assert "wrong999" not in worker.log.read_text()
        assert "hunter22" not in worker.log.read_text()
    finally:
        worker.clean_up()
        server.clean_up()
