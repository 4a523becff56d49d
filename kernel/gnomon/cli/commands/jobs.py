"""`gnomon jobs`: list the jobs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, outer_options, reason_option, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from rich.text import Text

    from gnomon.cli.access.job_listing import JobListing
    from gnomon.cli.access.reached_kernel import ReachedKernel
    from gnomon.cli.access.shown_job import Order, ShownJob
    from gnomon.domain.job_order import JobOrder
    from gnomon.domain.job_preview import JobPreview


_dry_run = click.option("--dry-run", is_flag=True, help="Show problems, or the fires that change; change nothing.")
_expect_version = click.option(
    "--expect-version", type=int, metavar="N", help="Refuse if the job has another version, as `jobs show` has it."
)


@click.group("jobs", invoke_without_command=True)
@config_option
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, url: str | None, as_json: bool) -> None:
    """List the jobs: state, next fire, last run, schedule. Works with or without a running kernel."""
    if ctx.invoked_subcommand is not None:
        return
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json

    found = asyncio.run(_read(reach(ctx, config, url)))
    if as_json:
        print_json(found)
    else:
        _print(found)


@command.command("show")
@click.argument("job_id", metavar="JOB")
@config_option
@url_option
@json_option
@click.pass_context
def show(ctx: click.Context, job_id: str, config: Path | None, url: str | None, as_json: bool) -> None:
    """Show one job: where it is defined, when it is due, and its keys as a config has them."""
    from gnomon.cli.output.job_text import job_lines
    from gnomon.cli.output.json_output import print_json

    async def read(kernel: ReachedKernel) -> ShownJob:
        async with kernel:
            return await kernel.job(job_id)

    shown = asyncio.run(read(_reach(ctx, config, url)))
    if as_json or outer_options(ctx).get("as_json"):
        print_json(shown)
    else:
        for line in job_lines(shown):
            echo(line)


@command.command("add")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--id", "job_id", metavar="ID", help="The id of the job.")
@click.option("--func", metavar="FUNC", help='"package.module:function", or the id of a declared job.')
@click.option("--cron", metavar="CRON", help='Such as "0 18 * * 1-5".')
@click.option("--every", metavar="DURATION", help='Such as "10m".')
@click.option("--at", metavar="TIME", help="Once, such as 2026-12-01T18:00:00+08:00.")
@click.option("--set", "assigned", multiple=True, metavar="KEY=VALUE", help="Any key, such as kwargs.market=cn.")
@click.option("--owner", metavar="OWNER", help="The set of jobs to which it belongs.")
@click.option("--replace", is_flag=True, help="Replace the job with this id that was added before.")
@_dry_run
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def add(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    file: str | None,
    job_id: str | None,
    func: str | None,
    cron: str | None,
    every: str | None,
    at: str | None,
    assigned: tuple[str, ...],
    owner: str | None,
    replace: bool,
    dry_run: bool,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Add a job to the running kernel; it is there again after a restart.

    Its keys are those of a table [[jobs]] in the config: in FILE, a TOML or JSON file (- for standard input), in
    options, or with --set. A FILE with several jobs adds all of them, or none. --dry-run shows what it would do, and
    changes nothing.
    """
    from gnomon.cli.input.job_keys import read_job_keys, read_many_jobs
    from gnomon.domain.job_order import JobOrder

    if file is not None and file != "-" and (jobs := read_many_jobs(file)):
        if replace or assigned or any([job_id, func, cron, every, at]):
            raise click.UsageError(f"{file} has {len(jobs)} jobs: keys and --replace are for a file with one job")
        _add_many(
            _reach(ctx, config, url), jobs, owner, reason, dry_run=dry_run, as_json=_is_json(ctx, as_json=as_json)
        )
        return
    keys = read_job_keys(file, assigned)
    given = {"id": job_id, "func": func, "cron": cron, "every": every, "at": at}
    keys |= {key: value for key, value in given.items() if value is not None}
    order = JobOrder(how="replace" if replace else "add", job_id=str(keys.get("id", "")), keys=keys, owner=owner)
    if not dry_run and not isinstance(keys.get("id"), str):
        raise click.UsageError("the job has no id: give --id, or the key `id` in FILE")
    _carry_out(_reach(ctx, config, url), order, reason, dry_run=dry_run, as_json=_is_json(ctx, as_json=as_json))


@command.command("edit")
@click.argument("job_id", metavar="JOB")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--set", "assigned", multiple=True, metavar="KEY=VALUE", help="A key, such as cron='0 9 * * *'.")
@click.option("--unset", "removed", multiple=True, metavar="KEY", help="A key to remove, such as timeout.")
@_expect_version
@_dry_run
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def edit(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    job_id: str,
    file: str | None,
    assigned: tuple[str, ...],
    removed: tuple[str, ...],
    expect_version: int | None,
    dry_run: bool,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Change keys of a job that was added at run time; other keys stay.

    FILE has the keys that change; in JSON, null removes one. A job of the config is changed there.
    """
    from gnomon.cli.input.job_keys import read_job_keys
    from gnomon.domain.job_order import JobOrder

    changes = read_job_keys(file, assigned, removed)
    if not changes:
        raise click.UsageError("nothing to change: give --set KEY=VALUE, --unset KEY or FILE")
    order = JobOrder(how="change", job_id=job_id, keys=changes, expect_version=expect_version)
    _carry_out(_reach(ctx, config, url), order, reason, dry_run=dry_run, as_json=_is_json(ctx, as_json=as_json))


@command.command("remove")
@click.argument("job_id", metavar="JOB")
@_expect_version
@reason_option
@config_option
@url_option
@json_option
@click.pass_context
def remove(
    ctx: click.Context,
    job_id: str,
    expect_version: int | None,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Remove a job that was added at run time. Its runs stay in the log, and running bodies go on."""
    from gnomon.domain.job_order import JobOrder

    order = JobOrder(how="remove", job_id=job_id, expect_version=expect_version)
    _carry_out(_reach(ctx, config, url), order, reason, dry_run=False, as_json=_is_json(ctx, as_json=as_json))


def _carry_out(kernel: ReachedKernel, order: JobOrder, reason: str | None, *, dry_run: bool, as_json: bool) -> None:
    from gnomon.cli.output.json_output import print_json

    if dry_run:
        _print_preview(asyncio.run(_preview(kernel, order)), as_json=as_json)
        return

    async def send() -> Order:
        async with kernel:
            return await kernel.order_job(order, reason=reason, idempotency_key=None)

    done = asyncio.run(send())
    if as_json:
        print_json({"id": order.job_id, "version": done.version, "is_new": done.is_new})
    else:
        word = "removed" if order.how == "remove" else "added" if done.is_new else "changed"
        echo(f"{order.job_id} is {word} (version {done.version})")


def _add_many(
    kernel: ReachedKernel,
    jobs: list[dict[str, Any]],
    owner: str | None,
    reason: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from gnomon.cli.output.json_output import print_json

    async def send() -> list[Order]:
        async with kernel:
            return await kernel.order_jobs(jobs, owner=owner, reason=reason)

    async def preview() -> list[JobPreview]:
        async with kernel:
            return [await kernel.preview_job(keys) for keys in jobs]

    if dry_run:
        _print_previews(asyncio.run(preview()), as_json=as_json)
        return
    added = zip(jobs, asyncio.run(send()), strict=True)
    if as_json:
        print_json([{"id": keys["id"], "version": one.version, "is_new": one.is_new} for keys, one in added])
    else:
        for keys, one in added:
            echo(f"{keys['id']} is added (version {one.version})")


def _print_previews(found: list[JobPreview], *, as_json: bool) -> None:
    """Print what the orders of a list would do, or raise ConfigError with every problem."""
    from gnomon.cli.output.job_text import preview_lines
    from gnomon.cli.output.json_output import print_json
    from gnomon.errors import ConfigError

    if as_json:
        print_json(found)
    for number, one in enumerate(found):
        for warning in one.warnings:
            echo(f"warning: jobs[{number}].{warning}", err=True)
    if problems := [f"jobs[{number}].{problem}" for number, one in enumerate(found) for problem in one.problems]:
        raise ConfigError(problems)
    if not as_json:
        for one in found:
            for line in preview_lines(one):
                echo(line)
        echo("nothing was changed: this is a dry run", err=True)


async def _preview(kernel: ReachedKernel, order: JobOrder) -> JobPreview:
    async with kernel:
        keys = order.keys
        if order.how == "change":
            from gnomon.jobs.merge_patch import patched_definition

            keys = patched_definition((await kernel.job(order.job_id)).definition, order.keys)
        return await kernel.preview_job(keys)


def _print_preview(found: JobPreview, *, as_json: bool) -> None:
    """Print what an order would do, or raise ConfigError with every problem."""
    from gnomon.cli.output.job_text import preview_lines
    from gnomon.cli.output.json_output import print_json
    from gnomon.errors import ConfigError

    if as_json:
        print_json(found)
    for warning in found.warnings:
        echo(f"warning: {warning}", err=True)
    if found.problems:
        raise ConfigError([str(problem) for problem in found.problems])
    if not as_json:
        for line in preview_lines(found):
            echo(line)
        echo("nothing was changed: this is a dry run", err=True)


def _is_json(ctx: click.Context, *, as_json: bool) -> bool:
    return as_json or bool(outer_options(ctx).get("as_json"))


def _reach(ctx: click.Context, config: Path | None, url: str | None) -> ReachedKernel:
    from gnomon.cli.access.resolve import reach_of_subcommand

    return reach_of_subcommand(ctx, config, url)


async def _read(kernel: ReachedKernel) -> list[JobListing]:
    async with kernel:
        return await kernel.jobs()


def _print(found: list[JobListing]) -> None:
    from gnomon.cli.output.tables import Column, print_table

    columns = [
        Column("job", 12),
        Column("name", 12, 3),
        Column("state", 9),
        Column("next fire", 23, no_wrap=True),
        Column("last run", 18),
        Column("running", 7, 1, right=True),
        Column("schedule", 16, 2),
    ]
    # A deployment whose jobs are all in its config needs none.
    shows_origin = any(job.origin in {"api", "attached"} for job in found)
    if shows_origin:
        columns.insert(2, Column("origin", 6))
    now = datetime.now(UTC)
    print_table(columns, [_row(job, now, shows_origin=shows_origin) for job in found])


def _row(job: JobListing, now: datetime, *, shows_origin: bool) -> tuple[str | Text, ...]:
    from rich.text import Text

    from gnomon.cli.output.states import style_of, with_glyph
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import length, moment

    last = job.last_run
    state = "overdue" if job.overdue else job.state
    by = f" by {job.paused_by}" if job.paused_by else ""
    ran = Text("never")
    if last is not None:
        ago = length((now - last.timestamp).total_seconds())
        ran = Text(f"{with_glyph(last.status)}, {ago} ago", style_of(last.status))
    return (
        job.id,
        "" if job.display_name == job.id else job.display_name,
        *((job.origin or "",) if shows_origin else ()),
        Text(f"{with_glyph(state)}{by}", style_of(state)),
        moment(job.next_fire, timezone_or_utc(job.timezone)),
        ran,
        str(len(job.running) or "-"),
        job.schedule if job.problem is None else f"cannot run: {job.problem}",
    )
