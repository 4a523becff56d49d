import json
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from click.testing import CliRunner, Result

from gnomon.cli import main
from gnomon.deployment.config import load_config
from servers import RedisServer, find_redis


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, and forget what a command adds to the search path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("beat_of_a_shop", None)


def gnomon(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, ["import", *arguments], input=given)


def test_a_crontab_becomes_the_jobs_of_a_config(folder: Path) -> None:
    answer = gnomon("crontab", "-", "--timezone", "Asia/Shanghai", given="# Cleans up\n30 2 * * * /opt/clean.sh -v\n")

    assert answer.exit_code == 0
    (job,) = tomllib.loads(answer.stdout)["jobs"]
    assert (job["id"], job["cron"], job["description"]) == ("clean", "30 2 * * *", "Cleans up")
    assert "1 job taken from" in answer.stderr
    (folder / "gnomon.toml").write_text(answer.stdout)
    assert len(load_config(folder / "gnomon.toml").jobs) == 1


def test_what_cannot_be_taken_makes_the_exit_code_1() -> None:
    answer = gnomon("crontab", "-", given="61 * * * * true\n* * * * * true\n")

    assert answer.exit_code == 1
    assert "line 1: cron expression '61 * * * *'" in answer.stderr
    assert len(tomllib.loads(answer.stdout)["jobs"]) == 1


def test_a_crontab_that_is_not_utf8_is_named_with_the_byte(folder: Path) -> None:
    (folder / "crontab").write_bytes(b"# A\nA\xff * * *\n")

    answer = gnomon("crontab", "crontab")

    assert answer.exit_code == 2
    assert "crontab: line 2: byte 0xff at place 6 is not UTF-8" in answer.stderr


def test_a_system_crontab_is_read_with_its_users(folder: Path) -> None:
    (folder / "crontab").write_text("30 2 * * * nobody true\n")

    answer = gnomon("crontab", "--system", "crontab")

    (job,) = tomllib.loads(answer.stdout)["jobs"]
    assert job["kwargs"]["argv"] == ["/bin/sh", "-c", "true"]
    assert "sudo -u nobody" in answer.stderr


def test_a_beat_schedule_becomes_the_jobs_of_a_config(folder: Path) -> None:
    (folder / "beat_of_a_shop.py").write_text(
        "CELERY_BEAT_SCHEDULE = {'wait': {'task': 'time.sleep', 'schedule': 30.0, 'args': (1,)}}\n"
    )

    answer = gnomon("celery-beat", "beat_of_a_shop")

    assert answer.exit_code == 0, answer.stderr
    assert tomllib.loads(answer.stdout)["jobs"] == [{"id": "wait", "func": "time:sleep", "every": "30s", "args": [1]}]


def filled(store: object) -> None:
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    scheduler.start(paused=True)
    scheduler.add_job("time:sleep", "cron", hour=3, args=[1], id="nightly")
    scheduler.add_job("time:sleep", "date", run_date=datetime.now(UTC) + timedelta(days=1), args=[1], id="once")
    scheduler.shutdown()


def test_a_job_store_in_sqlite_becomes_the_jobs_of_a_config(folder: Path) -> None:
    store = SQLAlchemyJobStore("sqlite:///jobs.db", tablename="mine")
    filled(store)
    store.engine.dispose()

    answer = gnomon("apscheduler", "sqlite:///jobs.db", "--table", "mine")

    assert answer.exit_code == 0, answer.stderr
    nightly, once = tomllib.loads(answer.stdout)["jobs"]
    assert (nightly["id"], nightly["cron"]) == ("nightly", "0 3 * * *")
    assert isinstance(once["at"], datetime)
    assert json.dumps(nightly["args"]) == "[1]"


def test_a_job_store_in_redis_becomes_the_jobs_of_a_config(folder: Path) -> None:
    server = RedisServer(find_redis(), folder)
    server.start()
    try:
        store = RedisJobStore(host="127.0.0.1", port=server.port)
        filled(store)
        store.redis.close()
        answer = gnomon("apscheduler", server.url)
    finally:
        server.clean_up()

    assert answer.exit_code == 0, answer.stderr
    assert [job["id"] for job in tomllib.loads(answer.stdout)["jobs"]] == ["nightly", "once"]


def test_a_database_that_does_not_exist_is_named_and_not_created(folder: Path) -> None:
    answer = gnomon("apscheduler", "sqlite:///nothing.db")

    assert answer.exit_code == 1
    assert "there is no file 'nothing.db'" in answer.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///nothing.db", "nosuchdb://localhost/x"])
def test_a_url_that_leads_to_no_job_store_is_an_error(url: str) -> None:
    answer = gnomon("apscheduler", url)

    assert answer.exit_code == 1
    assert answer.stderr.startswith("gnomon: ")
    assert "Traceback" not in answer.stderr
