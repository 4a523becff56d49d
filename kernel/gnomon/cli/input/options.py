"""Options that several commands share. This module imports click only, so that `--help` stays fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gnomon.json_depth import MAX_DEPTH, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

CONFIG_PATH = click.Path(path_type=Path)
LOG_FORMATS = ("console", "logfmt", "json")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

config_option = click.option("--config", type=CONFIG_PATH, metavar="FILE", help="Config file of the deployment.")
config_argument = click.argument("config_file", metavar="[CONFIG]", required=False, type=CONFIG_PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
url_option = click.option(
    "--url", envvar="GNOMON_URL", metavar="URL", help="Address of a kernel elsewhere; its token is $GNOMON_TOKEN."
)
local_url_option = click.option("--url", envvar="GNOMON_URL", hidden=True)
"""For commands that HTTP does not offer: `gnomon.cli.access.resolve.read_local_config` explains the alternative."""
kwargs_option = click.option(
    "--kwargs", metavar="JSON", help="Arguments of this run, as a JSON object; merged into the job's."
)
reason_option = click.option("--reason", metavar="TEXT", help="A reason, recorded in the log.")


def outer_options(ctx: click.Context) -> dict[str, Any]:
    """Return the options before the name of a subcommand, which apply to the subcommand too."""
    return ctx.parent.params if ctx.parent else {}


class LabelType(click.ParamType[tuple[str, str]] if TYPE_CHECKING else click.ParamType):  # type: ignore[misc]
    """A label, `NAME=VALUE` or `NAME:VALUE`, as a pair."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the name and the value."""
        from gnomon.domain.labels import parse_label

        if isinstance(value, tuple):
            return value[0], value[1]
        try:
            return parse_label(value)
        except ValueError as exc:
            raise click.BadParameter(str(exc), ctx, param) from exc


def label_option(text: str) -> Callable[[F], F]:
    """Return the option `--label`, which may be repeated."""
    return click.option("--label", "labels", multiple=True, type=LabelType(), metavar="NAME=VALUE", help=text)


def parse_kwargs(text: str | None) -> dict[str, Any]:
    """Return the arguments that `--kwargs` has; raise BadParameter if they are not a JSON object."""
    try:
        arguments = json.loads(text) if text is not None else {}
    except ValueError as exc:
        raise click.BadParameter(f"not valid JSON: {exc}", param_hint="--kwargs") from exc
    except RecursionError:
        arguments = None
    if arguments is None or is_too_deep(arguments):
        raise click.BadParameter(f"nested deeper than {MAX_DEPTH} levels: flatten it", param_hint="--kwargs")
    if not isinstance(arguments, dict):
        raise click.BadParameter(f'expected an object such as {{"market": "cn"}}, got {text}', param_hint="--kwargs")
    return arguments
