"""`gnomon wall`: links with which a screen sees the wall of a dashboard, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from gnomon.cli.input.options import json_option, outer_options, url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from gnomon.client import Client

    T = TypeVar("T")


@click.group("wall", invoke_without_command=True)
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, url: str | None, as_json: bool) -> None:
    """List the links with which screens see the wall of the dashboard: your own, or all of them for an admin."""
    if ctx.invoked_subcommand is not None:
        return
    from gnomon.cli.output.json_output import print_json
    from gnomon.cli.output.tables import Column, print_table
    from gnomon.text import moment

    links = _ask(url, lambda client: client.wall_links())
    if as_json:
        print_json(links)
    elif not links:
        echo("no link is open; `gnomon wall make NAME` makes one")
    else:
        columns = [Column("id", 16, no_wrap=True), Column("name", 12), Column("made by", 8), Column("ends", 10, 1)]
        print_table(columns, [(one.id, one.name, one.creator, moment(one.expires, None)) for one in links])


@command.command("make")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="How long the link is valid.")
@url_option
@json_option
@click.pass_context
def make(ctx: click.Context, name: str, days: int, url: str | None, as_json: bool) -> None:
    """Make a link for the screen NAME, such as the room that it is in, and print it this once.

    Anyone who has the link sees the wall: what runs, what needs attention and what comes next.
    """
    from gnomon.cli.output.json_output import print_json

    address = url or outer_options(ctx).get("url")
    made = _ask(address, lambda client: client.make_wall_link(name, days=days))
    if as_json or outer_options(ctx).get("as_json"):
        print_json(made)
    else:
        echo(f"{str(address).rstrip('/')}/?wall=1#k={made.secret}")


@command.command("revoke")
@click.argument("link_id", metavar="ID")
@url_option
@click.pass_context
def revoke(ctx: click.Context, link_id: str, url: str | None) -> None:
    """Revoke the link with this id, one's own or as an admin any; what was opened with it is closed."""
    ended = _ask(url or outer_options(ctx).get("url"), lambda client: client.revoke_wall_link(link_id))
    echo(f"the link {ended.id} for {ended.name} is revoked")


def _ask(url: str | None, call: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """Return the answer of the server at an address."""
    import asyncio
    import os

    from gnomon.cli.access.remote import TOKEN_VARIABLE
    from gnomon.client import Client

    if url is None:
        raise click.UsageError("links for walls belong to a server: name it with --url or $GNOMON_URL")

    async def ask() -> T:
        async with Client(url, token=os.environ.get(TOKEN_VARIABLE) or None) as client:
            return await call(client)

    return asyncio.run(ask())
