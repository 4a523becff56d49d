"""`gnomon alerts`: list alerts, as a check for cron and CI too; acknowledge, snooze and resolve them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, outer_options, reason_option, url_option
from gnomon_alerts.delivery.command import channels_command, test_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gnomon.client.alerts import Verb
    from gnomon.durations import Duration
    from gnomon_alerts.acts import Act

STATES = ("open", "firing", "acknowledged", "snoozed", "resolved", "all")
SEVERITIES = ("info", "warning", "error", "critical")


@click.group("alerts", invoke_without_command=True)
@click.option(
    "--state", type=click.Choice(STATES), default="open", show_default=True, help="Only alerts in this state."
)
@click.option("--job", "job_id", metavar="JOB", help="Only alerts about this job.")
@click.option("--rule", metavar="RULE", help="Only alerts of this rule.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only alerts of this severity or a higher one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--exit-code", "checks", is_flag=True, help="Exit with 1 where an alert that is listed is firing.")
@config_option
@url_option
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    ctx: click.Context,
    state: str,
    job_id: str | None,
    rule: str | None,
    severity: str | None,
    limit: int,
    checks: bool,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """List alerts, the most urgent first; by default those that have not ended.

    The log alone is read, so this works without a running kernel. With --exit-code it is a check for cron and CI: 1
    where an alert that matches is firing, 0 where none is, and an acknowledged or snoozed one is not.
    """
    if ctx.invoked_subcommand is not None:
        return
    import asyncio

    from gnomon.cli import EXIT_FAILURE
    from gnomon.cli.access.resolve import reach
    from gnomon.cli.output.json_output import print_json
    from gnomon_alerts.output import print_alerts
    from gnomon_alerts.reached_alerts import list_alerts

    kernel = reach(ctx, config, url)
    filters = {"state": state, "job_id": job_id, "rule": rule, "severity": severity}
    page = asyncio.run(list_alerts(kernel, filters, limit))
    if as_json:
        print_json(page)
    else:
        print_alerts(page, kernel.zone)
    if checks and any(alert.state == "firing" for alert in page.alerts):
        ctx.exit(EXIT_FAILURE)


command.add_command(test_command)
command.add_command(channels_command)


def _many(function: Callable[..., None]) -> Callable[..., None]:
    """Add what selects the alerts of an act."""
    for option in (
        click.argument("alert_ids", metavar="[ALERT]...", nargs=-1),
        click.option("--job", "job_id", metavar="JOB", help="All open alerts about this job."),
        click.option("--rule", metavar="RULE", help="All open alerts of this rule."),
        reason_option,
        config_option,
        url_option,
        json_option,
        click.pass_context,
    )[::-1]:
        function = option(function)
    return function


@command.command("ack")
@click.option("--until", metavar="WHEN", help='Until then, an ISO 8601 time, or for a duration such as "2h".')
@click.option("--until-next", is_flag=True, help="Until it happens again.")
@click.option("--undo", is_flag=True, help="Take the acknowledgement back.")
@_many
def ack(ctx: click.Context, until: str | None, until_next: bool, undo: bool, **rest: Any) -> None:
    """Acknowledge alerts: someone takes care of them, until they are resolved.

    ALERT is an id, or as much of its beginning as is unique.
    """
    from gnomon_alerts.acts import acknowledgement

    def build(now: datetime, reason: str | None, zone: Any) -> Act:
        end = _end_of(until, now, zone)
        return acknowledgement(until=end, until_next=until_next, undo=undo, actor=None, reason=reason, now=now)

    _act(ctx, "ack", build, **rest)


@command.command("snooze")
@click.option("--for", "length", metavar="DURATION", help='For so long, such as "2h"; 1 h by default.')
@click.option("--until", metavar="WHEN", help="Until then, an ISO 8601 time.")
@click.option("--undo", is_flag=True, help="Take the snooze back.")
@_many
def snooze(ctx: click.Context, length: str | None, until: str | None, undo: bool, **rest: Any) -> None:
    """Snooze alerts: nobody wants to hear of them for a while."""
    from gnomon_alerts import acts

    def build(now: datetime, reason: str | None, zone: Any) -> Act:
        span = _duration(length) if length is not None else None
        end = _end_of(until, now, zone)
        return acts.snooze(until=end, length=span, undo=undo, actor=None, reason=reason, now=now)

    _act(ctx, "snooze", build, **rest)


@command.command("resolve")
@_many
def resolve(ctx: click.Context, **rest: Any) -> None:
    """Resolve alerts by hand: what they are about opens others when it happens again."""
    from gnomon_alerts.acts import resolution

    _act(ctx, "resolve", lambda _now, reason, _zone: resolution(actor=None, reason=reason), **rest)


def _act(  # noqa: PLR0913 - the options that all acts share
    ctx: click.Context,
    verb: Verb,
    build: Callable[[datetime, str | None, Any], Act],
    *,
    alert_ids: tuple[str, ...],
    job_id: str | None,
    rule: str | None,
    reason: str | None,
    config: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    import asyncio
    from datetime import UTC, datetime

    from gnomon.cli.access.resolve import reach_of_subcommand
    from gnomon.cli.output.json_output import print_json
    from gnomon_alerts.output import print_outcomes
    from gnomon_alerts.reached_alerts import act_on

    if not alert_ids and job_id is None and rule is None:
        raise click.UsageError("name the alerts: give their ids, --job or --rule; `gnomon alerts` lists them")
    kernel = reach_of_subcommand(ctx, config, url)
    act = build(datetime.now(UTC), reason, kernel.zone)
    outcomes = asyncio.run(act_on(kernel, verb, act, list(alert_ids), job_id=job_id, rule=rule))
    if as_json or outer_options(ctx).get("as_json"):
        print_json(outcomes)
    else:
        print_outcomes(outcomes, verb, is_undone=bool(act.facts.get("withdrawn")))
    if not outcomes or any(one.error is not None for one in outcomes):
        ctx.exit(1)


def _duration(text: str) -> Duration:
    from gnomon.durations import Duration

    try:
        return Duration.parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--for") from None


def _end_of(text: str | None, now: datetime, zone: Any) -> datetime | None:
    """Return a time to come: an ISO 8601 time, in the zone of the deployment without an offset, or a duration."""
    from datetime import datetime as moment

    from gnomon.durations import Duration

    if text is None:
        return None
    try:
        return now + Duration.parse(text)
    except ValueError:
        pass
    try:
        found = moment.fromisoformat(text)
    except ValueError:
        example = f'expected an ISO 8601 time or a duration such as "2h", got {text!r}'
        raise click.BadParameter(example, param_hint="--until") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone) if zone else found.astimezone()
