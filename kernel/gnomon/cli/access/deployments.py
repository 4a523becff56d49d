"""How a command finds its deployment, makes a kernel of it, or looks into its log without one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from gnomon.cli.output.log_output import begin_log
from gnomon.deployment.assembly import Deployment, assemble
from gnomon.deployment.config import Config, find_config, load_config
from gnomon.errors import GnomonError, NoLogError, UnknownJobError
from gnomon.jobs.job import Job
from gnomon.kernel import Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore
from gnomon.text import close_match

NOTHING_YET = "nothing has run yet: start it with `gnomon run`"


def read_config(
    ctx: click.Context, *given: Path | None, log_level: str = "warning", log_format: str | None = None
) -> Config:
    """Read the config that the command line names, in a command's own way or as global option, or the default one.

    From here on foreign code is imported and may log, so this is where logging is set up: to stderr.
    """
    begin_log(log_level, log_format)
    named = {path for path in (*given, ctx.find_root().params.get("config")) if path is not None}
    if len(named) > 1:
        raise click.UsageError(f"one config file is enough, but there are {' and '.join(sorted(map(str, named)))}")
    config = load_config(find_config(next(iter(named), None), os.environ))
    os.chdir(config.directory)  # paths among the arguments of jobs are counted from there too
    return config


def make_kernel(
    deployment: Deployment,
    *,
    store: Store | None = None,
    jobs: Iterable[Job] | None = None,
    plugins: PluginSet | None = None,
    keeps_time: bool = True,
) -> Kernel:
    """Make the kernel that a deployment describes; what is given here takes the place of what is there."""
    settings = deployment.config.kernel
    return Kernel(
        store=store or deployment.store,
        jobs=deployment.registered_jobs if jobs is None else jobs,
        plugins=deployment.plugins if plugins is None else plugins,
        timezone=settings.timezone,
        node=settings.node,
        max_running=settings.max_running,
        drain=settings.drain,
        hook_timeout=settings.hook_timeout,
        keeps_time=keeps_time,
    )


def find_job(deployment: Deployment, job_id: str) -> Job:
    """Return the job with that id; UnknownJobError names one that is spelled nearly so."""
    jobs = {job.id: job for job in deployment.jobs}
    if job_id not in jobs:
        raise UnknownJobError(job_id, close_match(job_id, jobs) or f"; known are {', '.join(sorted(jobs)) or 'none'}")
    return jobs[job_id]


def assemble_store(config: Config) -> Store:
    """Return the store of a deployment without importing its jobs: its log can be read when they are broken."""
    kernel = msgspec.structs.replace(config.kernel, modules=[])
    return readable(assemble(msgspec.structs.replace(config, kernel=kernel, jobs=[])).store)


def readable(store: Store) -> Store:
    """Return a store that others than its kernel can read."""
    if type(store) is MemoryStore:  # a store that is derived from it may keep what it has
        raise GnomonError(
            "the log of this deployment is in its kernel's memory, where only the kernel sees it: serve it with the "
            "plugin web and use --url, or keep the log in a store such as sqlite"
        )
    return store


@asynccontextmanager
async def reading(store: Store) -> AsyncIterator[Store]:
    """Open a log to be read, beside a running kernel or without one; where there is none yet, it reads as empty."""
    try:
        await store.open(read_only=True)
    except NoLogError:
        store = MemoryStore()
        await store.open(read_only=True)
    try:
        if await store.head() == 0:
            click.echo(NOTHING_YET, err=True)
        yield store
    finally:
        await store.close()
