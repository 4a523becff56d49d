"""`gnomon alerts` on a log without a kernel: a list, and a check for cron."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gnomon import Event
from gnomon.cli import main
from gnomon.testing.histories import NOON, alert_history, append, failed, job_added
from gnomon_alerts.checkpoint import CHECKPOINT
from gnomon_sqlite import SqliteStore
from simulated_log import SimulatedLog

CONFIG = """
[plugins.sqlite]
path = "gnomon.db"
[plugins.alerts]
"""


@pytest.fixture
def gnomon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    config = tmp_path / "gnomon.toml"
    config.write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--config", str(config)], env={"GNOMON_URL": None})

    return run


def write(path: Path, *histories: list[Event], saved: Any = None) -> None:
    async def append_all() -> None:
        async with SqliteStore(path / "gnomon.db") as store:
            await append(store, *histories)
            if saved is not None:
                await store.save_checkpoint(CHECKPOINT, saved)

    asyncio.run(append_all())


def open_alert() -> list[Event]:
    return alert_history("load")[:2]


def test_open_alerts_are_listed_and_fail_a_check(gnomon: Any, tmp_path: Path) -> None:
    write(tmp_path, job_added("load"), open_alert())

    table, document, check = gnomon("alerts"), gnomon("alerts", "--json"), gnomon("alerts", "--exit-code")
    others = gnomon("alerts", "--exit-code", "--rule", "missed")

    assert table.exit_code == 0
    assert "▲ firing" in table.stdout
    assert "1 firing, 0 acknowledged, 0 snoozed" in table.stdout
    (alert,) = json.loads(document.stdout)["alerts"]
    assert (alert["job_id"], alert["count"], alert["state"]) == ("load", 2, "firing")
    assert (check.exit_code, others.exit_code) == (1, 0)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--job", "laod"], 1, "there is no job 'laod'; did you mean 'load'?"),
        (["--rule", "fialed"], 2, "there is no rule 'fialed'; the rules are failed, kernel, late_start, leader"),
        (["--severity", "critical"], 0, ""),
        (["--severity", "warning"], 1, ""),  # and everything above it
    ],
)
def test_a_check_is_passed_by_what_does_not_fire_and_not_by_what_is_misspelt(
    gnomon: Any, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    with (tmp_path / "gnomon.toml").open("a", encoding="utf-8") as config:
        config.write('[[jobs]]\nid = "load"\nfunc = "gnomon_chores:integrity_audit"\nevery = "1d"\n')
    write(tmp_path, job_added("load"), open_alert())

    check = gnomon("alerts", "--exit-code", *options)

    assert check.exit_code == code
    assert said in check.output


def test_an_error_of_several_lines_is_one_row(gnomon: Any, tmp_path: Path) -> None:
    log = SimulatedLog()
    asyncio.run(log.add([*job_added(), *failed(error="no such table\n  prices\n")]))
    write(tmp_path, log.events)

    table = gnomon("alerts").stdout.splitlines()

    assert [line.split()[-1] for line in table] == ["MESSAGE", "table", "snoozed"]


def test_acknowledged_alerts_pass_a_check(gnomon: Any, tmp_path: Path) -> None:
    write(tmp_path, job_added("load"), alert_history("load")[:3])

    check = gnomon("alerts", "--exit-code")

    assert check.exit_code == 0
    assert "✓ acknowledged" in check.stdout
    assert "by ann" in check.stdout


def test_alerts_that_have_ended_are_listed_on_request(gnomon: Any, tmp_path: Path) -> None:
    write(tmp_path, job_added("load"), alert_history("load"))

    few, every = gnomon("alerts"), gnomon("alerts", "--state", "all", "--json")

    assert few.stdout == "no open alerts\n"
    assert [alert["state"] for alert in json.loads(every.stdout)["alerts"]] == ["resolved"]


def test_what_the_plugin_has_saved_is_brought_up_to_the_end_of_the_log(gnomon: Any, tmp_path: Path) -> None:
    log = SimulatedLog()
    asyncio.run(log.add([*job_added(), *failed()]))
    log.save()
    asyncio.run(log.add(failed(at=NOON + timedelta(hours=1))))
    write(tmp_path, log.events, saved=log.saved)

    (alert,) = json.loads(gnomon("alerts", "--json").stdout)["alerts"]

    assert alert["count"] == 2


def test_an_act_names_what_is_missing(gnomon: Any, tmp_path: Path) -> None:
    write(tmp_path, job_added("load"), open_alert())

    nothing, unknown = gnomon("alerts", "ack"), gnomon("alerts", "ack", "abc")
    without_kernel = gnomon("alerts", "ack", "dddd")

    assert (nothing.exit_code, unknown.exit_code, without_kernel.exit_code) == (2, 1, 1)
    assert "give their ids, --job or --rule" in nothing.stderr
    assert "there is no alert 'abc'" in unknown.stderr
    assert "no kernel" in without_kernel.stderr
