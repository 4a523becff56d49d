"""`gnomon plugins`: list the plugins and their state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.deployment.plugin_loading import PluginInfo


@click.command("plugins")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """List the plugins: enabled by the config, installed but not enabled, incomplete, or failed.

    An incomplete plugin is not enabled and needs something that is not installed.
    """
    import msgspec

    from gnomon.cli.access.resolve import read_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.deployment.plugin_loading import list_plugins

    found = list_plugins(read_config(ctx, config))
    if as_json:
        print_json([msgspec.structs.asdict(info) for info in found])
    else:
        _print(found)


def _print(found: list[PluginInfo]) -> None:
    from rich.text import Text

    from gnomon.cli.output.states import style_of, with_glyph
    from gnomon.cli.output.tables import Column, print_table

    columns = [Column("name", 8), Column("state", 11, no_wrap=True), Column("hooks", 22), Column("from", 14, 1)]
    rows = [
        (info.name, Text(with_glyph(info.state), style_of(info.state)), ", ".join(info.hooks) or "-", info.origin)
        for info in found
    ]
    print_table(columns, rows)
    for info in found:
        if info.problem is not None:
            echo(f"\n{info.name}: {info.problem}", err=True)
