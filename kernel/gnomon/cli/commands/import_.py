"""`gnomon import`: write the jobs of another scheduler as jobs of a config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from gnomon.cli.input.utf8 import decode_file
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.integrations.job_import import JobImport

SYSTEM_CRONTABS = (Path("/etc/crontab"), Path("/etc/cron.d"))

timezone_option = click.option(
    "--timezone", default="UTC", show_default=True, help="The time zone of the deployment, as in [kernel]."
)


@click.group("import")
def command() -> None:
    """Write the jobs of another scheduler as jobs of a config.

    The tables go to standard output, for a config file; a report of what could not be taken goes to standard error. It
    changes nothing. Exits with 1 if jobs could not be taken.
    """


@command.command("crontab")
@click.argument("file", type=click.File("rb"))
@click.option("--system/--user", "has_users", default=None, help="Whether lines name a user; /etc/cron* have one.")
@timezone_option
@click.pass_context
def crontab(ctx: click.Context, file: BinaryIO, has_users: bool | None, timezone: str) -> None:
    """Import a crontab: `crontab -l | gnomon import crontab -`.

    Each line becomes a job that runs its command with `gnomon_chores:shell`. Variables, CRON_TZ, @daily and its kind,
    @reboot, comments above a line and `%` are kept.
    """
    from gnomon.integrations.crontab import read_crontab

    source = getattr(file, "name", "<stdin>")
    if has_users is None:
        path = Path(source)
        has_users = path in SYSTEM_CRONTABS or path.parent in SYSTEM_CRONTABS
    text = decode_file(file.read(), source)
    _print(ctx, read_crontab(text, source=source, has_users=has_users, timezone=timezone))


@command.command("celery-beat")
@click.argument("module")
@timezone_option
@click.pass_context
def celery_beat(ctx: click.Context, module: str, timezone: str) -> None:
    """Import the beat schedule of a Celery application: `gnomon import celery-beat shop.celery:app`.

    The module is imported from the working folder, and the jobs call the functions of the tasks.
    """
    from gnomon.integrations.celery_beat import read_beat_schedule

    sys.path.insert(0, str(Path.cwd()))
    _print(ctx, read_beat_schedule(module, timezone=timezone))


@command.command("apscheduler")
@click.argument("url")
@click.option("--table", default="apscheduler_jobs", show_default=True, help="The table, for a SQL database.")
@timezone_option
@click.pass_context
def apscheduler(ctx: click.Context, url: str, table: str, timezone: str) -> None:
    """Import the jobs of a job store of APScheduler 3: `gnomon import apscheduler sqlite:///jobs.sqlite`.

    URL is that of a SQL database as SQLAlchemy has it, redis:// or mongodb://. Pickled data runs no code. Functions are
    imported from the working folder, to check them with their arguments.
    """
    from gnomon.integrations.apscheduler import import_jobs
    from gnomon.integrations.apscheduler.store_urls import open_store

    sys.path.insert(0, str(Path.cwd()))
    with open_store(url, table) as store:
        _print(ctx, import_jobs(store, timezone=timezone))


def _print(ctx: click.Context, found: JobImport) -> None:
    from gnomon.integrations.job_tables import write_job_tables

    if found.jobs:
        echo(write_job_tables(found.jobs).rstrip())
    for line in found.lines():
        echo(line, err=True)
    if found.refused:
        ctx.exit(1)
