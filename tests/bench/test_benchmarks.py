"""Each benchmark runs, at a size that measures nothing, and says what it found: one JSON line and one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fault_runs import IS_LONG
from postgres_servers import find_postgres
from servers import find_chromium

BENCH = Path(__file__).parents[2] / "bench"
PROGRAMS = {
    "burst": "--jobs 20 --pairs 1",
    "cliff": "--jobs 20",
    "listener": "--jobs 20 --pairs 1",
    "steady": "--rate 20 --seconds 1 --pairs 1",
    "append": "--events 1500 --jobs 10 --pairs 1",
    "mongo_append": "--appends 4 --latency 2",
    "postgres_append": "--events 1500 --jobs 10 --pairs 1",
    "triggers": "--tasks 20 --pairs 1",
    "plugins": "--runs 20",
    "replay": "--events 1000",
    "pages": "--executions 400",
    "timeline": "--runs 400",
    "folds": "--jobs 20 --seconds 2",
    "dashboard": "--jobs 60 --executions 400",
    "live_page": "--events 30 --seconds 2",
    "many_jobs": "--jobs 20 --seconds 0",
    "imports": "--times 1",
    "followers": "--seconds 1 --rate 20 --viewers 1 --singles 2 --rounds 1 --mongo 0",
    "work_queue": "--tasks 20 --callers 4 --pairs 1",
    "celery_runs": "--runs 50 --rate 20 --seconds 1 --tasks 20 --pairs 1 --concurrency 1",
    "postgres_lists": "--executions 400 --requests 2",
    "postgres_retention": "--events 3000 --days 3",
    "postgres_partitions": "--partitions 3 --runs 60 --requests 2",
    "postgres_peers": "--tasks 50 --paced 10 --rounds 1",
}

ON_POSTGRES = {name for name in PROGRAMS if name.startswith("postgres")}
IN_CHROMIUM = {"dashboard", "live_page"}


LONG = {"followers": "--seconds 1 --rate 20 --viewers 1 --singles 2 --rounds 1"}
"""The same with MongoDB, which takes half a minute more."""


@pytest.mark.skipif(not IS_LONG, reason="takes a minute")
@pytest.mark.parametrize("program", LONG)
def test_a_long_benchmark_prints_one_json_line_and_one_sentence(program: str) -> None:
    check(program, LONG[program])


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_prints_one_json_line_and_one_sentence(program: str) -> None:
    if program in IN_CHROMIUM:
        find_chromium()
    if program in ON_POSTGRES:
        find_postgres()
    check(program, PROGRAMS[program])


def check(program: str, options: str) -> None:
    command = [sys.executable, str(BENCH / f"{program}.py"), *options.split()]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert json.loads(first)["sentence"] == second
    assert second.endswith(".")


def test_every_benchmark_is_run_by_all_and_tested_here() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import all; print(*all.PROGRAMS)"],
        cwd=BENCH,
        capture_output=True,
        text=True,
        check=True,
    )

    assert set(listed.stdout.split()) == PROGRAMS.keys()
