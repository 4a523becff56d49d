"""`gnomon check`: print every problem of a config, or when its jobs are due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from gnomon.cli.input.options import config_argument, config_option, json_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.analysis.logged_secrets import LoggedSecret
    from gnomon.deployment.assembly import Deployment
    from gnomon.jobs.job import Job
    from gnomon.plugins.connection_check import Connection

SHOWN_FIRES = 5
POLICIES = (
    *(
        "catch_up",
        "grace",
        "overlap",
        "max_instances",
        "group",
        "priority",
        "after",
        "labels",
        "timeout",
        "silence",
        "cancel_grace",
    ),
    *("retry", "runner", "limits", "paused", "overrides", "options"),
)


@click.command("check")
@config_argument
@click.option("--connect", is_flag=True, help="Also connect to the servers of the plugins.")
@click.option("--log", "reads_log", is_flag=True, help="Also check the log: plain secrets, and jobs that cannot run.")
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, config_file: Path | None, connect: bool, reads_log: bool, config: Path | None, as_json: bool
) -> None:
    """Check a config, and show when its jobs are due.

    Exits with 2 if the config is not valid, with 1 if a server cannot be used, or if the log holds what looks like
    secrets in plain text, or jobs added at run time that cannot run. Nothing is started or changed. Intervals are
    counted from now.
    """
    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.deployment.assembly import assemble
    from gnomon.errors import ConfigError

    try:
        deployment = assemble(read_config(ctx, config_file, config, for_runs=True))
        if problem := deployment.store.place_problem():
            raise ConfigError([f"plugins.{deployment.store.name}: {problem}"])
    except ConfigError as exc:
        if not as_json:
            raise
        print_json({"ok": False, "problems": exc.problems, "warnings": [], "jobs": []})
        ctx.exit(2)
    now = datetime.now(UTC)
    jobs = [outlook(job, now) for job in deployment.jobs]
    deployment.warnings.extend(_ended(deployment, now))
    connections = _check_connections(deployment) if connect else []
    problems = [f"{found.plugin}: {found.message}" for found in connections if not found.ok]
    secrets = asyncio.run(_search_log(deployment)) if reads_log else []
    problems += [_logged(secret) for secret in secrets]
    added = asyncio.run(_check_added(deployment)) if reads_log else []
    problems += added
    if as_json:
        answer = {"ok": not problems, "problems": problems, "warnings": deployment.warnings, "jobs": jobs}
        more = {"connections": connections} if connect else {}
        print_json(answer | more | ({"logged_secrets": secrets} if reads_log else {}))
    else:
        _print_jobs(jobs)
        if connect:
            _print_connections(connections)
        for secret in secrets:
            click.echo(f"\nlog: {_logged(secret)}", err=True)
        for problem in added:
            click.echo(f"\nlog: {problem}", err=True)
        for warning in deployment.warnings:
            echo(f"\nwarning: {warning}", err=True)
        _print_verdict(deployment, problems)
    if problems:
        ctx.exit(1)


def _check_connections(deployment: Deployment) -> list[Connection]:
    from gnomon.plugins.connection_check import try_connections
    from gnomon.stores.log_identity import find_refusal

    kernel = deployment.config.kernel
    found = asyncio.run(try_connections(deployment.plugins, kernel.role, kernel.hook_timeout.total_seconds()))
    has_log = any(one.ok and one.plugin == deployment.store.name for one in found)
    if not has_log or kernel.role == "follower" or (refusal := asyncio.run(find_refusal(deployment.store))) is None:
        return found
    return [replace(one, ok=False, message=refusal) if one.plugin == deployment.store.name else one for one in found]


def _ended(deployment: Deployment, now: datetime) -> list[str]:
    """Return which schedules have no fire to come."""
    from gnomon.jobs.ended_schedules import find_end

    ends = [(one.job.id, find_end(one.job, one.trigger, now)) for one in deployment.registered_jobs]
    return [f"job {job_id!r}.{end.key}: {end.text}" for job_id, end in ends if end is not None]


async def _search_log(deployment: Deployment) -> list[LoggedSecret]:
    from gnomon.analysis.logged_secrets import LoggedSecrets
    from gnomon.cli.access.stored_log import open_log, require_shared
    from gnomon.stores.reading import read_log

    found = LoggedSecrets({job.id: job.definition() for job in deployment.jobs})
    async with open_log(require_shared(deployment.store)) as log:
        async for events in read_log(log, 0, await log.head()):
            found.add(events)
    return found.listed()


async def _check_added(deployment: Deployment) -> list[str]:
    """Return what is wrong with the jobs that the log would bring back."""
    from gnomon.cli.access.stored_log import open_log
    from gnomon.errors import JobExistsError

    async with open_log(deployment.store) as log:
        states = await log.jobs(removed=False)
    try:
        jobs = deployment.served_jobs(states)
    except JobExistsError as exc:
        return [str(exc)]
    return [f"job {one.job.id!r} cannot run: {one.problem}" for one in jobs if one.problem is not None]


def _logged(secret: LoggedSecret) -> str:
    events = f"{secret.events:,} event{'s' * (secret.events != 1)}, the last one at position {secret.last_position:,}"
    return (
        f"job {secret.job_id!r}: {secret.place} is in plain text in {events} ({secret.reason}); the log is never "
        'rewritten: replace this secret, and write { env = "NAME" } or { file = "path" } in its place'
    )


def outlook(job: Job, now: datetime) -> dict[str, Any]:
    """Return when a job is due, and its policies that differ from the defaults."""
    from gnomon.analysis.upcoming import upcoming
    from gnomon.jobs.job import explain_schedule
    from gnomon.scheduling.timezones import timezone_or_utc

    zone, found = timezone_or_utc(job.timezone), upcoming(job, None, now, SHOWN_FIRES)
    return {
        "id": job.id,
        "schedule": explain_schedule(job),
        "timezone": job.timezone,
        "past": found.overdue.astimezone(zone) if found.overdue else None,
        "next_fires": [fire.astimezone(zone) for fire in found.fires],
        "policies": policies(job),
    }


def policies(job: Job) -> dict[str, Any]:
    """Return the policies of a job that differ from the defaults, as in JSON."""
    from gnomon.jobs.job import Job

    defaults, definition = Job(id="default", func=policies).definition(), job.definition()
    chosen = {name: definition[name] for name in POLICIES if name in definition}
    return {name: value for name, value in chosen.items() if value != defaults.get(name)}


def _print_jobs(jobs: list[dict[str, Any]]) -> None:
    from gnomon.cli.output.tables import Column, print_table

    columns = [
        Column("job", 12),
        Column("schedule", 18),
        Column("next fires", 23, no_wrap=True),
        Column("policies", 14, 1),
    ]
    rows = [
        (
            job["id"],
            job["schedule"],
            "\n".join(_fires(job)) or "-",
            "\n".join(_policy(name, value) for name, value in job["policies"].items()) or "-",
        )
        for job in jobs
    ]
    print_table(columns, rows)


def _print_connections(connections: list[Connection]) -> None:
    from rich.text import Text

    from gnomon.cli.output.tables import Column, print_table

    if not connections:
        echo("\nno enabled plugin uses a server")
        return
    echo()
    columns = [Column("plugin", 8, no_wrap=True), Column("connection", 10, no_wrap=True), Column("found", 30)]
    words = {True: Text("✔ ok", "green"), False: Text("✘ problem", "red")}
    print_table(columns, [(found.plugin, words[found.ok], found.message) for found in connections])


def _print_verdict(deployment: Deployment, problems: list[str]) -> None:
    source, jobs = deployment.config.source or "the built-in example", len(deployment.jobs)
    found = f"{len(problems)} problem{'s' * (len(problems) != 1)}" if problems else "no problems"
    if deployment.warnings:
        found += f", {len(deployment.warnings)} warning{'s' * (len(deployment.warnings) != 1)}"
    echo(f"\n{source}: {jobs} {'job' if jobs == 1 else 'jobs'}, {found}", err=True)


def _fires(job: dict[str, Any]) -> list[str]:
    from gnomon.text import moment

    past = [f"{moment(job['past'], job['past'].tzinfo)} (past)"] if job["past"] else []
    return [*past, *(moment(fire, fire.tzinfo) for fire in job["next_fires"])]


def _policy(name: str, value: object) -> str:
    """Return a policy as it is written in the config, where keys of plugins stand among the others."""
    if name == "options" and isinstance(value, dict):
        return "\n".join(_policy(key, option) for key, option in value.items())
    return f"{name} = {_value_text(value)}"


def _value_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value_text(item)}" for key, item in value.items() if item is not None)
    return str(value).lower() if isinstance(value, bool) else str(value)
