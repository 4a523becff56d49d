"""`gnomon worker`: a Celery worker for the jobs of a config that have `runner = "celery"`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from gnomon.cli.input.options import LOG_LEVELS, config_argument

DEAF_AFTER_S = 60.0
LEFT_OUT = ("--without-gossip", "--without-mingle", "--without-heartbeat")
"""What Celery's workers exchange among each other: nothing here reads it, and a start would wait a second for it."""


@click.command("worker")
@config_argument
@click.option("--queues", "-Q", metavar="A,B", help="Queues to consume; by default the one of the config.")
@click.option("--concurrency", "-c", type=click.IntRange(min=1), metavar="N", help="Bodies at a time; default: cores.")
@click.option(
    "--pool",
    type=click.Choice(["prefork", "threads", "solo"]),
    default="prefork",
    show_default=True,
    help="Processes, which can be killed, threads of one process, or one body at a time.",
)
@click.option("--name", "hostname", metavar="NAME", help="Name of the worker; default: gnomon-PID@HOST.")
@click.option(
    "--max-runs-per-child",
    "max_tasks_per_child",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace a process after N bodies.",
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option(
    "--deaf-after",
    type=click.FloatRange(min=1.0),
    default=DEAF_AFTER_S,
    show_default=True,
    metavar="SECONDS",
    help="Exit with code 75 when idle for so long although the queues have messages.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config_file: Path | None,
    pool: str,
    log_level: str,
    deaf_after: float,
    **options: Any,
) -> None:
    """Run the bodies of jobs with runner = "celery".

    Reads [plugins.celery] and python_path of a config, and no log: the machine needs the code of the jobs and the
    secrets in their arguments. SIGTERM or Ctrl-C lets running bodies end, a second signal does not wait for them.
    """
    from gnomon.errors import ConfigError

    path = config_file or ctx.find_root().params.get("config") or _configured()
    if path is None:
        raise ConfigError(["a worker needs a config with [plugins.celery]: `gnomon worker CONFIG` or $GNOMON_CONFIG"])

    from gnomon_celery.worker_app import make_worker_app
    from gnomon_celery.worker_config import read_worker_config

    app = make_worker_app(read_worker_config(path, os.environ), deaf_after=deaf_after)
    os.chdir(path.resolve().parent)  # as the kernel does: paths among the arguments of jobs are relative to it
    name = options.pop("hostname") or f"gnomon-{os.getpid()}@%h"
    arguments = ["worker", f"--pool={pool}", f"--loglevel={log_level}", f"--hostname={name}", *LEFT_OUT]
    arguments += [f"--{option.replace('_', '-')}={value}" for option, value in options.items() if value is not None]
    app.worker_main(arguments)


def _configured() -> Path | None:
    named = os.environ.get("GNOMON_CONFIG")
    if named:
        return Path(named)
    return Path("gnomon.toml") if Path("gnomon.toml").exists() else None
