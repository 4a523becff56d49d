"""Which config or kernel a command line means: the deployment on this machine, or a server at an address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from gnomon.cli.input.options import outer_options
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.cli.access.local import LocalKernel
    from gnomon.cli.access.remote import RemoteKernel
    from gnomon.deployment.config import Config


def read_config(
    ctx: click.Context,
    *given: Path | None,
    log_level: str = "warning",
    log_format: str | None = None,
    for_runs: bool = False,
) -> Config:
    """Read the config that the command line names, as an argument, as its own or as a global option, or the default.

    With `for_runs` the secrets in the arguments of jobs must be there; only commands that run bodies need them.
    From here on foreign code is imported and may log, so logging to stderr is set up first.
    """
    from gnomon.cli.output.logging_setup import configure_logging
    from gnomon.deployment.config import find_config, load_config

    configure_logging(log_level, log_format)
    named = {path for path in (*given, ctx.find_root().params.get("config")) if path is not None}
    if len(named) > 1:
        raise click.UsageError(f"expected one config file, got {' and '.join(sorted(map(str, named)))}")
    config = load_config(find_config(next(iter(named), None), os.environ), for_runs=for_runs)
    if config.source is None:
        echo(
            f"there is no gnomon.toml in {config.directory}: this is the built-in example; name a config with --config "
            "or $GNOMON_CONFIG",
            err=True,
        )
    os.chdir(config.directory)  # paths among the arguments of jobs are relative to it too
    return config


def reach(ctx: click.Context, config: Path | None, url: str | None) -> LocalKernel | RemoteKernel:
    """Return the kernel that the command line means: the one at --url, else the deployment on this machine."""
    if (address := _chosen_address(ctx, config, url)) is not None:
        from gnomon.cli.access.remote import RemoteKernel

        return RemoteKernel(address)
    from gnomon.cli.access.local import LocalKernel

    return LocalKernel(read_config(ctx, config))


def reach_of_subcommand(ctx: click.Context, config: Path | None, url: str | None) -> LocalKernel | RemoteKernel:
    """Return the kernel that a subcommand means; the options before its name count too."""
    outer = outer_options(ctx)
    is_own = ctx.get_parameter_source("url") is ParameterSource.COMMANDLINE
    return reach(ctx, config or outer.get("config"), url if is_own else outer.get("url"))


def read_local_config(ctx: click.Context, config: Path | None, url: str | None, *, needs: str) -> Config:
    """Read the config for a command that is not offered over HTTP; `needs` is what such a command reads.

    Where $GNOMON_URL or --url names a server, print which deployment is used instead, or raise UsageError.
    """
    settings = read_config(ctx, config)
    if url is None or (_named_config(ctx, config) is not None and not _is_typed(ctx, "url")):
        return settings
    reason = f"`{ctx.command_path}` needs {needs}, which the kernel at {url} does not offer over HTTP"
    if settings.source is None or _is_typed(ctx, "url"):
        raise click.UsageError(
            f"{reason}: run it on the machine of that kernel, or name a config whose store can be reached from here, "
            "such as MongoDB or PostgreSQL: --config FILE"
        )
    used = settings.directory / settings.source.name
    echo(f"{reason}; using the deployment on this machine instead, {used}", err=True)
    return settings


def _chosen_address(ctx: click.Context, config: Path | None, url: str | None) -> str | None:
    """Return the address of the kernel, or None for the deployment on this machine."""
    named = _named_config(ctx, config)
    if url is None or named is None:
        return url
    if _is_typed(ctx, "url"):
        raise click.UsageError(f"--url names a kernel elsewhere, {named} one on this machine: give one of them")
    return None  # a config on the command line takes precedence over $GNOMON_URL


def _named_config(ctx: click.Context, config: Path | None) -> Path | None:
    named: Path | None = config or ctx.find_root().params.get("config")
    return named


def _is_typed(ctx: click.Context, option: str) -> bool:
    """Return whether an option was typed on the command line, before or after the name of a subcommand."""
    context: click.Context | None = ctx
    while context is not None:
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            return True
        context = context.parent
    return False
