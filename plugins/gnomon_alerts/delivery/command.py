"""`gnomon alerts test` and `gnomon alerts channels`: whether notifications get through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli.input.options import config_option, json_option, outer_options
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon_alerts.delivery.config import Channel

NO_CHANNELS = "there are no channels in the config: add [[plugins.alerts.channels]]"


@click.command("test")
@click.argument("channel")
@config_option
@click.pass_context
def test_command(ctx: click.Context, channel: str, config: Path | None) -> None:
    """Send a test notification to CHANNEL, once, and print what came back.

    It is sent from this machine, with or without a running kernel, and nothing is recorded. The exit code is 1 where
    the channel does not accept it.
    """
    import asyncio

    from gnomon.cli import EXIT_FAILURE
    from gnomon_alerts.delivery.trial import try_channel

    settings, channels = _channels(ctx, config)
    known = {one.name: one for one in channels}
    if channel not in known:
        hint = f"the channels are {', '.join(map(repr, sorted(known)))}" if known else NO_CHANNELS
        raise click.UsageError(f"there is no channel {channel!r}; {hint}")
    outcome = asyncio.run(try_channel(known[channel], settings.kernel.node))
    echo(outcome.text)
    if not outcome.is_accepted:
        ctx.exit(EXIT_FAILURE)


@click.command("channels")
@config_option
@json_option
@click.pass_context
def channels_command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """List the channels: when each last accepted a notification, what waits for it, and what is wrong.

    The log alone is read, so this works without a running kernel.
    """
    import asyncio

    from gnomon.cli.access.stored_log import find_store, open_log
    from gnomon.cli.output.json_output import print_json
    from gnomon.scheduling.timezones import timezone_or_utc
    from gnomon.text import moment
    from gnomon_alerts.delivery.deliveries import ChannelHealth, health_of
    from gnomon_alerts.delivery.ledger import CHECKPOINT
    from gnomon_alerts.reading import read_book

    settings, channels = _channels(ctx, config)

    async def read() -> list[ChannelHealth]:
        async with open_log(find_store(settings)) as log:
            return health_of(channels, await log.checkpoint(CHECKPOINT), await read_book(log))

    found = asyncio.run(read())
    if as_json:
        print_json(found)
        return
    if not found:
        echo(NO_CHANNELS)
    zone = timezone_or_utc(settings.kernel.timezone)
    for one in found:
        last = f"last accepted {moment(one.accepted_at, zone)}" if one.accepted_at else "nothing accepted yet"
        echo(f"{one.name} ({one.kind}): {last}, {one.waiting} waiting")
        if one.problem:
            echo(f"  {one.problem}")


def _channels(ctx: click.Context, config: Path | None) -> tuple[Any, list[Channel]]:
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.conversion import convert
    from gnomon_alerts.plugin import AlertsPlugin

    outer: dict[str, Any] = outer_options(ctx)
    settings = read_local_config(ctx, config or outer.get("config"), outer.get("url"), needs="the channels")
    section = settings.sections.get("alerts")
    if section is None:
        raise click.UsageError("the config has no section [plugins.alerts]")
    return settings, convert(section, AlertsPlugin.Config, "plugins.alerts", settings.directory).channels
