"""`gnomon plugins`: what is installed, what is enabled, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon.cli.input.options import config_option, json_option

if TYPE_CHECKING:
    from gnomon.deployment.plugin_loading import PluginInfo


@click.command("plugins")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """List the plugins that there are: enabled by the config, installed only, incomplete, or failed.

    An incomplete one needs something that is not installed, and the config does not enable it.
    """
    import msgspec

    from gnomon.cli.access.deployments import read_config
    from gnomon.cli.output.json_output import print_json
    from gnomon.deployment.plugin_loading import survey

    found = survey(read_config(ctx, config))
    if as_json:
        print_json([msgspec.structs.asdict(info) for info in found])
    else:
        _print(found)


def _print(found: list[PluginInfo]) -> None:
    from rich.text import Text

    from gnomon.cli.output.states import style_of, with_glyph
    from gnomon.cli.output.tables import Column, print_table

    columns = [Column("name", 8), Column("state", 11, holds=True), Column("hooks", 22), Column("from", 14, 1)]
    rows = [
        (info.name, Text(with_glyph(info.state), style_of(info.state)), ", ".join(info.hooks) or "-", info.origin)
        for info in found
    ]
    print_table(columns, rows)
    for info in found:
        if info.problem is not None:
            click.echo(f"\n{info.name}: {info.problem}", err=True)
