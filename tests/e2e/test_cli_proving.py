"""`gnomon audit`, `explain` and `plan`, on logs that were written before."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gnomon.domain.events import Event
from gnomon.testing.histories import append, failed, job_added, missed, succeeded
from gnomon_sqlite.store import SqliteStore

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
HOUR = timedelta(hours=1)
CRON = 'cron = "0 * * * *"'


@pytest.fixture
def begin() -> datetime:
    """The full hour some hours ago: the jobs of the log are due every hour from then on."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 6 * HOUR


@pytest.fixture
def write_log(configure: Configure) -> Callable[..., None]:
    path = configure(tick=CRON)

    async def write(histories: tuple[list[Event], ...]) -> None:
        async with SqliteStore(path.with_name("gnomon.db")) as store:
            await append(store, *histories)

    return lambda *histories: asyncio.run(write(histories))


@pytest.fixture
def added(begin: datetime) -> list[Event]:
    definition = {"id": "tick", "func": "my_jobs:tick", "cron": "0 * * * *", "timezone": "UTC"}
    return job_added("tick", begin, **definition)


def test_an_intact_log_is_proved(
    write_log: Callable[..., None], added: list[Event], begin: datetime, gnomon: Run
) -> None:
    downtime = missed("tick", begin + 3 * HOUR, "downtime", count=2, first=begin + 2 * HOUR, last=begin + 3 * HOUR)
    write_log(added, succeeded("tick", begin + HOUR), downtime)

    done = gnomon("audit", "--since", "1d")
    found = json.loads(gnomon("audit", "--json").stdout)

    assert done.returncode == 0
    assert "✔ proved" in done.stdout
    assert "proved: 3 fires" in done.stderr
    assert found["is_proved"]
    assert [(job["job_id"], job["fires"], job["missed"]) for job in found["jobs"]] == [("tick", 3, 2)]


def test_a_lost_fire_is_found_and_exits_with_1(
    write_log: Callable[..., None], added: list[Event], begin: datetime, gnomon: Run
) -> None:
    write_log(added, succeeded("tick", begin + HOUR), succeeded("tick", begin + 4 * HOUR))

    done, alone = gnomon("audit"), gnomon("audit", "--job", "tick", "--json")

    assert done.returncode == alone.returncode == 1
    assert "✘ 1 finding" in done.stdout
    assert "2 fires" in done.stdout
    assert "NOT proved" in done.stderr
    assert json.loads(alone.stdout)["jobs"][0]["findings"][0]["count"] == 2


def test_explain_prints_sentences_and_json(
    write_log: Callable[..., None], added: list[Event], begin: datetime, gnomon: Run
) -> None:
    write_log(added, succeeded("tick", begin + HOUR))
    asked = (begin + HOUR).isoformat()

    done, found = gnomon("explain", "tick", asked), json.loads(gnomon("explain", "tick", asked, "--json").stdout)

    assert "It ran late, by 1.0 s" in done.stdout
    assert done.stdout.splitlines() == found["sentences"]
    assert found["fires"][0]["executions"][0]["status"] == "success"


def test_explain_tells_of_one_run_that_an_operator_triggered(
    write_log: Callable[..., None], added: list[Event], begin: datetime, gnomon: Run
) -> None:
    run = failed("tick", begin + HOUR, is_manual=True, actor="ann")
    write_log(added, run)

    done, found = gnomon("explain", run[0].stream), json.loads(gnomon("explain", run[0].stream, "--json").stdout)

    first, *_, last = done.stdout.splitlines()
    assert first.startswith(f"Run {run[0].stream} of tick was triggered at ")
    assert first.endswith(" by ann.")
    assert last == "It was not tried again: the job has no retries."
    assert (found["asked"], found["fires"][0]["fate"]) == (run[0].stream, "failed")


def test_explain_refuses_an_invalid_time(configure: Configure, gnomon: Run) -> None:
    configure(tick=CRON)

    done = gnomon("explain", "tick", "yesterday")

    assert done.returncode == 2
    assert "expected a time such as 2026-12-01T18:00" in done.stderr


def test_explain_refuses_an_unknown_job(write_log: Callable[..., None], added: list[Event], gnomon: Run) -> None:
    write_log(added)

    done = gnomon("explain", "tock")

    assert done.returncode == 1
    assert "there is no job 'tock'; did you mean 'tick'?" in done.stderr


def test_plan_shows_what_a_config_would_change(
    write_log: Callable[..., None], added: list[Event], folder: Path, gnomon: Run
) -> None:
    write_log(added)
    other = folder / "other.toml"
    other.write_text((folder / "gnomon.toml").read_text().replace("0 * * * *", "30 * * * *"))

    same, done = gnomon("plan", "gnomon.toml"), gnomon("plan", "other.toml", "--days", "1")
    found = json.loads(gnomon("plan", "other.toml", "--days", "1", "--json").stdout)

    assert same.returncode == done.returncode == 0
    assert "nothing changes" in same.stderr
    assert 'cron: "0 * * * *" → "30 * * * *"' in done.stdout
    assert "0 to add, 1 to change, 0 to remove; 24 fires gained and 24 lost in 1 day" in done.stderr
    assert found["jobs"][0]["gained"]["count"] == 24


def test_plan_shows_the_times_of_a_job_in_its_zone(configure: Configure, gnomon: Run) -> None:
    configure('timezone = "Asia/Shanghai"', tick='cron = "30 9 * * *"\ntimezone = "America/Panama"')

    assert " 09:30 -05," in gnomon("plan").stdout


def test_plan_before_the_first_start_shows_new_jobs(configure: Configure, gnomon: Run) -> None:
    configure(tick='cron = "0 2 * * *"')

    done = gnomon("plan")

    assert done.returncode == 0
    assert done.stdout.startswith("+ tick\n    gains 7 fires: ")


def test_plan_of_an_invalid_config_exits_with_2(configure: Configure, gnomon: Run) -> None:
    configure(tick='cron = "0 25 * * *"')

    done = gnomon("plan")

    assert done.returncode == 2
    assert "jobs[0 'tick'].cron" in done.stderr


def test_nothing_is_proved_where_there_is_no_log(configure: Configure, gnomon: Run) -> None:
    path = configure(tick=CRON).with_name("gnomon.db")

    absent = gnomon("audit")
    path.touch()
    empty = gnomon("audit")

    assert (absent.returncode, empty.returncode) == (1, 1)
    assert f"there is no log at {path}: check `path`, or start a kernel there first" in absent.stderr
    assert f"{path} is an empty file, not a log yet" in empty.stderr
    assert "proved:" not in absent.stderr + empty.stderr
