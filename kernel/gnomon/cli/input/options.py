"""What several commands take on their command lines. Imports click only: `--help` must not wait for a kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

CONFIG_PATH = click.Path(path_type=Path)

config_option = click.option("--config", type=CONFIG_PATH, metavar="FILE", help="Config file of the deployment.")
config_argument = click.argument("config_file", metavar="[CONFIG]", required=False, type=CONFIG_PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
url_option = click.option(
    "--url", envvar="GNOMON_URL", metavar="URL", help="Ask the kernel at this address; $GNOMON_TOKEN lets you in."
)
local_url_option = click.option("--url", envvar="GNOMON_URL", hidden=True)
"""For commands that HTTP does not offer; `gnomon.cli.access.resolve.read_local_config` says what to do instead."""
kwargs_option = click.option(
    "--kwargs", metavar="JSON", help="Arguments of this run, as a JSON object; merged into the job's."
)


def parse_kwargs(text: str | None) -> dict[str, Any]:
    """Read what `--kwargs` was given."""
    try:
        arguments = json.loads(text) if text is not None else {}
    except ValueError as exc:
        raise click.BadParameter(f"this is no JSON: {exc}", param_hint="--kwargs") from exc
    if not isinstance(arguments, dict):
        raise click.BadParameter(f'expected an object such as {{"market": "cn"}}, got {text}', param_hint="--kwargs")
    return arguments
