"""Schedules without a fire to come, as `check` and `plan` show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gnomon.cli import main

CONFIG = """
[plugins.sqlite]
path = "gnomon.db"

[[jobs]]
id = "once"
func = "time:time"
at = 2020-01-01T00:00:00Z

[[jobs]]
id = "ended"
func = "time:time"
every = "1h"
end = 2020-01-01T00:00:00Z

[[jobs]]
id = "hourly"
func = "time:time"
every = "1h"
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gnomon.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "250"})
    assert result.exit_code == 0
    return result.stdout


def test_a_check_warns_of_each_of_them() -> None:
    warnings = json.loads(run("check", "--json"))["warnings"]

    assert len(warnings) == 2
    assert warnings[0].startswith("job 'once'.at: 2020-01-01 00:00 UTC is past, and no other fire comes")
    assert warnings[1].startswith(
        "job 'ended'.end: never fires: the end, 2020-01-01 00:00:00+00:00, is before the next"
    )
    assert "2020-01-01 00:00 UTC (past)" in run("check")


def test_a_plan_notes_each_of_them() -> None:
    jobs = {job["job_id"]: job["notes"] for job in json.loads(run("plan", "--json"))["jobs"]}

    assert [len(jobs[job_id]) for job_id in ("once", "ended", "hourly")] == [1, 1, 0]
    assert jobs["ended"][0].startswith("end: never fires")
    assert "at: 2020-01-01 00:00 UTC is past" in run("plan")
