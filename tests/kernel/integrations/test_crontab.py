import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gnomon import Duration, Job, Kernel
from gnomon.integrations.crontab import read_crontab
from gnomon.integrations.job_import import JobImport
from gnomon.integrations.job_tables import write_job_tables
from gnomon.jobs.definition import convert_job

USER = r"""
# m h dom mon dow command
SHELL=/bin/bash
PATH="/usr/local/bin:/usr/bin:/bin"
MAILTO = ops@example.com

# Nightly backup
# of everything
30 2 * * * /opt/backup.sh --all >/dev/null 2>&1

# 5 5 * * * /opt/old.sh
*/15 * * * * cd /srv && python3 sync.py
@daily nice -n 19 /usr/bin/report --day=$(date +\%F)
@reboot /opt/start.sh
CRON_TZ=Asia/Shanghai
0 18 * * mon-fri mail -s report ann%Dear Ann,%the report is ready.
0 18 * * mon-fri /opt/backup.sh
"""


def jobs(text: str, **options: Any) -> dict[str, Job]:
    return {job.id: job for job in read_crontab(text, source="crontab", **options).jobs}


def reasons(found: JobImport) -> dict[str, str]:
    return {one.name: one.reason for one in found.refused}


def test_a_crontab_of_a_user_becomes_jobs() -> None:
    found = read_crontab(USER, source="crontab")
    by_id = {job.id: job for job in found.jobs}

    assert list(by_id) == ["backup", "sync", "report", "start", "mail", "backup-2"]
    assert found.refused == []
    backup = by_id["backup"]
    assert (backup.cron, backup.catch_up, backup.overlap) == ("30 2 * * *", "none", "allow")
    assert backup.description == "Nightly backup of everything"
    assert backup.kwargs["argv"] == ["/bin/bash", "-c", "/opt/backup.sh --all >/dev/null 2>&1"]
    assert backup.kwargs["env"] == {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    assert backup.kwargs["cwd"] == str(Path.home())


def test_a_switched_off_entry_describes_nothing() -> None:
    assert jobs(USER)["sync"].description == ""


def test_a_percent_sign_with_a_backslash_is_one() -> None:
    assert jobs(USER)["report"].kwargs["argv"][2] == "nice -n 19 /usr/bin/report --day=$(date +%F)"


def test_reboot_is_a_run_at_each_start_of_the_kernel() -> None:
    start = jobs(USER)["start"]

    assert start.at_start
    assert not start.has_schedule


def test_a_zone_is_in_force_from_its_line_on() -> None:
    found = jobs(USER)

    assert found["backup"].timezone is None
    assert found["mail"].timezone == "Asia/Shanghai"


async def test_what_follows_a_percent_sign_is_the_standard_input(tmp_path: Path) -> None:
    (job,) = jobs(f"* * * * * cat > {tmp_path}/out%Dear Ann,%it's 5\\%").values()

    async with Kernel(jobs=[job]) as kernel:
        run = await kernel.trigger(job.id)
        done = await kernel.wait(run.execution.id)

    assert done.status == "success", done.error_message
    assert (tmp_path / "out").read_text() == "Dear Ann,\nit's 5%\n"


def test_a_crontab_of_the_system_has_users() -> None:
    found = read_crontab(
        "17 * * * * backup cd / && run-parts /etc/cron.hourly\n", source="/etc/crontab", has_users=True
    )

    (job,) = found.jobs
    assert job.kwargs["argv"][2] == "cd / && run-parts /etc/cron.hourly"
    assert "cwd" not in job.kwargs
    assert any("as 'backup'" in note.text for note in found.notes)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("61 * * * * true", "the minute field '61'"),
        ("0 0 30 2 * true", "never fires"),
        ("0 0 * * *", "has no command"),
        ("@fortnightly true", "@fortnightly"),
        ("0~59 * * * * true", "the minute field '0~59'"),
        ("CRON_TZ=Mars/Olympus", "CRON_TZ is not taken"),
    ],
)
def test_what_cannot_be_taken_has_its_line_and_the_reason(line: str, reason: str) -> None:
    found = read_crontab(f"# first\n{line}\n1 1 * * * true\n", source="crontab")

    assert list(reasons(found)) == ["line 2"]
    assert reason in reasons(found)["line 2"]
    assert len(found.jobs) == 1


def test_mail_and_the_policies_of_cron_are_noted() -> None:
    notes = " ".join(note.text for note in read_crontab(USER, source="crontab").notes)

    assert "MAILTO is not taken" in notes
    assert 'overlap = "allow"' in notes


def test_the_tables_of_jobs_are_read_back_as_the_same_jobs() -> None:
    strange = Job(
        id="strange",
        func="time:sleep",
        description='quotes " \\ and\nlines \x7f',
        at=datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=8))),
        args=[1.5, True, "x", [], {}],
        kwargs={"a key": {"b": [1]}},
        grace=Duration(minutes=5),
        timezone="UTC",
    )
    limited = Job(id="limited", func="time:time", cron="0 3 * * *", start=datetime(2030, 1, 1, tzinfo=UTC))
    found = [*jobs(USER).values(), strange, limited]

    tables = tomllib.loads(write_job_tables(found))["jobs"]

    assert [convert_job(table).definition() for table in tables] == [
        convert_job(job.definition()).definition() for job in found
    ]
